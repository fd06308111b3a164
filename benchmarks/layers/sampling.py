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
from collections.abc import Callable, Mapping
from pathlib import Path

import google_benchmark
from google_benchmark import _benchmark as registry  # the only way to register without a decorator

from benchmarks.layers.layer import Contender
from compiler.measure.idle import wait_until_idle

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
