"""TVM's code and the kernels share one set of threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import kernels
from compiler.program import native
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.target import Target, usable_cores
from compiler.workloads.workload import Workload

thread_pool = pytest.importorskip("compiler.tvm_backend.thread_pool", exc_type=ImportError)
spaces_tvm = pytest.importorskip("compiler.tvm_backend.space", exc_type=ImportError)
tvm = pytest.importorskip("tvm")
s_tir = pytest.importorskip("tvm.s_tir")
te = pytest.importorskip("tvm.te")
tirx = pytest.importorskip("tvm.tirx")

pytestmark = pytest.mark.tvm

Function = Callable[..., Any]


def in_parallel(value: Function) -> Any:
    """Compiles a function that fills a vector of 64 elements with ``value(index)`` in a parallel loop."""
    out = te.compute((64,), value, name="out")
    schedule = s_tir.Schedule(te.create_prim_func([out]))
    schedule.parallel(schedule.get_loops(schedule.get_sblock("out"))[0])
    return tvm.compile(schedule.mod, tvm.target.Target({"kind": "llvm", "num-cores": 2}))


@pytest.fixture(scope="module")
def who_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Function]:
    """Functions that store the thread of each element: compiled in this process, and loaded from a file."""

    def thread(_: Any) -> Any:
        time_for_others_to_begin = tirx.call_extern("int32", "usleep", 300).astype("uint64")  # it returns 0
        return tirx.call_extern("uint64", "pthread_self") + time_for_others_to_begin

    executable = in_parallel(thread)
    path = str(tmp_path_factory.mktemp("exported") / "who_runs.so")
    executable.export_library(path)
    return {"compiled": executable.mod["main"], "read": tvm.runtime.load_module(path)["main"]}


def threads_of(function: Function, threads: int) -> set[int]:
    out = tvm.runtime.tensor(np.zeros(64, np.uint64))
    with thread_pool.generated_code_threads(threads):
        function(out)
    return set(out.numpy().tolist())


def operating_system_threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


@pytest.mark.parametrize("origin", ["compiled", "read"])
def test_tvm_creates_no_threads(who_runs: dict[str, Function], origin: str) -> None:
    """Uses three threads, more than any other test would have started in TVM's own pool."""
    layer = kernels.Dense(np.ones((64, 64), np.float32), threads=3)
    layer(np.ones((64, 64), np.float32))
    before = operating_system_threads()
    used = threads_of(who_runs[origin], 3)
    assert len(used) == 3
    assert operating_system_threads() == before
    assert threads_of(who_runs[origin], 3) == used
    assert threads_of(who_runs["compiled"], 2) < used


def test_the_number_of_threads_is_the_program_s(who_runs: dict[str, Function]) -> None:
    assert [len(threads_of(who_runs["compiled"], threads)) for threads in (1, 2, 1, 4)] == [1, 2, 1, 4]


def test_the_reason_of_a_failure_comes_from_any_thread() -> None:
    """Another thread than the caller computes the last element."""

    def fail_last(index: Any) -> Any:
        return tirx.call_packed("tests.fail_at_63", index)

    @tvm.register_global_func("tests.fail_at_63", override=True)
    def _(index: int) -> int:
        if index == 0:
            time.sleep(0.01)  # so that other threads start the other tasks
        if index == 63:
            raise ValueError("not 63")
        return index

    function = in_parallel(fail_last).mod["main"]
    out = tvm.runtime.tensor(np.zeros(64, np.int32))
    for threads in (1, 2, 3):
        with thread_pool.generated_code_threads(threads), pytest.raises(ValueError, match="not 63"):
            function(out)


@pytest.mark.skipif(usable_cores() < 2, reason="this process has one core")
def test_tvm_code_and_kernels_at_once() -> None:
    workload = Workload.dense(48, 96, 80, epilogue=("bias", "relu"))
    space = spaces_tvm.TvmSpace(workload, Target.from_host(num_cores=2))

    def assert_right(answer: np.ndarray, inputs: dict[str, np.ndarray]) -> None:
        assert np.all(np.abs(answer - reference(workload, inputs)) <= tolerance(workload, inputs))

    def run_tvm(seed: int) -> None:
        inputs = make_inputs(workload, seed)
        program = space.build(space.default())
        program.load(inputs)
        for _ in range(100):
            assert_right(program.run(), inputs)

    def run_kernel(seed: int) -> None:
        inputs = make_inputs(workload, seed)
        layer = kernels.Dense(inputs["weight"], inputs["bias"], "relu", threads=2)
        for _ in range(100):
            assert_right(layer(inputs["x"]), inputs)

    with ThreadPoolExecutor(3) as executor:
        for future in [executor.submit(run, seed) for seed, run in enumerate((run_tvm, run_kernel, run_tvm))]:
            future.result()


def test_threads_that_were_sent_to_sleep_work_again() -> None:
    """A call that such a thread misses would not return."""
    rest = native.function("rest_pool")
    dense = kernels.Dense(np.eye(512, dtype=np.float32), threads=2)
    x = np.random.default_rng(0).standard_normal((256, 512)).astype(np.float32)
    with ThreadPoolExecutor(1) as others:
        ends = time.monotonic() + 0.2

        def keep_resting() -> None:
            while time.monotonic() < ends:
                rest()

        resting = others.submit(keep_resting)
        for pause in (0, 2e-4, 0) * 50:
            rest()
            time.sleep(pause)
            np.testing.assert_array_equal(dense(x), x)
        resting.result()
