"""Measuring through real worker processes, with candidates that do everything a candidate can do wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autotune.backends import space
from autotune.runners.local import Measurer, Worker
from compiler.workloads.records import Measurement
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

WORKLOAD = Workload.dense(16, 8, 32)
TARGET = Target("test", "reference", 32, 16, (32768,), num_cores=1)

# A tuner that shows its worker's process and measures a candidate that never ends.
TUNER = """
from autotune.runners.local import Worker
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

with Worker(space="fake_space:FakeSpace") as worker:
    worker.open(Workload.dense(16, 8, 32), Target("test", "reference", 32, 16, (32768,), num_cores=1), "fake")
    worker.wait()
    print(worker.pid, flush=True)
    worker.measure(Schedule("fake", {"act": "hang in native code"}), timeout_secs=60)
"""


def act(behaviour: str) -> Schedule:
    return Schedule("fake", {"act": behaviour})


@pytest.fixture(scope="module", autouse=True)
def _importable_fake_space() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One for all tests, as for all workloads of a search: it must get over everything that happens to it."""
    with Worker(space="fake_space:FakeSpace") as worker:
        yield worker


@pytest.fixture
def measurer(worker: Worker) -> Iterator[Measurer]:
    with Measurer(WORKLOAD, TARGET, "fake", worker=worker, timeout_secs=1) as measurer:
        yield measurer


def test_measurements_come_in_the_order_of_their_schedules(measurer: Measurer):
    good, slow, bad = measurer.measure([act("ok"), act("slow"), act("build error")])
    assert good.ok
    assert good.median_secs == pytest.approx(1e-3, rel=0.01)
    assert slow.median_secs == pytest.approx(1.0, rel=0.01)
    assert bad == Measurement((), "build failed: ValueError: tile too large")


def test_a_candidate_much_slower_than_the_best_is_timed_once(measurer: Measurer):
    slow_at_first, good, slow = measurer.measure([act("slow"), act("ok"), act("slow")])
    assert len(slow_at_first.run_secs) > 1
    assert len(good.run_secs) > 1
    assert len(slow.run_secs) == 1


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("build error", "build failed: ValueError: tile too large"),
        ("load error", "load failed: RuntimeError: does not fit"),
        ("run error", "run failed: RuntimeError: first line"),
        ("half wrong", "wrong answer: 64 of 128 elements, the worst off by "),
        ("slightly wrong", "wrong answer: 1 of 128 elements, the worst off by 1"),
        ("nan", "wrong answer: 1 of 128 elements are NaN or infinite"),
        ("transposed", "wrong answer: float32 (8, 16), not float32 (16, 8)"),
        ("float64", "wrong answer: float64 (16, 8), not float32 (16, 8)"),
        ("stale", "wrong answer: "),
    ],
)
def test_a_failure_has_its_reason_and_keeps_the_worker(worker: Worker, measurer: Measurer, behaviour: str, reason: str):
    assert measurer.measure([act("ok")])[0].ok
    pid = worker.pid
    failure, good = measurer.measure([act(behaviour), act("ok")])
    assert not failure.ok
    assert (failure.error or "").startswith(reason)
    assert good.ok
    assert worker.pid == pid


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("segfault", "crashed: SIGSEGV"),
        ("abort", "crashed: SIGABRT: terminate called after throwing an instance of 'std::bad_alloc'"),
        ("exit", "exited with code 3"),
        ("hang", "timed out: no answer within 1 s"),
        ("hang in native code", "timed out: no answer within 1 s"),
    ],
)
def test_a_lost_worker_is_replaced(worker: Worker, measurer: Measurer, behaviour: str, reason: str):
    assert measurer.measure([act("ok")])[0].ok
    pid = worker.pid
    failure, good = measurer.measure([act(behaviour), act("ok")])
    assert failure == Measurement((), reason)
    assert good.ok
    assert worker.pid != pid


def test_what_a_candidate_prints_is_no_answer_and_no_later_reason(measurer: Measurer):
    chatty, crash = measurer.measure([act("chatty"), act("segfault")])
    assert chatty.median_secs == pytest.approx(1e-3, rel=0.01)
    assert crash.error == "crashed: SIGSEGV"


def test_a_worker_runs_on_its_cores_alone(measurer: Measurer):
    last = max(os.sched_getaffinity(0))
    (told,) = measurer.measure([act("pid")])
    assert (told.error or "").endswith(f"cores [{last}] omp 1")


def test_cores_can_be_chosen():
    first = min(os.sched_getaffinity(0))
    with Worker(cores=[first], space="fake_space:FakeSpace") as worker:
        worker.open(WORKLOAD, TARGET, "fake")
        assert f"cores [{first}]" in (worker.measure(act("pid")).error or "")


