"""Layers whose output is rounded to steps use no fast algorithms."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.build import layers_of
from tests.graph_passes.models import model


def is_fast(after: str, integers: bool = False) -> bool:
    rng = np.random.default_rng(0)
    weight = rng.integers(-9, 9, (16, 16, 3, 3)) if integers else rng.standard_normal((16, 16, 3, 3))
    published = model(
        f"""g (float[1,16,40,40] x, float[1,16,40,40] z) => (float[1,16,40,40] y) <float[16,16,3,3] w, float half> {{
            c = Conv <pads = [1,1,1,1]> (x, w)  {after}
        }}""",
        w=weight, half=0.5,
    )  # fmt: skip
    (layer,) = layers_of(published, threads=1)
    return layer.attributes["fast_algorithms"]


@pytest.mark.parametrize("after", ["y = Round (c)", "a = Add (c, z) r = Round (a) y = Mul (r, half)"])
def test_outputs_that_are_rounded(after: str) -> None:
    assert not is_fast(after)


@pytest.mark.parametrize("after", ["y = Relu (c)", "e = Exp (c) y = Round (e)"])
def test_other_outputs(after: str) -> None:
    assert is_fast(after)


def test_sums_of_integers() -> None:
    assert is_fast("y = Round (c)", integers=True)
