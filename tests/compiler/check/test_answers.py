"""Differences of tensors, and what is allowed."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from compiler.check.answers import FLOAT16, FLOAT32, Expected, difference, largest_difference

WANT = np.array([1, -4, np.nan, np.inf, -np.inf], np.float32)


@pytest.mark.parametrize(
    ("place", "value", "off"),
    [
        (0, 1.5, 0.5),
        (1, -4, 0),
        (2, np.nan, 0),
        (2, 0, inf),
        (0, np.nan, inf),
        (3, -np.inf, inf),
        (3, 1e30, inf),
        (4, -np.inf, 0),
        (0, np.inf, inf),
    ],
)
def test_nan_and_infinities_must_be_at_the_same_places(place: int, value: float, off: float) -> None:
    got = WANT.copy()
    got[place] = value
    assert largest_difference(WANT, got) == off


def test_errors_are_relative_to_the_largest_finite_magnitude() -> None:
    got = WANT + np.float32(0.004)
    found = difference("y", WANT, got, 1e-3)
    assert found.error == pytest.approx(0.001, rel=1e-3)
    assert str(difference("y", WANT, got, 1e-4)) == "y differs by 0.001 of its scale (0.0001 allowed)"
    assert difference("y", np.zeros(3), np.full(3, 0.5), 1).error == 0.5


@pytest.mark.parametrize("got", [None, np.ones(2, np.float32), np.ones(3, np.float64), np.ones((3, 1), np.float32)])
def test_another_shape_or_type_is_wrong(got: np.ndarray | None) -> None:
    found = difference("y", np.ones(3, np.float32), got, 1.0)
    assert found.error == inf
    assert not found.ok


def test_integers_text_and_booleans_must_be_equal() -> None:
    for array in (np.array([1, 2]), np.array([True, False]), np.array(["a", "b"])):
        assert difference("y", array, array.copy(), 0).ok
        assert not difference("y", array, array[::-1].copy(), 0).ok


def allowed(outputs: np.ndarray, optimized: np.ndarray, step: float | None = None) -> float:
    steps = None if step is None else {"y": step}
    return Expected.of({"y": outputs}, {"y": optimized}, steps).allowed["y"]


def test_what_is_allowed() -> None:
    one = np.array([2.0, 1.0], np.float32)
    assert allowed(one, one) == FLOAT32
    assert allowed(one.astype(np.float16), one.astype(np.float16)) == FLOAT16
    assert allowed(one.astype(np.int64), one.astype(np.int64)) == 0
    assert allowed(one, one + np.float32(0.5)) == pytest.approx(3 * 0.25), "three times ONNX Runtime's own spread"
    assert allowed(one, one + np.float32(0.5), step=0.1) == pytest.approx(0.25), "the spread contains the steps"
    assert allowed(one, one, step=0.1) == pytest.approx(0.05)
    assert allowed(one, np.full(2, np.nan, np.float32)) == FLOAT32, "its optimized answers are wrong"


def test_missing_outputs_are_wrong() -> None:
    one = np.ones(2, np.float32)
    expected = Expected.of({"y": one, "z": one}, {"y": one, "z": one})
    assert [d.ok for d in expected.compare({"y": one})] == [True, False]
