"""Measures through real worker processes, with candidates that fail in every possible way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from autotune.backends import space
from autotune.runners.local import LocalRunner, Worker
from autotune.runners.runner import Runner
from compiler.workloads.records import Measurement
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from tests.kernels.machine_models import with_lines

WORKLOAD = Workload.dense(16, 8, 32)
MACHINE = with_lines({"ghz": "1.25"})  # the worker process gets it as a text
TARGET = Target("test", "reference", 32, 16, (32768,), num_cores=1)

# A program that prints the process ID of its worker and measures a candidate that never ends.
PARENT = """
import signal

from autotune.runners.local import Worker
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts the tests in the background ignores it
with Worker(space="fake_space:FakeSpace") as worker:
    worker.open(Workload.dense(16, 8, 32), Target("test", "reference", 32, 16, (32768,), num_cores=1), "fake")
    worker.wait()
    print(worker.pid, flush=True)
    worker.measure(Schedule("fake", {"act": "hang in native code"}), timeout_secs=60)
"""


def act(behavior: str) -> Schedule:
    return Schedule("fake", {"act": behavior})


@pytest.fixture(scope="module", autouse=True)
def _importable_fake_space() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield


@pytest.fixture(scope="module")
def runner() -> Iterator[LocalRunner]:
    """One runner for all tests, as for all workloads of a search: it must survive everything that happens to it."""
    with LocalRunner(space="fake_space:FakeSpace", timeout_secs=1) as runner:
        yield runner


def measure(runner: Runner, *behaviors: str, workload: Workload = WORKLOAD, backend: str = "fake") -> list[Measurement]:
    return list(runner.measure(workload, TARGET, backend, map(act, behaviors)))


def test_measurements_come_in_the_order_of_their_schedules(runner: LocalRunner):
    good, slow, bad = measure(runner, "ok", "slow", "build error")
    assert good.ok
    assert good.median_secs == pytest.approx(1e-3, rel=0.01)
    assert slow.median_secs == pytest.approx(1.0, rel=0.01)
    assert bad == Measurement((), "build failed: ValueError: tile too large")


def test_a_candidate_much_slower_than_the_best_is_timed_once(runner: LocalRunner):
    slow_at_first, good, slow = measure(runner, "slow", "ok", "slow", workload=Workload.dense(8, 8, 8))
    assert len(slow_at_first.run_secs) > 1
    assert len(good.run_secs) > 1
    assert len(slow.run_secs) == 1


@pytest.mark.parametrize(
    ("behavior", "reason"),
    [
        ("build error", "build failed: ValueError: tile too large"),
        ("load error", "load failed: RuntimeError: does not fit"),
        ("run error", "run failed: RuntimeError: first line"),
        ("half wrong", "wrong answer: 64 of 128 elements, largest error "),
        ("slightly wrong", "wrong answer: 1 of 128 elements, largest error 1"),
        ("nan", "wrong answer: 1 of 128 elements are NaN or infinite"),
        ("transposed", "wrong answer: float32 (8, 16), not float32 (16, 8)"),
        ("float64", "wrong answer: float64 (16, 8), not float32 (16, 8)"),
        ("stale", "wrong answer: "),
    ],
)
def test_a_failure_has_its_reason_and_keeps_the_worker(runner: LocalRunner, behavior: str, reason: str):
    assert measure(runner, "ok")[0].ok
    pid = runner.worker(1).pid
    failure, good = measure(runner, behavior, "ok")
    assert not failure.ok
    assert (failure.error or "").startswith(reason)
    assert good.ok
    assert runner.worker(1).pid == pid


@pytest.mark.parametrize(
    ("behavior", "reason"),
    [
        ("segfault", "crashed: SIGSEGV"),
        ("abort", "crashed: SIGABRT: terminate called after throwing an instance of 'std::bad_alloc'"),
        ("exit", "exited with code 3"),
        ("hang", "timed out: no answer within 1 s"),
        ("hang in native code", "timed out: no answer within 1 s"),
    ],
)
def test_a_lost_worker_is_replaced(runner: LocalRunner, behavior: str, reason: str):
    assert measure(runner, "ok")[0].ok
    pid = runner.worker(1).pid
    failure, good = measure(runner, behavior, "ok")
    assert failure == Measurement((), reason)
    assert good.ok
    assert runner.worker(1).pid != pid


def test_output_of_a_candidate_is_neither_an_answer_nor_a_later_reason(runner: LocalRunner):
    chatty, crash = measure(runner, "chatty", "segfault")
    assert chatty.median_secs == pytest.approx(1e-3, rel=0.01)
    assert crash.error == "crashed: SIGSEGV"


def test_a_worker_runs_on_its_cores_only(runner: LocalRunner):
    last = max(os.sched_getaffinity(0))
    (reported,) = measure(runner, "pid")
    assert (reported.error or "").endswith(f"cores [{last}] omp 1")


def test_cores_can_be_chosen():
    first = min(os.sched_getaffinity(0))
    with Worker(cores=[first], space="fake_space:FakeSpace") as worker:
        worker.open(WORKLOAD, TARGET, "fake")
        assert f"cores [{first}]" in (worker.measure(act("pid")).error or "")


@pytest.mark.parametrize(
    "arguments",
    [{"threads": 0}, {"threads": 100_000}, {"cores": [100_000]}, {"cores": []}, {"threads": 2, "cores": [0, 0]}],
)
def test_impossible_cores_are_rejected(arguments: dict):
    with pytest.raises(ValueError, match="this process may use"):
        Worker(**arguments)


def test_nothing_is_measured_before_a_workload_is_open():
    with pytest.raises(RuntimeError, match="call open first"):
        Worker().measure(act("ok"))


def test_a_worker_and_a_target_agree_on_cores():
    two = Target("test", "reference", 32, 16, (32768,), num_cores=2)
    with pytest.raises(ValueError, match="a worker on 1 cores cannot measure for 2"):
        Worker().open(WORKLOAD, two, "fake")


def test_a_runner_has_a_worker_for_each_number_of_threads(runner: LocalRunner):
    assert runner.worker(1) is runner.worker(1)
    cores = len(os.sched_getaffinity(0))
    assert len(runner.worker(cores).cores) == cores
    with pytest.raises(ValueError, match="this process may use"):
        runner.prepare(WORKLOAD, Target("test", "reference", 32, 16, (32768,), num_cores=cores + 1), "fake")


def test_one_worker_serves_several_workloads_in_turn(runner: LocalRunner):
    other = Workload.dense(3, 4, 5, epilogue=("bias",))
    runner.prepare(WORKLOAD, TARGET, "fake")
    pid = runner.worker(1).pid
    assert pid
    assert measure(runner, "ok")[0].ok
    runner.prepare(other, TARGET, "fake")
    # The fake adds no bias. Its wrong answer shows that the workload is the other one.
    assert (measure(runner, "ok", workload=other)[0].error or "").startswith("wrong answer: 12 of 12")
    assert measure(runner, "ok")[0].ok
    assert runner.worker(1).pid == pid


def test_measurements_of_two_workloads_may_alternate(runner: LocalRunner):
    other = Workload.dense(3, 4, 5, epilogue=("bias",))
    first = runner.measure(WORKLOAD, TARGET, "fake", [act("ok"), act("ok")])
    second = runner.measure(other, TARGET, "fake", [act("ok"), act("ok")])
    assert [(one.ok, two.ok) for one, two in zip(first, second, strict=True)] == [(True, False)] * 2


def test_measurements_come_one_by_one(runner: LocalRunner):
    requested: list[str] = []

    def schedules() -> Iterator[Schedule]:
        for behavior in ("ok", "nan"):
            requested.append(behavior)
            yield act(behavior)

    measurements = runner.measure(WORKLOAD, TARGET, "fake", schedules())
    assert next(measurements).ok
    assert requested == ["ok"]
    assert [m.ok for m in measurements] == [False]


def test_a_backend_that_does_not_load_is_an_error_of_the_runner(runner: LocalRunner):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="cannot measure: RuntimeError: no such library"):
            measure(runner, "ok", backend="broken")
    assert measure(runner, "ok")[0].ok


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


def test_a_worker_that_dies_between_trials_costs_no_trial(runner: LocalRunner):
    assert measure(runner, "ok")[0].ok
    pid = runner.worker(1).pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert measure(runner, "ok")[0].ok


def test_an_interrupted_trial_does_not_answer_for_the_next(runner: LocalRunner):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    assert measure(runner, "ok")[0].ok
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            measure(runner, "hang")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (measure(runner, "nan")[0].error or "").startswith("wrong answer")


def test_nothing_is_left_behind():
    def open_files() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))

    children, files = psutil.Process().children(), open_files()
    with Worker(space="fake_space:FakeSpace") as worker:
        worker.open(WORKLOAD, TARGET, "fake")
        for behavior in ("ok", "segfault", "hang"):
            worker.measure(act(behavior), timeout_secs=0.5)
    assert psutil.Process().children() == children
    assert open_files() == files


@pytest.mark.parametrize("backend", ["kernel", pytest.param("tvm", marks=pytest.mark.tvm)])
def test_the_backends_are_right_by_default(backend: str):
    workload = Workload.dense(5, 17, 33, epilogue=("bias", "residual", "gelu"))
    target = Target.from_host(num_cores=1)
    with LocalRunner() as runner:
        (measurement,) = runner.measure(workload, target, backend, [space(backend, workload, target).default()])
    assert measurement.error is None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_worker_ends_with_its_parent(end: signal.Signals):
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), str(Path(__file__).parent)])}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    ) as parent:
        assert parent.stdout
        worker = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.1)  # until the candidate hangs
        parent.send_signal(end)
    psutil.wait_procs([worker], timeout=10)
    # If no process adopts orphans, it remains a zombie, which holds no resources.
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_a_worker_has_the_machine_model_of_the_target(runner: LocalRunner) -> None:
    for target, machine in ((replace(TARGET, machine=MACHINE), MACHINE), (TARGET, None)):
        (found,) = runner.measure(WORKLOAD, target, "fake", [act("machine")])
        assert found.error is not None
        assert (MACHINE.id in found.error) == (machine is MACHINE)
