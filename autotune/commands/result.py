"""What a search came to, beside what the CPU can do: a row of the table, of the JSON file and of the report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import kernels
from autotune.commands.shapes import layer_name, shape_text
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload


@dataclass(frozen=True)
class Limits:
    """What the CPU can do, measured next to the search that it is compared with.

    ``peak_gflops`` is the FMA peak of all ``threads`` together, ``bandwidth_gbs`` what they read of data that is as
    large as the workload's and as often used: in the timing loop a small workload stays in a cache.
    """

    threads: int
    peak_gflops: float
    bandwidth_gbs: float

    @classmethod
    def measured(cls, workload: Workload, target: Target) -> Limits:
        """Measured now: a CPU's clock today need not be its clock tomorrow."""
        return cls(
            threads=target.num_cores,
            peak_gflops=kernels.peak_gflops(target.isa, target.num_cores, workload.dtype),
            bandwidth_gbs=kernels.memory_bandwidth(target.num_cores, workload.bytes),
        )

    def higher(self, other: Limits) -> Limits:
        """Of two measurements for the same threads and workload, the higher of each limit."""
        return Limits(
            self.threads,
            max(self.peak_gflops, other.peak_gflops),
            max(self.bandwidth_gbs, other.bandwidth_gbs),
        )

    def roofline_gflops(self, workload: Workload) -> float:
        """The most that any program for ``workload`` can reach."""
        return workload.flops / workload.roofline_secs(self.peak_gflops, self.bandwidth_gbs) / 1e9


@dataclass(frozen=True)
class SearchResult:
    """One workload searched on one backend.

    ``history`` holds the best seconds after each trial, inf as long as every one failed.
    """

    workload: Workload
    limits: Limits
    backend: str
    strategy: str
    trials: int
    failures: int
    search_secs: float
    median_secs: float
    schedule: Schedule
    history: tuple[float, ...]

    @property
    def gflops(self) -> float:
        return self.workload.flops / self.median_secs / 1e9

    @property
    def fraction_of_peak(self) -> float:
        return self.gflops / self.limits.peak_gflops

    @property
    def fraction_of_roofline(self) -> float:
        return self.gflops / self.limits.roofline_gflops(self.workload)

    def to_json(self) -> dict[str, Any]:
        return {
            "op": self.workload.op,
            **self.workload.sizes,
            "dtype": self.workload.dtype,
            "threads": self.limits.threads,
            "backend": self.backend,
            "strategy": self.strategy,
            "trials": self.trials,
            "failures": self.failures,
            "search_secs": self.search_secs,
            "median_secs": self.median_secs,
            "gflops": self.gflops,
            "peak_gflops": self.limits.peak_gflops,
            "fraction_of_peak": self.fraction_of_peak,
            "fraction_of_roofline": self.fraction_of_roofline,
            "schedule": self.schedule.to_json(),
            "history": [secs if math.isfinite(secs) else None for secs in self.history],
        }


@dataclass(frozen=True)
class Row:
    """One line of the table, as text; the field's order is the column's."""

    shape: str
    layer: str
    backend: str
    gflops: str
    of_peak: str
    of_roofline: str
    trials: str
    failures: str
    seconds: str
    winner: str


def conditions(target: Target) -> str:
    """The machine, in a line; ``target`` carries measured figures."""
    return (
        f"{target.name}, {target.isa}, threads: {target.num_cores}; "
        f"FMA peak {target.peak_gflops:.1f} GFLOP/s, memory {target.bandwidth_gbs:.1f} GB/s"
    )


HEADINGS = Row(
    "shape", "layer", "backend", "GFLOP/s", "of peak", "of roofline", "trials", "failures", "seconds", "winner"
)
NUMERIC = frozenset({"gflops", "of_peak", "of_roofline", "trials", "failures", "seconds"})


def rows(results: Sequence[SearchResult]) -> list[Row]:
    """The table's lines, in the order of ``results``; the fastest of each workload is marked as its winner."""
    return [
        Row(
            shape=shape_text(r.workload),
            layer=layer_name(r.workload),
            backend=r.backend,
            gflops=f"{r.gflops:.1f}",
            of_peak=f"{r.fraction_of_peak:.1%}",
            of_roofline=f"{r.fraction_of_roofline:.1%}",
            trials=str(r.trials),
            failures=str(r.failures),
            seconds=f"{r.search_secs:.1f}",
            winner=_winner(r, [other for other in results if other.workload == r.workload and other is not r]),
        )
        for r in results
    ]


def table(lines: Iterable[Row]) -> str:
    """The rows under their headings, in columns of equal width; plain text."""
    names = [field.name for field in dataclasses.fields(Row)]
    cells = [[getattr(row, name) for name in names] for row in (HEADINGS, *lines)]
    return aligned(cells, [name in NUMERIC for name in names])


def aligned(lines: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    """Lines in columns of equal width, the first of them as headings; columns of numbers end where others begin."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in (lines[0], ["-" * width for width in widths], *lines[1:])
    )


def _winner(result: SearchResult, others: Sequence[SearchResult]) -> str:
    if not others:
        return result.backend
    second = max(other.gflops for other in others)
    return f"{result.backend}, by {result.gflops / second - 1:.0%}" if result.gflops > second else ""
