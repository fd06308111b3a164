"""The benchmark's shapes are the real and varied ones that its result is claimed for."""

from __future__ import annotations

import pytest

from benchmarks.layers.shapes import DENSE_SHAPES, describe
from compiler.workloads.workload import Workload


def test_there_are_enough_of_them_and_no_two_are_alike() -> None:
    assert len(DENSE_SHAPES) >= 24
    assert len({shape.name for shape in DENSE_SHAPES}) == len(DENSE_SHAPES)
    assert len({shape.workload.dims for shape in DENSE_SHAPES}) == len(DENSE_SHAPES)


def test_they_cover_every_regime() -> None:
    dims = {shape.workload.dims for shape in DENSE_SHAPES}
    assert {1, 2, 4, 16, 64} <= {m for m, _, _ in dims}
    named = {(1, 1000, 2048), (128, 768, 768), (128, 3072, 768), (128, 768, 3072), (17, 1001, 333), (512, 512, 512)}
    assert named <= dims
    assert any(n % 16 and k % 16 for _, n, k in dims)


@pytest.mark.parametrize(
    ("workload", "text"),
    [
        (Workload.dense(128, 768, 3072), "128x768x3072"),
        (Workload.conv2d(1, 56, 56, 64, 256, 1), "56x56x64-256 1x1"),
        (Workload.conv2d(8, 224, 224, 3, 64, 7, 2, 3), "8x224x224x3-64 7x7/2"),
        (Workload.conv2d(1, 14, 14, 96, 96, 5, padding=2, groups=96), "14x14x96 dw 5x5"),
        (Workload.max_pool2d((1, 112, 112, 64), 3, stride=2, padding=1), "1x112x112x64 max 3x3/2"),
        (Workload.attention(1, 12, 128, 100, 64), "1x12 heads 128x100x64"),
    ],
)
def test_short_descriptions_of_sizes(workload: Workload, text: str) -> None:
    assert describe(workload) == text
