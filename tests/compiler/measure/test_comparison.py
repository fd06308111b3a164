"""Speedups and paired differences from samples whose answers can be computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from compiler.measure.comparison import median_interval, speedup
from compiler.measure.sampling import Samples


def samples(median: float, rounds: int = 20, runs: int = 5, seed: int = 0) -> Samples:
    """Runs of a round are equal; rounds differ by about a tenth."""
    rng = np.random.default_rng(seed)
    return Samples(tuple((median * float(rng.normal(1, 0.1)),) * runs for _ in range(rounds)))


def single(*secs: float) -> Samples:
    """Rounds of one sample each."""
    return Samples(tuple((of_round,) for of_round in secs))


def test_speedup_is_the_ratio_of_medians_within_its_interval() -> None:
    ours, other = samples(1.0, seed=1), samples(2.0, seed=2)
    ratio = speedup(ours, other)
    assert ratio.value == other.latencies.median / ours.latencies.median
    assert ratio.low < ratio.value < ratio.high
    assert ratio.low > 1.7
    assert ratio.high < 2.3
    assert speedup(ours, other) == ratio


def test_speedup_of_single_samples() -> None:
    ratio = speedup(single(1.0, 2.0, 90.0), single(3.0, 4.0, 5.0))
    assert ratio.value == 2
    assert ratio.low <= 2 <= ratio.high
    assert str(speedup(single(*[2.0] * 9), single(*[3.0] * 9))) == "1.500 [1.500, 1.500]"


def test_single_samples_are_resampled_like_rounds_of_several() -> None:
    ours, other = samples(1.0, runs=1, seed=1), samples(2.0, runs=1, seed=2)
    several = speedup(samples(1.0, runs=3, seed=1), samples(2.0, runs=3, seed=2))
    assert speedup(ours, other).low == pytest.approx(several.low)
    assert speedup(ours, other).high == pytest.approx(several.high)


def test_the_interval_contains_the_true_ratio_about_as_often_as_stated() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        ratio = speedup(single(*rng.normal(1, 0.1, 25)), single(*rng.normal(1.2, 0.1, 25)), resamples=300)
        held += ratio.low <= 1.2 <= ratio.high
    assert 170 <= held <= 200


def test_more_runs_of_the_same_rounds_are_not_more_certain() -> None:
    few = speedup(samples(1.0, runs=2, seed=1), samples(2.0, runs=2, seed=2))
    many = speedup(samples(1.0, runs=2000, seed=1), samples(2.0, runs=2000, seed=2))
    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_noise_that_both_have_in_a_round_is_not_uncertainty() -> None:
    ours = samples(1.0)
    ratio = speedup(ours, Samples(tuple(tuple(3 * secs for secs in of_round) for of_round in ours.rounds)))
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3.0, 3.0, 3.0))


def test_speedup_of_different_rounds_is_rejected() -> None:
    with pytest.raises(ValueError, match="different numbers of rounds: 20 of ours, 19 of the other"):
        speedup(samples(1.0), samples(1.0, rounds=19))


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (9, 2), (12, 3), (20, 6), (100, 40)])
def test_ranks_are_those_of_the_sign_test(count: int, rank: int) -> None:
    """From tables of the binomial distribution: at 95 %, ``rank`` counts from either end."""
    interval = median_interval([float(i) for i in range(1, count + 1)][::-1])
    assert (interval.low, interval.high) == (rank, count + 1 - rank)
    assert interval.median == (count + 1) / 2


def test_five_differences_are_too_few_for_95_percent() -> None:
    interval = median_interval([3.0, 1.0, 2.0, 5.0, 4.0])
    assert (interval.median, interval.low, interval.high) == (3.0, -math.inf, math.inf)
    assert median_interval([3.0, 1.0, 2.0, 5.0, 4.0], confidence=0.9).low == 1.0


def test_the_interval_contains_the_true_median_as_often_as_stated() -> None:
    """Skewed noise of median 0 with gross outliers; by chance alone it fails once in a million times: 950 - 5·√47."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        noise = rng.lognormal(size=12) - 1.0
        noise[rng.random(12) < 0.1] *= 1000.0  # keeps the sign
        interval = median_interval(list(noise))
        held += interval.low <= 0 <= interval.high
    assert held >= 916


def test_no_differences_are_rejected() -> None:
    with pytest.raises(ValueError, match="no differences"):
        median_interval([])
