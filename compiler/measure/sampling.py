"""Samples of implementations that take turns in one process.

Each round gives every implementation one slice of time, in random order, so a change of the clock speed or another
process on the machine affects all of them alike. A slice begins when the threads of the other implementations sleep,
because a thread pool that still spins after its last run takes the cores from the next one. Then some untimed runs wake
the implementation's own threads and fill its caches.

``measure`` times calls from Python, one by one, and is for whole models. ``measure_loops`` times native loops, because
a call from Python takes as long as the smallest layers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol, TypeAlias

import numpy as np

from compiler.measure.idle import wait_until_idle

ROUNDS = 20  # enough to resample
WARM_UP_SECS = 0.02

# Times one slice and returns the seconds of its runs.
Slice: TypeAlias = Callable[[], tuple[float, ...]]


class Loop(Protocol):
    """Times native loops: returns ``repeat`` samples, each the mean seconds per run of ``number`` runs in a row."""

    def __call__(self, number: int, repeat: int, /) -> list[float]: ...


@dataclass(frozen=True)
class Latencies:
    """Statistics of single runs.

    Attributes:
        count: the number of timed runs.
        duration: seconds of all runs together.
        median, average, min, p90, p99: seconds of one run.
        throughput: runs per second.
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
    """Seconds of each run of one implementation, by round."""

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


def measure(
    implementations: Mapping[str, Callable[[], object]],
    duration: float,
    rounds: int = ROUNDS,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Samples]:
    """Times calls of the implementations in slices of ``duration / rounds`` seconds, with at least one run per slice.

    Args:
        implementations: functions by name; one call is one run.
        duration: seconds of timed runs per implementation. A slow one takes longer: it runs ``rounds`` times at least.
        rounds: the number of slices per implementation.
        seed: determines the order within the rounds.
        progress: called after each slice with the part of all slices that is finished, from 0 to 1.

    Raises:
        ValueError: no implementations, no rounds, or a duration that is negative or not finite.
    """
    if not 0 <= duration < math.inf:
        raise ValueError(f"the duration must be 0 seconds or more, got {duration}")
    slices = {name: partial(_calls, run, duration / max(rounds, 1)) for name, run in implementations.items()}
    return _interleaved(slices, rounds, seed, progress)


def measure_loops(loops: Mapping[str, Loop], rounds: int, slice_secs: float, seed: int = 0) -> dict[str, Samples]:
    """Times native loops. Each slice gives one sample, the mean of as many runs as take about ``slice_secs``.

    Raises:
        ValueError: no loops or no rounds.
        TimeoutError: threads of an implementation never sleep, so the times of the next one would be too long.
    """
    slices: dict[str, Slice] = {}
    for name, loop in loops.items():
        wait_until_idle()
        slices[name] = partial(_loop, loop, max(1, round(slice_secs / min(loop(1, 5)))))
    return _interleaved(slices, rounds, seed, None)


def _interleaved(
    slices: Mapping[str, Slice], rounds: int, seed: int, progress: Callable[[float], None] | None
) -> dict[str, Samples]:
    if not slices:
        raise ValueError("there is nothing to measure")
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    rng = np.random.default_rng(seed)
    names = list(slices)
    secs: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    total = rounds * len(names)
    for finished in range(0, total, len(names)):
        for place, index in enumerate(rng.permutation(len(names)), start=1):
            secs[names[index]].append(slices[names[index]]())
            if progress is not None:
                progress((finished + place) / total)
    return {name: Samples(tuple(secs[name])) for name in names}


def _calls(run: Callable[[], object], secs: float) -> tuple[float, ...]:
    with suppress(TimeoutError):  # a user of another runtime may have configured its threads to spin for ever
        wait_until_idle()
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


def _loop(loop: Loop, number: int) -> tuple[float, ...]:
    wait_until_idle()
    loop(max(1, number // 4), 1)
    return tuple(loop(number, 1))
