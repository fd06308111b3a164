from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from optimizer import samples
from tests.graph_passes.models import model

TWO = "g (float[2,3] a, float[2] b) => (float[2,3] y) { c = Sum (a, a) y = Relu (c) }"
FREE = "g (float[N,3] a, float[M,4] b) => (float[N,3] y) { y = Relu (a) }"


def f32(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_batches_of_the_model() -> None:
    found = samples.fitting({"b": f32(6), "a": f32(6, 3)}, model(TWO))
    assert (len(found), found.batch) == (6, 2)
    runs = list(found)
    assert [{name: array.shape for name, array in run.items()} for run in runs] == [{"a": (2, 3), "b": (2,)}] * 3


def test_one_by_one_where_the_model_takes_any_number() -> None:
    found = samples.fitting({"a": f32(4, 3), "b": f32(4, 4)}, model(FREE))
    assert (len(list(found)), found.batch) == (4, 1)


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "none": (TWO, {}, "there are no samples"),
    "missing": (TWO, {"a": f32(2, 3)}, "the samples lack b; the model has a, b"),
    "unknown": (TWO, {"a": f32(2, 3), "b": f32(2), "c": f32(2)}, "the samples have c; the model has a, b"),
    "type": (TWO, {"a": np.ones((2, 3)), "b": f32(2)}, "the samples of a must be float32, got float64"),
    "shape": (TWO, {"a": f32(2, 4), "b": f32(2)}, "the samples of a must have the shape (samples, 3), got (2, 4)"),
    "rank": (TWO, {"a": f32(3), "b": f32(2)}, "the samples of a must have the shape (samples, 3), got (3,)"),
    "nan": (TWO, {"a": f32(2, 3) * np.nan, "b": f32(2)}, "the samples of a have NaN or infinite values"),
    "numbers": (TWO, {"a": f32(4, 3), "b": f32(2)}, "all inputs must have as many samples as the others, got a 4, b 2"),
    "batches": (
        TWO,
        {"a": f32(3, 3), "b": f32(3)},
        "the model takes 2 samples at once, which must divide their number, 3",
    ),
    "empty": (
        TWO,
        {"a": f32(0, 3), "b": f32(0)},
        "the model takes 2 samples at once, which must divide their number, 0",
    ),
}


@pytest.mark.parametrize(("graph", "arrays", "message"), BAD.values(), ids=BAD.keys())
def test_samples_that_do_not_fit(graph: str, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        samples.fitting(arrays, model(graph))
