from __future__ import annotations

import math

import numpy as np
import pytest

from optimizer.fidelity import compared


def test_power_of_the_differences() -> None:
    original = np.array([[3.0, 4.0]], np.float32)
    found = compared("y", [(original, original + np.array([0.3, -0.4], np.float32)), (original, original)])
    assert found.sqnr_db == pytest.approx(10 * math.log10(50 / 0.25), abs=1e-4)
    assert found.agreement == 1


def test_largest_elements() -> None:
    before, after = np.array([[1.0, 2.0], [5.0, 0.0]]), np.array([[2.0, 1.0], [5.0, 0.0]])
    assert compared("y", [(before, after)]).agreement == 0.5
    assert compared("y", [(before[:, :1], after[:, :1])]).agreement is None


def test_equal_and_lost_answers() -> None:
    ones = np.ones((2, 3))
    assert compared("y", [(ones, ones)]).sqnr_db == math.inf
    assert compared("y", [(0 * ones, ones)]).sqnr_db == -math.inf
