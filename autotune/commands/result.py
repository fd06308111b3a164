"""The result of a search, next to the limits of the CPU: a row of the table, of the JSON file and of the report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.commands.shapes import layer_name, shape_text
from compiler.measure.roofline import Roofline
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload


@dataclass(frozen=True)
class SearchResult:
    """The search of one workload on one backend.

    Attributes:
        median_secs: of the schedule that the search settled on.
        history: the best seconds after each trial; ``math.inf`` as long as all have failed.
    """

    workload: Workload
    roofline: Roofline
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
        """The speed in GFLOP/s; 0 if the workload only moves data."""
        return self.workload.flops / self.median_secs / 1e9

    @property
    def speed(self) -> float:
        """The speed in the :func:`unit` of the workload."""
        return speed(self.workload, self.median_secs)

    @property
    def fraction_of_peak(self) -> float:
        return self.gflops / self.roofline.peak_gflops

    @property
    def fraction_of_roofline(self) -> float:
        return self.roofline.secs / self.median_secs

    def to_json(self) -> dict[str, Any]:
        return {
            "op": self.workload.op,
            **self.workload.sizes,
            "dtype": self.workload.dtype,
            "threads": self.roofline.threads,
            "backend": self.backend,
            "strategy": self.strategy,
            "trials": self.trials,
            "failures": self.failures,
            "search_secs": self.search_secs,
            "median_secs": self.median_secs,
            "gflops": self.gflops,
            "peak_gflops": self.roofline.peak_gflops,
            "fraction_of_peak": self.fraction_of_peak,
            "fraction_of_roofline": self.fraction_of_roofline,
            "schedule": self.schedule.to_json(),
            "history": [secs if math.isfinite(secs) else None for secs in self.history],
        }


@dataclass(frozen=True)
class Row:
    """One line of the table, as text. The order of the fields is that of the columns."""

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


def unit(workload: Workload) -> str:
    """Returns the unit of a workload's speed: GB/s if it only moves data."""
    return "GFLOP/s" if workload.flops else "GB/s"


def speed(workload: Workload, secs: float) -> float:
    """Returns the speed of a run of ``secs`` seconds in the :func:`unit` of the workload."""
    return (workload.flops or workload.bytes) / secs / 1e9


def speed_text(workload: Workload, secs: float) -> str:
    """Returns the speed of a run of ``secs`` seconds with its unit."""
    return f"{speed(workload, secs):.1f} {unit(workload)}"


def speed_cell(workload: Workload, secs: float) -> str:
    """Returns the speed for a column in GFLOP/s, with its unit only if that is another one."""
    return f"{speed(workload, secs):.1f}" if workload.flops else speed_text(workload, secs)


def workload_text(workload: Workload) -> str:
    """Returns a workload as tables show it: the operator, its shape and its epilogue."""
    return " ".join([workload.op, shape_text(workload), *workload.epilogue])


def conditions(target: Target) -> str:
    """Returns one line about the machine, from a target with measured figures."""
    return (
        f"{target.name}, {target.isa}, threads: {target.num_cores}; "
        f"FMA peak {target.peak_gflops:.1f} GFLOP/s, memory {target.bandwidth_gbs:.1f} GB/s"
    )


HEADINGS = Row(
    "shape", "layer", "backend", "GFLOP/s", "of peak", "of roofline", "trials", "failures", "seconds", "winner"
)
NUMERIC = frozenset({"gflops", "of_peak", "of_roofline", "trials", "failures", "seconds"})


def rows(results: Sequence[SearchResult]) -> list[Row]:
    """Returns the lines of the table, in the order of ``results``. The fastest backend of each workload is marked."""
    return [
        Row(
            shape=shape_text(r.workload),
            layer=layer_name(r.workload),
            backend=r.backend,
            gflops=speed_cell(r.workload, r.median_secs),
            of_peak=f"{r.fraction_of_peak:.1%}" if r.workload.flops else "",
            of_roofline=f"{r.fraction_of_roofline:.1%}",
            trials=str(r.trials),
            failures=str(r.failures),
            seconds=f"{r.search_secs:.1f}",
            winner=_winner(r, [other for other in results if other.workload == r.workload and other is not r]),
        )
        for r in results
    ]


def table(lines: Iterable[Row]) -> str:
    """Returns the rows under their headings as aligned plain text."""
    names = [field.name for field in dataclasses.fields(Row)]
    cells = [[getattr(row, name) for name in names] for row in (HEADINGS, *lines)]
    return aligned(cells, [name in NUMERIC for name in names])


def aligned(lines: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    """Returns lines as aligned columns, the first line as headings. Numeric columns are aligned to the right."""
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
    second = min(other.median_secs for other in others)
    return f"{result.backend}, by {second / result.median_secs - 1:.0%}" if result.median_secs < second else ""
