"""The cores that a process runs on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from kernels import Topology


def usable() -> list[int]:
    """Returns the logical cores that this process may use; empty if the system cannot pin processes."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def cores(threads: int) -> list[int]:
    """Chooses logical cores for a number of threads, best first; see ``kernels.Topology.order``.

    Returns fewer than ``threads`` if this process may not use as many, and none if the system cannot pin processes.
    """
    return list(Topology.read().cpus_for(threads)) if usable() else []


def physical() -> int:
    """Returns the number of physical cores that this process may use; 1 if the system cannot pin processes."""
    return max(1, len({cpu.core for cpu in Topology.read().cpus})) if usable() else 1


def pin(threads: int) -> list[int]:
    """Pins this process to as many cores as threads, and returns them. Call it before anything starts a thread.

    Raises:
        ValueError: this process may not use as many.
    """
    most = len(usable())
    if not 1 <= threads <= most:
        raise ValueError(f"threads must be between 1 and {most} (the cores this process may use), got {threads}")
    chosen = cores(threads)
    os.sched_setaffinity(0, chosen)
    return chosen


@contextlib.contextmanager
def pinned(chosen: Sequence[int]) -> Iterator[None]:
    """Keeps this thread, and those that it starts, on the chosen cores. Has no effect if none are given."""
    if not chosen:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
