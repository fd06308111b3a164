"""Which cores are chosen, and that the process is put there and back."""

from __future__ import annotations

import os
import threading

import pytest

from compiler.measure import affinity

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins nothing")


def test_one_thread_of_each_core_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 6, 7})
    monkeypatch.setattr(affinity, "_siblings", lambda core: f"{core // 2 * 2}-{core // 2 * 2 + 1}")
    assert affinity.cores(1) == [0]
    assert affinity.cores(3) == [0, 2, 6]
    assert affinity.cores(4) == [0, 1, 2, 6]


def test_threads_stay_there_and_the_caller_comes_back() -> None:
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
