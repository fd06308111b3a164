"""The parent's end of a worker process, with the requests and answers of ``autotune.runners.worker``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autotune.runners.process import ProcessLostError, WorkerProcess
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

OPEN = {
    "open": {
        "backend": "fake",
        "workload": Workload.dense(16, 8, 32).to_json(),
        "target": Target("test", "reference", 32, 16, (32768,), num_cores=1).to_json(),
        "seed": 0,
    }
}


def measure(behavior: str) -> dict[str, dict[str, object]]:
    schedule = {"backend": "fake", "values": {"act": behavior}}
    return {"measure": {"schedule": schedule, "timing": {}, "best_secs": None}}


@pytest.fixture
def process() -> Iterator[WorkerProcess]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        process = WorkerProcess([min(os.sched_getaffinity(0))], "fake_space:FakeSpace")
    yield process
    process.kill()


def test_every_request_is_answered_in_order(process: WorkerProcess) -> None:
    for request in (OPEN, measure("ok"), measure("build error")):
        process.send(request)
    assert process.receive(60) == {"error": None}
    good, bad = process.receive(60), process.receive(60)
    assert good["error"] is None
    assert all(secs == pytest.approx(1e-3, rel=0.01) for secs in good["run_secs"])
    assert bad == {"run_secs": [], "error": "build failed: ValueError: tile too large"}


def test_a_workload_that_cannot_be_opened_is_reported(process: WorkerProcess) -> None:
    process.send({"open": OPEN["open"] | {"backend": "broken"}})
    assert process.receive(60) == {"error": "RuntimeError: no such library"}


def test_a_late_answer_is_a_lost_process(process: WorkerProcess) -> None:
    process.send(OPEN)
    process.receive(60)
    process.send(measure("hang"))
    with pytest.raises(ProcessLostError, match=r"timed out: no answer within 0.1 s"):
        process.receive(0.1)


def test_the_reason_of_an_end_has_its_last_line(process: WorkerProcess) -> None:
    process.send(OPEN)
    process.receive(60)
    process.send(measure("abort"))
    with pytest.raises(ProcessLostError, match=r"crashed: SIGABRT: terminate called after throwing"):
        process.receive(60)
    process.send(measure("ok"))  # does not raise
    with pytest.raises(ProcessLostError):
        process.receive(60)
    assert not process.is_alive()


def test_a_killed_process_is_gone(process: WorkerProcess) -> None:
    assert process.is_alive()
    process.kill()
    assert not psutil.pid_exists(process.pid)
