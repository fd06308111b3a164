"""Programs for one and for several threads, next to a process that keeps one of their cores busy.

Both programs are in one process that may use as many cores as threads, and take turns. The system may move their
threads to other cores; the neighbor is pinned.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import compiler
import kernels
from benchmarks.scaling.neighbor import neighbor
from benchmarks.scaling.programs import Source
from compiler.measure.idle import OthersWatch
from compiler.measure.sampling import measure

ROUNDS = 20


@dataclass(frozen=True)
class Disturbance:
    """What the neighbor does, in milliseconds, and the target for the ratio of the times.

    Attributes:
        most: the largest time with all threads, relative to that with one; None: reported only.
    """

    name: str
    busy_ms: float
    idle_ms: float
    most: float | None


QUIET = Disturbance("none", 0, 0, None)
DISTURBANCES = (
    QUIET,
    Disturbance("always busy", 1000, 0, 1.1),
    Disturbance("100 ms busy, 100 ms idle", 100, 100, 0.8),
    Disturbance("10 ms busy, 10 ms idle", 10, 10, None),
)


def measured(source: Source, threads: int, cores: Sequence[int], duration: float) -> dict[str, Any]:
    """Times the programs under each disturbance of the first core; plain JSON.

    Args:
        source: the model.
        threads: the number of threads of the second program.
        cores: those of this process.
        duration: seconds of timed runs per program and disturbance.

    Raises:
        ValueError: the model is not supported.
        RuntimeError: a neighbor did not start.
    """
    programs = {count: compiler.build(source.model, source.input_shapes, threads=count) for count in (1, threads)}
    runs = {str(count): partial(program.run, source.inputs) for count, program in programs.items()}
    found = []
    for each in DISTURBANCES:
        busy = nullcontext() if each is QUIET else neighbor(cores[0], each.busy_ms, each.idle_ms)
        with busy:
            others = OthersWatch()
            samples = measure(runs, duration, ROUNDS)
            found.append(
                {
                    "disturbance": each.name,
                    "cores_busy_with_others": others.busy_cores(),
                    "most": each.most,
                    "mean_secs": {count: of_one.latencies.average for count, of_one in samples.items()},
                    "median_secs": {count: of_one.latencies.median for count, of_one in samples.items()},
                    "p99_secs": {count: of_one.latencies.p99 for count, of_one in samples.items()},
                }
            )
    return {
        "name": source.name,
        "threads": threads,
        "cpu": kernels.cpu_name(),
        "isa": programs[1].target.isa,
        "runs": found,
    }
