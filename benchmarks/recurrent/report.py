"""The table of a benchmark of recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.heading import Results, machine_line, noise, plural, versions
from benchmarks.whole_models.comparison import samples_of
from compiler.measure.comparison import speedup
from compiler.workloads.workload import Workload
from graph_passes.report import columns

_HEADINGS = ["layer", "threads", "weights", "µs", "ONNX Runtime", "times as fast"]


def lines(results: Results) -> Iterator[str]:
    """Yields the machine, a warning if it was not quiet, and a line for each result."""
    yield machine_line(results[0])
    yield from (f"{name}: {version}" for name, version in versions(results).items())
    for threads in sorted({result["threads"] for result in results}):
        yield from (
            f"{plural(threads, 'thread')}: {line}"
            for line in noise([result for result in results if result["threads"] == threads], "layer")
        )
    yield from columns([_HEADINGS, *map(_row, results)], left=(0, 2)).splitlines()


def _row(result: Mapping[str, Any]) -> list[str]:
    workload = Workload.from_json(result["workload"])
    samples = {name: samples_of(secs) for name, secs in result["secs"].items()}
    ours, other = samples["loopwright"], samples["onnxruntime"]
    return [
        f"{workload.op} {workload.operator.notation.describe(workload.sizes)}",
        str(result["threads"]),
        "caches" if result["copies"] == 1 else "memory",
        f"{ours.latencies.median * 1e6:.1f}",
        f"{other.latencies.median * 1e6:.1f}",
        str(speedup(ours, other)),
    ]
