"""The check of answers, and aligned arrays."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.layers.problem import ALIGNMENT, aligned, check_answer
from compiler.measure.answers import WrongAnswerError


class Stub:
    description, algorithm = "a stub", "direct"

    def __init__(self, answer: np.ndarray) -> None:
        self._answer = answer

    def run(self) -> np.ndarray:
        return self._answer

    def time(self, number: int, repeat: int) -> list[float]:
        return [1.0 / number] * repeat

    def copy(self) -> Stub:
        return self


def test_an_answer_within_the_tolerance_is_right() -> None:
    check_answer(Stub(np.array([1.0, 2.5])), np.array([1.0, 2.0]), np.array([0.1, 0.5]))


@pytest.mark.parametrize("wrong", [2.6, np.nan, np.inf])
def test_an_answer_beyond_the_tolerance_is_wrong(wrong: float) -> None:
    with pytest.raises(WrongAnswerError, match=r"wrong answer, .* times the tolerance: a stub"):
        check_answer(Stub(np.array([1.0, wrong])), np.array([1.0, 2.0]), np.array([0.1, 0.5]))


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_arrays_are_aligned(dtype: type) -> None:
    array = np.arange(35, dtype=dtype).reshape(5, 7).T
    copy = aligned(array)
    assert copy.ctypes.data % ALIGNMENT == 0
    assert copy.flags.c_contiguous
    assert (copy == array).all()
