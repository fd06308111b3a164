"""The rows of the tables, one by one as they are measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.heading import NOISY_CORES, Results, pinned_to
from benchmarks.layers import report as layers_report
from benchmarks.layers import table as layers_table
from benchmarks.layers.comparison import compare_last
from benchmarks.layers.groups import GROUPS
from benchmarks.layers.shapes import describe
from benchmarks.plan import Plan, about, installed_peers, installed_runtimes
from benchmarks.summary import OWN
from benchmarks.whole_models import report as models_report
from benchmarks.whole_models import table as models_table
from benchmarks.whole_models.comparison import compare

# Widths of columns before their values are known. A longer value only shifts the rest of its row.
LEAST_WIDTH, RATIO_WIDTH = 8, len("1.234 [1.234, 1.234]")
LIMIT_WIDTH = len("memory 1234.5")


@dataclass(frozen=True)
class Columns:
    """Headings and widths.

    Attributes:
        names: the implementations, of which ``peers`` are baselines.
    """

    names: tuple[str, ...]
    peers: tuple[str, ...]
    headings: tuple[str, ...]
    widths: tuple[int, ...]

    def line(self, cells: Sequence[str]) -> str:
        """Returns aligned cells, the first column to the left."""
        aligned = [cell.rjust(width) for cell, width in zip(cells[1:], self.widths[1:], strict=True)]
        return "  ".join([cells[0].ljust(self.widths[0]), *aligned]).rstrip()


class Rows:
    """Formats results. A heading comes before the first row of each group, batch and number of threads."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._own = OWN if plan.records is not None else OWN[:1]
        self._section: tuple[Any, ...] = ()

    def layer(self, results: Results, left: float) -> Iterator[str]:
        """Yields the row of the last result; ``left`` are the seconds that all others will take."""
        result = results[-1]
        columns = self._layer_columns(result)
        if self._begins("layers", result["group"], result["batch"], result["threads"]):
            group = GROUPS[result["group"]]
            yield from self._heading(f"{group.name}: {layers_report.title(group)}", group.note, result, columns, left)
        cells = layers_table.cells(compare_last(results), columns.names, columns.peers)
        yield columns.line(cells) + _noise(result)

    def model(self, results: Results, left: float) -> Iterator[str]:
        """Yields the row of the last result; ``left`` are the seconds that all others will take."""
        result = results[-1]
        columns = self._model_columns()
        if self._begins("models", result["threads"]):
            yield from self._heading(models_report.TITLE, "", result, columns, left)
        cells = models_table.cells(compare(result), result["stored"], columns.names, columns.peers)
        yield columns.line(cells) + _noise(result)

    def _layer_columns(self, result: Mapping[str, Any]) -> Columns:
        group = GROUPS[result["group"]]
        shapes = [run.shape for run in self._plan.layers if run.group is group]
        peers = installed_peers(group)
        names = (*self._own, *peers)
        return _columns(
            names,
            peers,
            layers_table.headings(names, peers),
            {
                "shape": max(len(shape.name) for shape in shapes),
                "sizes": max(len(describe(shape.workload)) for shape in shapes),
                "times": 0,
                "roofline": LIMIT_WIDTH,
            },
        )

    def _model_columns(self) -> Columns:
        peers = installed_runtimes()
        names = (*self._own, *peers)
        models = {"model": max(len(run.model) for run in self._plan.models)}
        return _columns(names, peers, models_table.headings(names, peers), models)

    def _begins(self, *section: Any) -> bool:
        begins, self._section = section != self._section, section
        return begins

    def _heading(
        self, title: str, note: str, result: Mapping[str, Any], columns: Columns, left: float
    ) -> Iterator[str]:
        yield ""
        yield f"{title}; {pinned_to(result)}" + (f"; {about(left)} left" if left else "")
        if note:
            yield note
        yield columns.line(columns.headings)


def _columns(names: Sequence[str], peers: Sequence[str], headings: Sequence[str], least: Mapping[str, int]) -> Columns:
    widths = [
        max(len(heading), RATIO_WIDTH if heading.startswith("ours/") else least.get(heading, LEAST_WIDTH))
        for heading in headings
    ]
    return Columns(tuple(names), tuple(peers), tuple(headings), tuple(widths))


def _noise(result: Mapping[str, Any]) -> str:
    busy = result["cores_busy_with_others"]
    return f"  NOT QUIET ({busy:.1f} cores)" if busy > NOISY_CORES else ""
