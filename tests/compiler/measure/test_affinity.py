"""The choice of cores, and pinning."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from compiler.measure import affinity
from kernels import Topology
from tests.kernels import fake_machine

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes")


def test_one_thread_of_each_core_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_machine.cores(tmp_path, [(core, core + 1) for core in range(0, 8, 2)])
    found = Topology.read(tmp_path, {0, 1, 2, 3, 6, 7})
    monkeypatch.setattr(affinity.Topology, "read", lambda: found)
    assert affinity.cores(1) == [0]
    assert affinity.cores(3) == [0, 2, 6]
    assert affinity.cores(4) == [0, 2, 6, 1]


def test_new_threads_stay_on_the_cores_and_the_caller_is_moved_back() -> None:
    before = os.sched_getaffinity(0)
    chosen = affinity.cores(1)
    seen: list[set[int]] = []
    with affinity.pinned(chosen):
        thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
        thread.start()
        thread.join()
    assert seen == [set(chosen)]
    assert os.sched_getaffinity(0) == before
    with affinity.pinned([]):
        assert os.sched_getaffinity(0) == before


def test_a_process_is_pinned_to_as_many_cores_as_threads() -> None:
    before = os.sched_getaffinity(0)
    try:
        cores = affinity.pin(1)
        assert len(cores) == 1
        assert os.sched_getaffinity(0) == set(cores) <= before
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("threads", [0, 10_000])
def test_more_cores_than_available_are_rejected(threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads must be between 1 and .*, got {threads}"):
        affinity.pin(threads)
