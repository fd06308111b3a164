"""Times contenders against each other, and says whether their answers agree. Prints nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

ROUNDS = 20  # enough to resample
WARM_UP_SECS = 0.02  # before each slice: caches, branch predictors and threads that are awake
LONGEST_SLEEP_SECS = 1.0
THINNED = 1000  # samples of a round that the bootstrap looks at


@dataclass(frozen=True)
class Latencies:
    """Of single runs, one after the other.

    Attributes:
        count: how many runs were timed.
        duration: of them all together, in seconds; as are median, average, min, p90 and p99 of one run.
        throughput: runs a second.
    """

    count: int
    duration: float
    median: float
    average: float
    min: float
    p90: float
    p99: float
    throughput: float


@dataclass(frozen=True)
class Samples:
    """Seconds of each run of one contender, by the round in which it ran."""

    rounds: tuple[tuple[float, ...], ...]

    @cached_property
    def latencies(self) -> Latencies:
        secs = np.concatenate(self.rounds)
        duration = float(secs.sum())
        median, p90, p99 = (float(value) for value in np.percentile(secs, [50, 90, 99]))
        return Latencies(
            count=len(secs),
            duration=duration,
            median=median,
            average=duration / len(secs),
            min=float(secs.min()),
            p90=p90,
            p99=p99,
            throughput=len(secs) / duration,
        )


@dataclass(frozen=True)
class Ratio:
    """How many times faster, by the medians, and the interval that holds 95 % of its bootstrap resamples."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def measure(
    contenders: Mapping[str, Callable[[], object]],
    duration: float,
    rounds: int = ROUNDS,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Samples]:
    """Runs the contenders by turns: in each round every one has a slice of ``duration / rounds`` seconds, in random
    order, and at least one timed run. So what else the machine does meets all of them alike.

    Before a slice it waits until the threads of the others, which may spin after a run, have fallen asleep, and warms
    the contender up with runs that are not timed.

    Args:
        contenders: what to time, by name; one call is one run.
        duration: seconds of timed runs for each; slow ones take longer, ``rounds`` runs at least.
        progress: is told after each slice which part of all slices is done, from 0 to 1.

    Raises:
        ValueError: no contenders, no rounds, or a duration that is negative or not finite.
    """
    if not contenders:
        raise ValueError("there is nothing to measure")
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    if not 0 <= duration < math.inf:
        raise ValueError(f"the duration must be 0 seconds or more, got {duration}")
    rng = np.random.default_rng(seed)
    names = list(contenders)
    slices: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    total = rounds * len(names)
    for done in range(0, total, len(names)):
        for place, index in enumerate(rng.permutation(len(names)), start=1):
            name = names[index]
            slices[name].append(_slice(contenders[name], duration / rounds))
            if progress is not None:
                progress((done + place) / total)
    return {name: Samples(tuple(slices[name])) for name in names}


def _slice(run: Callable[[], object], secs: float) -> tuple[float, ...]:
    _wait_for_sleep()
    _warm_up(run)
    samples = []
    left = secs * 1e9
    while left > 0 or not samples:
        start = time.perf_counter_ns()
        run()
        samples.append(time.perf_counter_ns() - start)
        left -= samples[-1]
    return tuple(sample * 1e-9 for sample in samples)


def _warm_up(run: Callable[[], object]) -> None:
    end = time.perf_counter() + WARM_UP_SECS
    run()
    while time.perf_counter() < end:
        run()


def _wait_for_sleep() -> None:
    """Until no thread of this process computes; not for ever, since an OpenMP may have been told never to sleep."""
    end = time.perf_counter() + LONGEST_SLEEP_SECS
    while time.perf_counter() < end:
        used = time.process_time()
        time.sleep(0.005)
        if time.process_time() - used < 0.0005:
            return


def speedup(ours: Samples, peer: Samples, resamples: int = 2000) -> Ratio:
    """The peer's median over ours, above 1 where ours is faster, with a percentile bootstrap (Efron 1979), seeded.

    Whole rounds are resampled, the same of both, and not single runs: runs that are neighbours in time are alike, and
    to take them for independent would make the interval far too narrow.

    Raises:
        ValueError: they were not measured in the same rounds.
    """
    rounds = len(ours.rounds)
    if rounds != len(peer.rounds):
        raise ValueError(f"rounds differ: {rounds} of ours, {len(peer.rounds)} of the peer")
    draws = np.random.default_rng(0).integers(0, rounds, (resamples, rounds))
    ratios = _medians(peer, draws) / _medians(ours, draws)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Ratio(peer.latencies.median / ours.latencies.median, float(low), float(high))


def _medians(samples: Samples, draws: np.ndarray) -> np.ndarray:
    """Of each draw of rounds."""
    rounds = [np.array(secs[:: math.ceil(len(secs) / THINNED)]) for secs in samples.rounds]
    return np.array([np.median(np.concatenate([rounds[index] for index in draw])) for draw in draws])


def agree(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> float:
    """The largest difference of any output, relative to the largest element of ``theirs`` in that output.

    Where all of that is zero, the difference itself. Infinities agree where both have the same.

    Raises:
        ValueError: other outputs, other shapes, or an answer that is not a number.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"outputs differ: {', '.join(ours)} and {', '.join(theirs)}")
    return max((_difference(name, ours[name], theirs[name]) for name in theirs), default=0.0)


def _difference(name: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes of output {name} differ: {ours.shape} and {theirs.shape}")
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    if np.isnan(ours).any() or np.isnan(theirs).any():
        raise ValueError(f"output {name} has elements that are not a number")
    apart = ours != theirs  # keeps equal infinities from becoming NaN
    largest = float(np.abs(ours[apart] - theirs[apart]).max(initial=0.0))
    scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0))
    return largest / scale if scale else largest
