"""Comparisons of measurements that were taken close to each other in time, with confidence intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.measure.sampling import Samples

MAX_RUNS = 1000  # per round, for the bootstrap


@dataclass(frozen=True)
class Ratio:
    """A speedup by the medians, and the interval that holds 95 % of its bootstrap resamples."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def speedup(ours: Samples, other: Samples, resamples: int = 2000) -> Ratio:
    """Returns the other median divided by ours: above 1 where ours is faster.

    The interval is a percentile bootstrap (Efron 1979) with a fixed seed. It resamples whole rounds, the same ones of
    both. Single runs of a round are correlated, so resampling them would make the interval far too narrow.

    Raises:
        ValueError: the two were not measured in the same rounds.
    """
    rounds = len(ours.rounds)
    if rounds != len(other.rounds):
        raise ValueError(f"different numbers of rounds: {rounds} of ours, {len(other.rounds)} of the other")
    draws = np.random.default_rng(0).integers(0, rounds, (resamples, rounds))
    ratios = _medians(other, draws) / _medians(ours, draws)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Ratio(other.latencies.median / ours.latencies.median, float(low), float(high))


def _medians(samples: Samples, draws: np.ndarray) -> np.ndarray:
    """Returns the median of each draw of rounds."""
    rounds = [np.array(secs[:: math.ceil(len(secs) / MAX_RUNS)]) for secs in samples.rounds]
    if all(len(secs) == 1 for secs in rounds):
        return np.median(np.concatenate(rounds)[draws], axis=1)
    return np.array([np.median(np.concatenate([rounds[index] for index in draw])) for draw in draws])


@dataclass(frozen=True)
class MedianInterval:
    """A median and its confidence interval."""

    median: float
    low: float
    high: float


def median_interval(differences: Sequence[float], confidence: float = 0.95) -> MedianInterval:
    """Returns the median of paired differences, and the interval of order statistics that contains the true median.

    The interval inverts the sign test. It assumes nothing about the distribution, so a few differences that another
    process has spoilt do no harm. With too few differences for the confidence (fewer than 6 for 95 %) it is unbounded.

    Raises:
        ValueError: there are no differences.
    """
    if not differences:
        raise ValueError("there are no differences to take a median of")
    ordered = sorted(differences)
    count = len(ordered)
    beyond = 0.0  # probability that fewer than ``outside`` + 1 differences lie on one side of the true median
    outside = 0  # the number of ordered differences left out at each end
    while (beyond := beyond + math.comb(count, outside) / 2**count) <= (1 - confidence) / 2:
        outside += 1
    if not outside:
        return MedianInterval(statistics.median(ordered), -math.inf, math.inf)
    return MedianInterval(statistics.median(ordered), ordered[outside - 1], ordered[count - outside])
