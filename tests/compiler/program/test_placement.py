"""The number of threads that run a loaded model, and the cores that it may be bound to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from compiler.program import placement
from compiler.program.placement import checked_cores, placement_of, threads_here
from kernels import Topology
from tests.kernels import fake_machine

MOST = Topology.read().most_threads
CPUS = tuple(cpu.id for cpu in Topology.read().cpus)


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2.5 CPUs of 128 logical ones."""
    cpus = fake_machine.xeon(tmp_path)
    fake_machine.quota_2(tmp_path, {"": "250000 100000"})
    found = Topology.read(tmp_path, cpus)
    monkeypatch.setattr(placement.Topology, "read", lambda: found)


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize(
    ("built", "cores", "threads"),
    [(1, None, 1), (3, None, 3), (4, None, 2), (5000, None, 2), (64, (7,), 1), (1, (7, 8), 2), (1, (7, 8, 9, 10), 2)],
)
def test_the_number_if_none_is_given(built: int, cores: Sequence[int] | None, threads: int) -> None:
    assert threads_here(built, None, cores) == threads


@pytest.mark.usefixtures("container")
def test_what_was_picked() -> None:
    assert placement_of(2) == "2 threads: 2 physical cores of 1 node; the CPU quota is 2.5"
    assert placement_of(1, (7,)) == "1 thread: core 7, as given"
    assert placement_of(2, (7, 70, 9)) == "2 threads: cores 7, 70, 9, as given"
    assert checked_cores(range(64, 66)) == (64, 65)
    assert checked_cores(np.array([3, 1])) == (3, 1)


@pytest.mark.parametrize("threads", [0, -1, MOST + 1, 10**30, 1.5, "2"])
def test_wrong_numbers_of_threads(threads: object) -> None:
    with pytest.raises(ValueError, match=rf"^threads must be between 1 and {MOST} \(the cores .*\), got "):
        threads_here(1, threads)  # type: ignore[arg-type]


@pytest.mark.skipif(MOST < 2, reason="this process has one core")
def test_more_threads_than_cores() -> None:
    with pytest.raises(
        ValueError, match=r"^2 threads need as many cores, got 1; load\(path, threads=N\) takes another number$"
    ):
        threads_here(1, 2, CPUS[:1])


@pytest.mark.parametrize("cores", [(), (CPUS[0], CPUS[0]), (-1,), (1 << 20,), (1.5,), ("0",), (None,)])
def test_wrong_cores(cores: tuple[object, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"^cores must be distinct ones of those that this process may use, [0-9, ]+; got"
    ):
        checked_cores(cores)


@pytest.mark.skipif(len(CPUS) < 2, reason="this process has one core")
def test_cores_outside_of_the_affinity_mask() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CPUS[0]})
    try:
        with pytest.raises(ValueError, match=rf"may use, {CPUS[0]}; got \[{CPUS[1]}\]$"):
            checked_cores([CPUS[1]])
    finally:
        os.sched_setaffinity(0, before)
