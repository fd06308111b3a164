"""Synthetic search results for the tests of tables, reports and progress."""

from __future__ import annotations

import math

from autotune.commands.result import SearchResult
from compiler.measure.roofline import Roofline, Traffic
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

TARGET = Target("A <fast> & cheap CPU", "avx512", 512, 32, (49152, 2 << 20, 32 << 20), 2, 200.0, 20.0)


def roofline(workload: Workload) -> Roofline:
    return Roofline(2, workload.flops, 200.0, (Traffic(workload.bytes, 50.0),))


def result(workload: Workload, backend: str, history: tuple[float, ...]) -> SearchResult:
    return SearchResult(
        workload=workload,
        roofline=roofline(workload),
        backend=backend,
        strategy="rl",
        trials=len(history),
        failures=sum(map(math.isinf, history)),
        search_secs=1.5,
        median_secs=history[-1],
        schedule=Schedule(backend, {"tile": (8, 48), "order": "<m&n>", "pack": True}),
        history=history,
    )


SQUARE = Workload.dense(500, 500, 500)  # 250 MFLOP, 3 MB: 1.25 ms at the peak
CLASSIFIER = Workload.dense(1, 1000, 2000)  # 4 MFLOP, 8.012 MB: 0.16024 ms at the bandwidth
ADDITION = Workload("add", (100, 1000))  # moves 1.2 MB: 24 µs at the bandwidth
RESULTS = (
    result(SQUARE, "kernel", (math.inf, 2e-3, 1.25e-3)),
    result(SQUARE, "tvm", (5e-3, 2.5e-3)),
    result(CLASSIFIER, "kernel", (0.32048e-3,)),
)
