"""Threads that leave the core of their caller."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from compiler.measure import affinity
from compiler.program.workers import Workers

pytestmark = pytest.mark.skipif(len(affinity.usable()) < 2, reason="there is one core")


@contextmanager
def sleeping(count: int) -> Iterator[list[int]]:
    """Starts threads that sleep until the end, and gives their identifiers."""
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(count)]
    for thread in threads:
        thread.start()
    yield [thread.native_id for thread in threads if thread.native_id is not None]
    end.set()
    for thread in threads:
        thread.join()


def test_they_may_use_all_cores_but_that_of_the_caller() -> None:
    workers, first, second = Workers(), *affinity.usable()[:2]
    with ExitStack() as stack:
        with workers.started(2):
            started = stack.enter_context(sleeping(2))
        others = stack.enter_context(sleeping(1))
        before = os.sched_getaffinity(0)
        for core in (first, second, first, first):
            with affinity.pinned([core]):
                workers.keep_off_the_caller()
            assert [os.sched_getaffinity(thread) for thread in started] == [before - {core}] * 2
        assert os.sched_getaffinity(others[0]) == before == os.sched_getaffinity(0)
    workers.keep_off_the_caller()  # they have ended


def test_they_stay_where_there_is_no_other_core() -> None:
    workers, core = Workers(), affinity.usable()[0]
    with ExitStack() as stack, affinity.pinned([core]):
        with workers.started(1):
            (worker,) = stack.enter_context(sleeping(1))
        workers.keep_off_the_caller()
        assert os.sched_getaffinity(worker) == {core}


def test_threads_of_others_are_left_alone() -> None:
    """It is not known which ones are meant if more start than expected."""
    workers, core = Workers(), affinity.usable()[0]
    with ExitStack() as stack:
        with workers.started(1):
            started = stack.enter_context(sleeping(2))
        with affinity.pinned([core]):
            workers.keep_off_the_caller()
        assert {frozenset(os.sched_getaffinity(thread)) for thread in started} == {frozenset(os.sched_getaffinity(0))}
