"""Calls the functions for parallel loops as generated code does, with C callbacks as tasks."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

import kernels
from kernels import Topology

thread_pool = pytest.importorskip("compiler.tvm_backend.thread_pool", exc_type=ImportError)
native = pytest.importorskip("compiler.program.native")

pytestmark = pytest.mark.tvm
generated_code_threads = thread_pool.generated_code_threads


class Group(ctypes.Structure):
    _fields_ = (("barrier", ctypes.c_void_p), ("tasks", ctypes.c_int32))


GroupPointer = ctypes.POINTER(Group)
CTask = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, GroupPointer, ctypes.c_void_p)

RUNTIME = ctypes.CDLL(str(native.LIBRARY))
LAUNCH = ctypes.CFUNCTYPE(ctypes.c_int, CTask, ctypes.c_void_p, ctypes.c_int)(("loopwright_parallel_launch", RUNTIME))
BARRIER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, GroupPointer)(("loopwright_parallel_barrier", RUNTIME))


def launch(task: Callable[[int, Group], int | None], tasks: int = 0) -> int:
    """Runs a loop of which ``task(index, group)`` is a share, and returns its status."""
    return LAUNCH(CTask(lambda index, group, _: task(index, group.contents) or 0), None, tasks)


@contextmanager
def pool_taken() -> Iterator[None]:
    """Inside, the pool serves another thread."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with generated_code_threads(2):
            launch(lambda index, _: (taken.set(), done.wait())[0] if index == 0 else None)

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(hold)
        taken.wait()
        try:
            yield
        finally:
            done.set()
        future.result()


def shares(tasks: int = 0) -> tuple[list[int], set[int], set[int]]:
    """Returns the tasks of a launch, the group sizes they see, and their threads. Each waits for all to start."""
    seen: list[tuple[int, int, int]] = []

    def task(index: int, group: Group) -> None:
        BARRIER(index, group)
        seen.append((index, group.tasks, threading.get_ident()))

    assert launch(task, tasks) == 0
    indices, sizes, idents = zip(*seen, strict=True)
    return sorted(indices), set(sizes), set(idents)


@pytest.mark.parametrize(("threads", "tasks", "expected"), [(3, 0, 3), (3, 2, 2), (2, 5, 2), (1, 0, 1), (1, 4, 1)])
def test_a_loop_has_as_many_tasks_as_threads(threads: int, tasks: int, expected: int) -> None:
    with generated_code_threads(threads):
        indices, sizes, idents = shares(tasks)
    assert indices == list(range(expected))
    assert sizes == {expected}
    assert len(idents) == expected
    assert threading.get_ident() in idents


def test_the_number_of_threads_belongs_to_the_thread_that_sets_it() -> None:
    assert shares()[1] == {Topology.read().default_threads}
    with generated_code_threads(3):
        with generated_code_threads(1):
            assert shares()[1] == {1}
        assert shares()[1] == {3}
        with ThreadPoolExecutor(1) as executor:
            assert executor.submit(shares).result()[1] == {Topology.read().default_threads}
    assert shares()[1] == {Topology.read().default_threads}
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"), generated_code_threads(0):
        pass


def test_a_loop_inside_a_loop_is_one_task() -> None:
    inner: list[int] = []

    def outer_task(_: int, __: Group) -> None:
        with generated_code_threads(2):
            launch(lambda _, group: inner.append(group.tasks))

    with generated_code_threads(2):
        assert launch(outer_task) == 0
    assert inner == [1, 1]


def test_a_second_loop_at_the_same_time_is_one_task() -> None:
    with pool_taken(), generated_code_threads(2):
        assert shares()[1:] == ({1}, {threading.get_ident()})


def test_a_kernel_inside_a_loop() -> None:
    x, weight = np.ones((20, 40), np.float32), np.ones((50, 40), np.float32)
    op = kernels.Dense(weight, threads=2)
    answers: list[np.ndarray] = []
    with generated_code_threads(2):
        assert launch(lambda _, __: answers.append(op(x))) == 0
    assert len(answers) == 2
    for answer in answers:
        np.testing.assert_array_equal(answer, np.full((20, 50), 40, np.float32))


def test_tasks_wait_for_each_other_at_a_barrier() -> None:
    rounds = 20
    arrivals = [0] * rounds
    lock = threading.Lock()
    early: list[int] = []

    def task(index: int, group: Group) -> None:
        for turn in range(rounds):
            with lock:
                arrivals[turn] += 1
            assert BARRIER(index, group) == 0
            if arrivals[turn] != 3:
                early.append(turn)

    with generated_code_threads(3):
        assert launch(task) == 0
    assert arrivals == [3] * rounds
    assert not early


def test_a_barrier_of_one_task() -> None:
    with generated_code_threads(1):
        assert launch(lambda index, group: BARRIER(index, group)) == 0


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failed_task_fails_the_loop(failing: int) -> None:
    finished: list[int] = []

    def task(index: int, _: Group) -> int:
        if index == failing:
            return -7
        finished.append(index)
        return 0

    with generated_code_threads(2):
        assert launch(task) == -7
        assert finished == [1 - failing]
        assert launch(lambda _, __: None) == 0
