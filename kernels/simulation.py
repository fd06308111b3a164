"""Shares of parallel regions, run one by one on one thread: what many threads would do, measured on one core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from kernels import _native


class Region(NamedTuple):
    """One parallel region.

    Attributes:
        threads: the number of its shares.
        share_secs: the seconds of each share; 0 for one that was left out.
    """

    threads: int
    share_secs: tuple[float, ...]


@contextmanager
def simulated_shares(only: int | None = None) -> Iterator[list[Region]]:
    """Runs the shares of this thread's parallel regions one by one on this thread, and times each.

    Yields a list that has the regions, in order, after the block. Numbers of threads may exceed those of the CPU.

    Args:
        only: the share that runs, in regions that have it; all others are left out, so the answers are wrong.

    Raises:
        ValueError: ``only`` is negative.
        RuntimeError: this thread simulates already.
    """
    if only is not None and only < 0:
        raise ValueError(f"only must be 0 or more, got {only}")
    simulation = _native.Simulation(-1 if only is None else only)
    regions: list[Region] = []
    simulation.enter()
    try:
        yield regions
    finally:
        regions += [Region(threads, tuple(secs)) for threads, secs in simulation.leave()]
