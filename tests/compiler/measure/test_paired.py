from __future__ import annotations

import math

import numpy as np
import pytest

from compiler.measure.paired import median_interval


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (9, 2), (12, 3), (20, 6), (100, 40)])
def test_ranks_are_those_of_the_sign_test(count: int, rank: int) -> None:
    """From tables of the binomial distribution: at 95 %, ``rank`` counts from either end."""
    interval = median_interval([float(i) for i in range(1, count + 1)][::-1])
    assert (interval.low, interval.high) == (rank, count + 1 - rank)
    assert interval.median == (count + 1) / 2


def test_five_differences_say_nothing_at_95_percent() -> None:
    interval = median_interval([3.0, 1.0, 2.0, 5.0, 4.0])
    assert (interval.median, interval.low, interval.high) == (3.0, -math.inf, math.inf)
    assert median_interval([3.0, 1.0, 2.0, 5.0, 4.0], confidence=0.9).low == 1.0


def test_it_holds_the_true_median_as_often_as_it_says() -> None:
    """Skewed noise of median 0 with gross outliers; by chance alone it fails once in a million times: 950 - 5·√47."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        noise = rng.lognormal(size=12) - 1.0
        noise[rng.random(12) < 0.1] *= 1000.0  # keeps the sign
        interval = median_interval(list(noise))
        held += interval.low <= 0 <= interval.high
    assert held >= 916


def test_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no differences"):
        median_interval([])
