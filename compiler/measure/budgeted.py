"""Samples of one implementation within a budget of time, as a search takes them of each candidate."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass

from compiler.measure.sampling import Loop


@dataclass(frozen=True)
class Timing:
    """How long and how often a candidate is timed.

    Attributes:
        sample_secs: the length of one sample, which is the mean of as many runs as fit. Long samples make the overhead
            of the clock and the call negligible.
        samples: the number of samples of a fast candidate.
        min_samples: the least number of samples, even if runs are long.
        budget_secs: the limit for all samples together. ``min_samples`` takes precedence.
        spread: the largest tolerated excess of the median sample over the fastest, as a fraction. If it is larger,
            something else was running, and the rest of the budget is spent on up to as many samples again.
        slow_factor: a candidate gets only one sample if its first timed run is slower than the best so far by this
            factor and longer than a fifth of the budget.
    """

    sample_secs: float = 1e-3
    samples: int = 9
    min_samples: int = 3
    budget_secs: float = 0.03
    spread: float = 0.05
    slow_factor: float = 5.0


def sample(loop: Loop, timing: Timing, best_secs: float | None) -> list[float]:
    """Returns samples of the seconds per run of an implementation that has run once already.

    Args:
        loop: times native loops.
        timing: the limits.
        best_secs: the best time of the same workload so far, if any.
    """
    start = time.perf_counter()
    (once,) = loop(1, 1)
    if best_secs is not None and once > max(timing.slow_factor * best_secs, timing.budget_secs / 5):
        return [once]
    number = math.ceil(timing.sample_secs / once)
    repeat = min(timing.samples, max(timing.min_samples, int(timing.budget_secs / (number * once))))
    samples = [once, *loop(1, repeat - 1)] if number == 1 else loop(number, repeat)
    left_secs = timing.budget_secs - (time.perf_counter() - start)
    affordable = max(0, int(left_secs / (number * once)))
    if statistics.median(samples) > (1 + timing.spread) * min(samples) and affordable:
        samples += loop(number, min(repeat, affordable))
    return samples
