"""Differences of measurements that were taken in pairs, close to each other in time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MedianInterval:
    """A median, and between what the true one lies."""

    median: float
    low: float
    high: float


def median_interval(differences: Sequence[float], confidence: float = 0.95) -> MedianInterval:
    """The interval of order statistics that holds the true median with at least this confidence.

    It is the sign test turned around: nothing is taken for granted of how the differences are distributed, so that a
    few of them which something else on the machine has spoilt do no harm. Where there are too few differences for the
    confidence (fewer than 6 for 95 %), it is unbounded.

    Raises:
        ValueError: there are no differences.
    """
    if not differences:
        raise ValueError("there are no differences to take a median of")
    ordered = sorted(differences)
    count = len(ordered)
    beyond = 0.0  # probability that fewer than ``outside`` + 1 differences lie on one side of the true median
    outside = 0  # how many ordered differences may be left out at each end
    while (beyond := beyond + math.comb(count, outside) / 2**count) <= (1 - confidence) / 2:
        outside += 1
    if not outside:
        return MedianInterval(statistics.median(ordered), -math.inf, math.inf)
    return MedianInterval(statistics.median(ordered), ordered[outside - 1], ordered[count - outside])
