"""The levels of the memory: which one holds data, and its measured bandwidth."""

from __future__ import annotations

import functools
import math
from typing import Protocol, TypeAlias

import kernels
from kernels.machine_model import LEVELS, Level

Caches: TypeAlias = tuple[int, int, int]  # bytes of L1, L2 and L3 as ``kernels.cache_bytes`` returns them


class Bandwidth(Protocol):
    """Returns the 10^9 bytes per second that ``threads`` threads together read from a level."""

    def __call__(self, level: Level, threads: int, /) -> float: ...


def capacity(level: Level, threads: int, caches: Caches) -> float:
    """Returns how many bytes ``threads`` threads on as many cores can keep in a level; 0 if its size is unknown.

    L1 and L2 belong to a core, so a working set that is divided among cores has all of them. L3 is shared: it counts
    once, also on CPUs with several L3 caches.
    """
    if level == "memory":
        return math.inf
    place = LEVELS.index(level)
    return caches[place] * (threads if level != "L3" else 1)


def holder(size: int, threads: int, caches: Caches, nearest: Level = "L1") -> Level:
    """Returns the nearest level, from ``nearest`` on, that holds ``size`` bytes divided evenly among the threads."""
    return next(level for level in LEVELS[LEVELS.index(nearest) :] if size <= capacity(level, threads, caches))


def working_set(level: Level, threads: int, caches: Caches) -> int | None:
    """Returns the bytes with which the bandwidth of a level is measured; None: more than every cache holds.

    They are midway between the capacity of the next nearer level, which must not hold them, and that of the level
    itself. For L1 this is one half of it.

    Raises:
        ValueError: the CPU has no such cache, or its size is unknown.
    """
    if level == "memory":
        return None
    place = LEVELS.index(level)
    if not caches[place]:
        raise ValueError(f"this CPU reports no {level} cache; it has: {_known(caches)}")
    nearer = capacity(LEVELS[place - 1], threads, caches) if place else 0
    return int(nearer + capacity(level, threads, caches)) // 2


def measured_bandwidth(level: Level, threads: int) -> float:
    """Measures the bandwidth of a level now, in GB/s; see :class:`Bandwidth`.

    The threads read. Writing is no faster, so the bandwidth bounds data in both directions.

    Raises:
        ValueError: the CPU has no such cache, or ``threads`` is below 1.
    """
    return kernels.memory_bandwidth(threads, working_set(level, threads, kernels.cache_bytes()))


@functools.cache
def bandwidth(level: Level, threads: int) -> float:
    """As :func:`measured_bandwidth`, which it calls once per level and number of threads."""
    return measured_bandwidth(level, threads)


def _known(caches: Caches) -> str:
    return ", ".join(level for level, size in zip(LEVELS, caches, strict=False) if size) or "none"
