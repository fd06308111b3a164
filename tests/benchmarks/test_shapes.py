"""The benchmark's shapes are the real and varied ones that its result is claimed for."""

from __future__ import annotations

from benchmarks.shapes import SHAPES


def test_there_are_enough_of_them_and_no_two_are_alike() -> None:
    assert len(SHAPES) >= 24
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
    assert len({shape.workload.dims for shape in SHAPES}) == len(SHAPES)


def test_they_cover_every_regime() -> None:
    dims = {shape.workload.dims for shape in SHAPES}
    assert {1, 2, 4, 16, 64} <= {m for m, _, _ in dims}
    named = {(1, 1000, 2048), (128, 768, 768), (128, 3072, 768), (128, 768, 3072), (17, 1001, 333), (512, 512, 512)}
    assert named <= dims
    assert any(n % 16 and k % 16 for _, n, k in dims)
