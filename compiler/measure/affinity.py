"""Which cores a process runs on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def cores(threads: int) -> list[int]:
    """As many of the logical cores that this process may use: no two on one physical core, if there are enough.

    Empty where the system cannot tell.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    usable = sorted(os.sched_getaffinity(0))
    physical = [_siblings(core) for core in usable]
    rank = {core: physical[:place].count(physical[place]) for place, core in enumerate(usable)}
    return sorted(sorted(usable, key=lambda core: (rank[core], core))[:threads])


@contextlib.contextmanager
def pinned(chosen: Sequence[int]) -> Iterator[None]:
    """This thread, and those started from here on, stay on the chosen cores. Does nothing where none is chosen."""
    if not chosen:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _siblings(core: int) -> str:
    try:
        return Path(_SIBLINGS.format(core)).read_text().strip()
    except OSError:
        return str(core)
