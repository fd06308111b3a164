"""Samples of several contenders in one process, taken in random order, each when the others' threads sleep.

google-benchmark runs their repetitions in random order, so that a change of clock speed or a noisy neighbour meets all
alike. One repetition is one call of a native loop over enough runs to last ``slice_secs``, and its time is what that
loop measured: a call from Python into a kernel costs about as much as the smallest layers take, and must not be part of
their time. Before each repetition the threads of the contender before it are left to fall asleep, for a pool that still
spins would take the cores from the next; then some untimed runs wake the contender's own threads and fill its caches.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import google_benchmark
import psutil
from google_benchmark import _benchmark as registry  # the only way to register without a decorator

from benchmarks.layer import Contender

NANOSECOND = 1e-9


def interleaved(contenders: Mapping[str, Contender], samples: int, slice_secs: float) -> dict[str, list[float]]:
    """``samples`` times of each contender in seconds a run, taken by google-benchmark in random order."""
    for name, contender in contenders.items():
        wait_until_idle()
        number = max(1, round(slice_secs / min(contender.time(1, 5))))
        benchmark = registry.RegisterBenchmark(name, _repetition(contender, number))
        benchmark.iterations(1).use_manual_time().unit(google_benchmark.kNanosecond)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "samples.json"
        google_benchmark.initialize(
            [
                "benchmarks",
                f"--benchmark_repetitions={samples}",
                "--benchmark_enable_random_interleaving=true",
                "--benchmark_display_aggregates_only=true",
                "--benchmark_out_format=json",
                f"--benchmark_out={out}",
            ]
        )
        google_benchmark.run_benchmarks()
        rows = json.loads(out.read_text())["benchmarks"]
    secs: dict[str, list[float]] = {name: [] for name in contenders}
    for row in rows:
        if row.get("error_occurred"):
            raise RuntimeError(f"{row['name']}: {row['error_message']}")
        if row["run_type"] == "iteration":
            secs[row["run_name"].partition("/")[0]].append(row["real_time"] * NANOSECOND)
    return secs


def _repetition(contender: Contender, number: int) -> Callable[[google_benchmark.State], None]:
    def run(state: google_benchmark.State) -> None:
        while state:
            try:
                wait_until_idle()
            except TimeoutError as error:  # a Python exception would not survive the way through google-benchmark
                state.skip_with_error(str(error))
                return
            contender.time(max(1, number // 4), 1)
            state.set_iteration_time(contender.time(number, 1)[0])

    return run


def wait_until_idle(limit_secs: float = 2.0) -> None:
    """Returns once every other thread of this process has been asleep for a while.

    Thread pools spin for some milliseconds after their last work: libgomp about ten, by default. The states of the
    threads tell. The process's CPU time does not: a running thread's is added up only every few milliseconds.

    Raises:
        TimeoutError: they never stop, as under ``OMP_WAIT_POLICY=active``.
    """
    deadline = time.monotonic() + limit_secs
    while time.monotonic() < deadline:
        time.sleep(0.001)
        if not _other_threads_run():
            return
    raise TimeoutError(f"threads of this process kept spinning for {limit_secs} s; unset OMP_WAIT_POLICY")


def _other_threads_run() -> bool:
    """Whether any other thread of this process is running or wants to (state R in /proc, see proc(5))."""
    own = str(threading.get_native_id())
    for task in Path("/proc/self/task").iterdir():
        state = (task / "stat").read_text().rpartition(")")[2].split()[0]
        if task.name != own and state == "R":
            return True
    return False


def others_cpu_secs() -> float:
    """CPU seconds that all other processes, and other virtual machines on these cores, have used so far."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq + times.steal - time.process_time()
