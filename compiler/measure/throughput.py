"""Throughput of implementations whose requests run at the same time, as OpenVINO's benchmark_app defines it.

Each stream is a Python thread that starts its next request when the last one ends, so one request per stream is always
in flight. Implementations take turns in slices, as in :mod:`compiler.measure.sampling`. A request costs some
microseconds of Python, in which streams wait for each other (the GIL); a model that takes less than about 0.1 ms is
measured too slow, in all implementations alike.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from compiler.measure.comparison import Ratio
from compiler.measure.energy import EnergyCounters
from compiler.measure.idle import PAUSE_SECS, wait_until_idle
from compiler.measure.sampling import WARM_UP_SECS


@dataclass(frozen=True)
class Stream:
    """One request at a time: ``run`` computes it, in a thread on ``cores``; empty leaves the thread where it is."""

    run: Callable[[], object]
    cores: tuple[int, ...] = ()


@dataclass(frozen=True)
class Slice:
    """The requests of one slice.

    Attributes:
        latencies: seconds of each request, of all streams.
        duration: seconds from the first start to the last end.
        joules: the energy of the machine during the slice; None without counters.
    """

    latencies: tuple[float, ...]
    duration: float
    joules: float | None

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.duration


@dataclass(frozen=True)
class Throughput:
    """Statistics of all slices: seconds of single requests, requests per second, and joules per request."""

    count: int
    duration: float
    median: float
    average: float
    min: float
    max: float
    p90: float
    rate: float
    joules: float | None


def summary(slices: Sequence[Slice]) -> Throughput:
    """Returns the statistics of slices."""
    secs = np.concatenate([each.latencies for each in slices])
    duration = sum(each.duration for each in slices)
    spent = [each.joules for each in slices if each.joules is not None]
    return Throughput(
        count=len(secs),
        duration=duration,
        median=float(np.median(secs)),
        average=float(secs.mean()),
        min=float(secs.min()),
        max=float(secs.max()),
        p90=float(np.percentile(secs, 90)),
        rate=len(secs) / duration,
        joules=sum(spent) / len(secs) if len(spent) == len(slices) else None,
    )


def gain(ours: Sequence[Slice], other: Sequence[Slice], resamples: int = 2000) -> Ratio:
    """Returns our rate divided by the other one: above 1 where ours is higher.

    The interval is a percentile bootstrap of whole rounds with a fixed seed, as in ``comparison.speedup``.

    Raises:
        ValueError: the two were not measured in the same rounds.
    """
    if len(ours) != len(other):
        raise ValueError(f"different numbers of rounds: {len(ours)} of ours, {len(other)} of the other")
    draws = np.random.default_rng(0).integers(0, len(ours), (resamples, len(ours)))
    low, high = np.percentile(_rates(ours, draws) / _rates(other, draws), [2.5, 97.5])
    return Ratio(summary(ours).rate / summary(other).rate, float(low), float(high))


def _rates(slices: Sequence[Slice], draws: np.ndarray) -> np.ndarray:
    counts = np.array([len(each.latencies) for each in slices])
    durations = np.array([each.duration for each in slices])
    return counts[draws].sum(axis=1) / durations[draws].sum(axis=1)


def measure(
    implementations: Mapping[str, Sequence[Stream]],
    duration: float,
    rounds: int,
    counters: EnergyCounters | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, list[Slice]]:
    """Measures implementations in ``rounds`` slices of ``duration / rounds`` seconds each, in random order.

    Raises:
        ValueError: an implementation has no streams, or there are no rounds.
        Exception: the first error of a request.
    """
    if rounds < 1 or not all(implementations.values()):
        raise ValueError("throughput needs at least one round, and one stream per implementation")
    rng = np.random.default_rng(0)
    names = list(implementations)
    found: dict[str, list[Slice]] = {name: [] for name in names}
    for finished in range(rounds):
        for place, index in enumerate(rng.permutation(len(names)), start=1):
            found[names[index]].append(run_slice(implementations[names[index]], duration / rounds, counters))
            if progress is not None:
                progress((finished + place / len(names)) / rounds)
    return found


def run_slice(streams: Sequence[Stream], secs: float, counters: EnergyCounters | None = None) -> Slice:
    """Keeps all streams busy for ``secs`` after a pause and some untimed requests, with at least one request each.

    Raises:
        Exception: the first error of a request.
    """
    time.sleep(PAUSE_SECS)
    with suppress(TimeoutError):
        wait_until_idle()
    before: list[tuple[int, ...]] = []
    start: list[float] = []

    def begin() -> None:  # in one thread, while all others wait
        if counters is not None:
            before.append(counters.read())
        start.append(time.perf_counter())

    barrier = threading.Barrier(len(streams), begin)
    latencies: list[list[float]] = [[] for _ in streams]
    errors: list[BaseException] = []

    def work(place: int) -> None:
        stream, mine = streams[place], latencies[place]
        try:
            if stream.cores:
                os.sched_setaffinity(0, stream.cores)  # of this thread alone
            warm = time.perf_counter() + WARM_UP_SECS
            stream.run()
            while time.perf_counter() < warm:
                stream.run()
            try:
                barrier.wait()
            except threading.BrokenBarrierError:
                return  # another stream has failed
            now = start[0]
            while now < start[0] + secs or not mine:
                stream.run()
                now, last = time.perf_counter(), now
                mine.append(now - last)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    duration = max(map(sum, latencies))  # each stream's requests follow each other without a gap
    joules = None if counters is None else counters.joules(before[0], counters.read())
    return Slice(tuple(secs for each in latencies for secs in each), duration, joules)
