"""The comparison of answers."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.measure.answers import agree


def test_differences_are_relative_to_the_largest_element() -> None:
    theirs = {"y": np.array([[0.0, -4.0]], np.float32), "z": np.array([1, 2])}
    assert agree(theirs, theirs) == 0
    assert agree({"y": np.array([[1.0, -4.0]], np.float32), "z": np.array([1, 2])}, theirs) == 0.25
    assert agree({"y": np.array([[0.0, -4.0]], np.float32), "z": np.array([1, 1])}, theirs) == 0.5


def test_answers_without_a_scale() -> None:
    assert agree({"y": np.array([0.5])}, {"y": np.zeros(1)}) == 0.5
    assert agree({"y": np.zeros((0, 3))}, {"y": np.zeros((0, 3))}) == 0
    assert agree({"y": np.array([-np.inf, 1.0])}, {"y": np.array([-np.inf, 2.0])}) == 0.5
    assert agree({"y": np.array([np.inf])}, {"y": np.array([-np.inf])}) == np.inf


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        ({}, "outputs differ"),
        ({"x": np.zeros(2)}, "outputs differ: x and y"),
        ({"y": np.zeros((2, 1))}, r"shapes of output y differ: \(2, 1\) and \(2,\)"),
        ({"y": np.array([0, np.nan])}, "output y has elements that are not a number"),
    ],
)
def test_answers_that_cannot_be_compared_are_rejected(ours: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agree(ours, {"y": np.zeros(2)})