@pytest.mark.parametrize(
    "arguments",
    [{"threads": 0}, {"threads": 100_000}, {"cores": [100_000]}, {"cores": []}, {"threads": 2, "cores": [0, 0]}],
)
def test_impossible_cores_are_refused(arguments: dict):
    with pytest.raises(ValueError, match="this process may use"):
        Worker(**arguments)


def test_nothing_is_measured_before_a_workload_is_open():
    with pytest.raises(RuntimeError, match="call open first"):
        Worker().measure(act("ok"))


def test_a_worker_and_a_target_agree_on_cores(worker: Worker):
    two = Target("test", "reference", 32, 16, (32768,), num_cores=2)
    with pytest.raises(ValueError, match="a worker on 1 cores cannot measure for 2"):
        Measurer(WORKLOAD, two, "fake", worker=worker)


def test_one_worker_serves_several_measurers_in_turn(worker: Worker):
    worker.start()
    with (
        Measurer(WORKLOAD, TARGET, "fake", worker=worker) as first,
        Measurer(Workload.dense(3, 4, 5, epilogue=("bias",)), TARGET, "fake", worker=worker) as second,
    ):
        pid = worker.pid
        assert first.measure([act("ok")])[0].ok
        # The fake adds no bias: that its answer is wrong shows that the workload is the other one.
        assert (second.measure([act("ok")])[0].error or "").startswith("wrong answer: 12 of 12")
        assert first.measure([act("ok")])[0].ok
    assert worker.pid == pid


def test_measurements_come_one_by_one(measurer: Measurer):
    asked: list[str] = []

    def schedules() -> Iterator[Schedule]:
        for behaviour in ("ok", "nan"):
            asked.append(behaviour)
            yield act(behaviour)

    measurements = measurer.measure_each(schedules())
    assert next(measurements).ok
    assert asked == ["ok"]
    assert [m.ok for m in measurements] == [False]


def test_a_backend_that_does_not_load_is_an_error_of_its_own(worker: Worker):
    with Measurer(WORKLOAD, TARGET, "broken", worker=worker) as measurer:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="cannot measure: RuntimeError: no such library"):
                measurer.measure([act("ok")])
    with Measurer(WORKLOAD, TARGET, "fake", worker=worker) as measurer:
        assert measurer.measure([act("ok")])[0].ok


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("fake_space:dies_at_start", "crashed: SIGKILL: library not found"),
        ("no_such_module:space", "exited with code 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("fake_space:no_such_space", "exited with code 1: AttributeError: "),
    ],
)
def test_a_worker_that_dies_at_its_start_burns_no_trial(broken: str, reason: str):
    with Worker(space=broken) as worker:
        worker.open(WORKLOAD, TARGET, "fake")
        with pytest.raises(RuntimeError, match=f"cannot measure: {reason}"):
            worker.measure(act("ok"))


def test_a_worker_that_dies_between_trials_costs_none(worker: Worker, measurer: Measurer):
    assert measurer.measure([act("ok")])[0].ok
    assert worker.pid
    os.kill(worker.pid, signal.SIGKILL)
    while psutil.Process(worker.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert measurer.measure([act("ok")])[0].ok


def test_an_interrupted_trial_does_not_answer_for_the_next(measurer: Measurer):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    assert measurer.measure([act("ok")])[0].ok
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            measurer.measure([act("hang")])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (measurer.measure([act("nan")])[0].error or "").startswith("wrong answer")


def test_nothing_is_left_behind():
    def open_files() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))

    children, files = psutil.Process().children(), open_files()
    with Worker(space="fake_space:FakeSpace") as worker:
        worker.open(WORKLOAD, TARGET, "fake")
        for behaviour in ("ok", "segfault", "hang"):
            worker.measure(act(behaviour), timeout_secs=0.5)
    assert psutil.Process().children() == children
    assert open_files() == files


@pytest.mark.parametrize("backend", ["kernel", pytest.param("tvm", marks=pytest.mark.tvm)])
def test_the_backends_are_right_by_default(backend: str):
    workload = Workload.dense(5, 17, 33, epilogue=("bias", "residual", "gelu"))
    target = Target.from_host(num_cores=1)
    with Measurer(workload, target, backend) as measurer:
        (measurement,) = measurer.measure([space(backend, workload, target).default()])
    assert measurement.error is None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_worker_dies_with_its_tuner(end: signal.Signals):
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), str(Path(__file__).parent)])}
    with subprocess.Popen(
        [sys.executable, "-c", TUNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    ) as tuner:
        assert tuner.stdout
        worker = psutil.Process(int(tuner.stdout.readline()))
        time.sleep(0.1)  # for the candidate to start hanging
        tuner.send_signal(end)
    psutil.wait_procs([worker], timeout=10)
    # Where nothing adopts orphans it stays on as a zombie, which holds nothing.
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
