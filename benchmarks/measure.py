"""One shape on one thread count, every contender in turn.

``python -m benchmarks.measure SHAPE --threads N --json FILE``

It is a process of its own, since cores must be chosen before any thread pool starts, since google-benchmark runs only
once in a process, and since a peer that crashes must not take the other shapes with it.

How it is measured: all contenders live in this process and share its cores, inputs and clock. google-benchmark runs
their repetitions in random order, so that a change of clock speed or a noisy neighbour meets all alike. One repetition
is one call of a native loop over enough runs to last ``SLICE_SECS``, and its time is what that loop measured: a call
from Python into a kernel costs about as much as the smallest layers take, and must not be part of their time. Before
each repetition the threads of the contender before it are left to fall asleep, for a pool that still spins would take
the cores from the next; then some untimed runs wake the contender's own threads and fill its caches.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_benchmark
import numpy as np
import psutil
from google_benchmark import _benchmark as registry  # the only way to register without a decorator

import kernels
from benchmarks.peers import PEERS
from benchmarks.shapes import SHAPES, Shape
from compiler.reference import make_inputs, reference, tolerance
from compiler.schedule import Schedule
from compiler.spaces import space
from compiler.target import Target
from compiler.workload import Workload

SAMPLES = 75
SLICE_SECS = 0.004  # many short samples: a busy neighbour comes and goes within tens of milliseconds
NANOSECOND = 1e-9


@dataclass(frozen=True)
class Contender:
    """Something that computes the layer: what runs it, how it times itself, and which code it is."""

    run: Callable[[], np.ndarray]
    time: Callable[[int, int], list[float]]
    description: str


def own_contender(
    workload: Workload, inputs: Mapping[str, np.ndarray], target: Target, schedule: Schedule
) -> Contender:
    """Our kernels with a schedule."""
    program = space("kernel", workload, target).build(schedule)
    program.load(inputs)
    return Contender(program.run, program.time, str(schedule))


def peer_contender(name: str, workload: Workload, inputs: Mapping[str, np.ndarray], threads: int) -> Contender:
    """A peer by its name in ``PEERS``."""
    layer = PEERS[name].Dense(workload, inputs, threads)
    return Contender(layer.run, layer.time, layer.implementation)


def check_answer(contender: Contender, expected: np.ndarray, allowed: np.ndarray) -> None:
    """Raises ArithmeticError where an answer is further from ``expected`` than the error that is ``allowed``."""
    error = np.abs(contender.run() - expected)
    if not (error <= allowed).all():
        excess = float((error / allowed).max())
        raise ArithmeticError(f"wrong answer, {excess:.3g} times the tolerance: {contender.description}")


def measure(shape: Shape, threads: int, tuned: Schedule | None, samples: int, slice_secs: float) -> dict[str, Any]:
    """Verifies and times every contender; the result is plain JSON with seconds a run as raw samples."""
    workload, inputs = shape.workload, make_inputs(shape.workload)
    target = Target.from_host(num_cores=threads)
    default = space("kernel", workload, target).default()
    contenders = {"default": own_contender(workload, inputs, target, default)}
    if tuned is not None:
        contenders["tuned"] = own_contender(workload, inputs, target, tuned)
    versions: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for name, peer in PEERS.items():
        reason = peer.missing()
        if reason is None:
            contenders[name] = peer_contender(name, workload, inputs, threads)
            versions[name] = peer.version()
        else:
            skipped[name] = reason
    expected, allowed = reference(workload, inputs), tolerance(workload, inputs)
    for contender in contenders.values():
        check_answer(contender, expected, allowed)
    limits = [_limits(target, workload)]
    start, others_before = time.monotonic(), _others_cpu_secs()
    secs = _interleaved(contenders, samples, slice_secs)
    busy_cores = (_others_cpu_secs() - others_before) / (time.monotonic() - start)
    limits.append(_limits(target, workload))
    peak_gflops, bandwidth_gbs = map(max, zip(*limits, strict=True))  # noise only ever lowers a limit
    return {
        "shape": shape.name,
        "workload": workload.to_json(),
        "threads": threads,
        "cores": sorted(os.sched_getaffinity(0)),
        "cpu": kernels.cpu_name(),
        "isa": target.isa,
        "peak_gflops": peak_gflops,
        "bandwidth_gbs": bandwidth_gbs,
        "cores_busy_with_others": max(0.0, busy_cores),
        "versions": versions,
        "skipped": skipped,
        "contenders": {
            name: {"description": contender.description, "secs": secs[name]} for name, contender in contenders.items()
        },
    }


def _limits(target: Target, workload: Workload) -> tuple[float, float]:
    """FMA peak in GFLOP/s, and GB/s read from a working set as large as the workload's."""
    _wait_until_idle()
    threads = target.num_cores
    return kernels.peak_gflops(target.isa, threads), kernels.memory_bandwidth(threads, workload.bytes)


def _interleaved(contenders: Mapping[str, Contender], samples: int, slice_secs: float) -> dict[str, list[float]]:
    """``samples`` times of each contender in seconds a run, taken by google-benchmark in random order."""
    for name, contender in contenders.items():
        _wait_until_idle()
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
                _wait_until_idle()
            except TimeoutError as error:  # a Python exception would not survive the way through google-benchmark
                state.skip_with_error(str(error))
                return
            contender.time(max(1, number // 4), 1)
            state.set_iteration_time(contender.time(number, 1)[0])

    return run


def _wait_until_idle(limit_secs: float = 2.0) -> None:
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


def _others_cpu_secs() -> float:
    """CPU seconds that all other processes, and other virtual machines on these cores, have used so far."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq + times.steal - time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure", description="Measures one shape.")
    parser.add_argument("shape", choices=[shape.name for shape in SHAPES])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--schedule", type=json.loads, help="tuned schedule as JSON")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--slice-secs", type=float, default=SLICE_SECS)
    parser.add_argument("--json", type=Path, required=True, help="file for the result")
    arguments = parser.parse_args()
    usable = sorted(os.sched_getaffinity(0))
    if not 1 <= arguments.threads <= len(usable):
        parser.error(f"--threads must be between 1 and {len(usable)} (the cores this process may use)")
    os.sched_setaffinity(0, usable[: arguments.threads])
    shape = next(shape for shape in SHAPES if shape.name == arguments.shape)
    tuned = Schedule.from_json(arguments.schedule) if arguments.schedule else None
    result = measure(shape, arguments.threads, tuned, arguments.samples, arguments.slice_secs)
    arguments.json.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
