"""Threads of another library that work for the calling thread, and the cores that they run on."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")


class Workers:
    """Threads that wait asleep for the calling thread, and must not wake on its core.

    The system sometimes wakes them there although another core is free. The caller, which spins until they finish, then
    keeps them from working for milliseconds, or they it. So they may use all of their cores but that of the caller.
    """

    def __init__(self) -> None:
        self._cores: dict[int, set[int]] = {}  # by thread, those that it may run on
        self._off: int | None = None
        self._current_core: Callable[[], int] | None = getattr(ctypes.CDLL(None), "sched_getcpu", None)

    @contextmanager
    def started(self, count: int) -> Iterator[None]:
        """Takes over the ``count`` threads that start inside the context; none if others start as well."""
        before = _threads()
        yield
        new = _threads() - before
        if len(new) == count and hasattr(os, "sched_getaffinity"):
            with suppress(OSError):  # a thread that has ended
                self._cores = {thread: os.sched_getaffinity(thread) for thread in new}

    def keep_off_the_caller(self) -> None:
        """Moves the threads off the core of the caller. Takes a microsecond if the caller is where it was before."""
        if not self._cores or self._current_core is None:
            return
        core = self._current_core()
        if core == self._off:
            return
        self._off = core
        for thread, cores in self._cores.items():
            if others := cores - {core}:
                with suppress(OSError):  # the system does not allow it
                    os.sched_setaffinity(thread, others)


def _threads() -> set[int]:
    """Returns the threads of this process; none if the system does not list them."""
    return {int(task.name) for task in _TASKS.iterdir()} if _TASKS.is_dir() else set()
