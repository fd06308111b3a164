"""An ablation as a table and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.chart import BLUE, add_grid, add_label, name_lines, new_figure, save
from benchmarks.heading import Results, noise, plural
from benchmarks.whole_models.comparison import milliseconds, samples_of
from compiler.measure.comparison import Ratio, speedup
from graph_passes.report import amount, columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More columns that a row may have: heading and text.
FACTS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "nodes": ("nodes", str),
    "macs": ("multiply-adds", amount),
    "kernel_calls": ("kernel calls", str),
}


@dataclass(frozen=True)
class Speed:
    """The median seconds of a row, and its speedups over other rows; None for the first row."""

    row: str
    secs: float
    over_before: Ratio | None
    over_first: Ratio | None

    @property
    def verdict(self) -> str:
        return f"×{self.over_before}" if self.over_before else ""


def speeds(result: Mapping[str, Any]) -> list[Speed]:
    """Returns the speeds of a result's rows."""
    samples = {name: samples_of(row["secs"]) for name, row in result["rows"].items()}
    names = list(samples)
    return [
        Speed(
            name,
            samples[name].latencies.median,
            speedup(samples[name], samples[names[place - 1]]) if place else None,
            speedup(samples[name], samples[names[0]]) if place else None,
        )
        for place, name in enumerate(names)
    ]


def lines(results: Results) -> Iterator[str]:
    """Yields the runtime and machine, a table with one line per row of every result, and the rows that are left out."""
    yield title(results)
    for threads in sorted({result["threads"] for result in results}):
        of_threads = [result for result in results if result["threads"] == threads]
        yield from (f"{plural(threads, 'thread')}: {line}" for line in noise(of_threads, "model"))
    yield from _table(results).splitlines()
    for result in results:
        if result["left_out"]:
            rows, place = " and ".join(result["left_out"]), f"{result['model']}, {plural(result['threads'], 'thread')}"
            yield f"left out of {place}, no records: {rows}; to create them: {result['how_to_tune']}"


def title(results: Results) -> str:
    """Returns the machine and the runtime in one line."""
    return f"{results[0]['cpu']}, {results[0]['isa']}, {results[0]['with']}, batch 1"


def _table(results: Results) -> str:
    extra = [fact for fact in FACTS if any(fact in row for result in results for row in result["rows"].values())]
    table = [["model", "threads", "variant", *(FACTS[fact][0] for fact in extra), "ms"]]
    table[0] += ["times as fast as the row before", "as the first"]
    for result in results:
        for place, speed in enumerate(speeds(result)):
            model, threads = ("", "") if place else (result["model"], str(result["threads"]))
            facts = [FACTS[fact][1](result["rows"][speed.row][fact]) for fact in extra]
            ratios = [str(ratio or "") for ratio in (speed.over_before, speed.over_first)]
            table.append([model, threads, speed.row, *facts, milliseconds(speed.secs), *ratios])
    return columns(table, left=(0, 2))


def draw(results: Results, path: Path) -> None:
    """Draws a panel per result, with the latency of each row as a bar, into a PNG file."""
    models, threads = (list(dict.fromkeys(result[key] for result in results)) for key in ("model", "threads"))
    rows = list(dict.fromkeys(row for result in results for row in result["rows"]))
    figure = new_figure(2.2 + 4.4 * len(threads), 0.6 + len(models) * (0.9 + 0.36 * len(rows)))
    axes = figure.subplots(len(models), len(threads), sharey=True, squeeze=False)
    for result in results:
        axis = axes[models.index(result["model"])][threads.index(result["threads"])]
        _draw_one(axis, rows, speeds(result))
        axis.set_title(f"{result['model']}, {plural(result['threads'], 'thread')}", fontsize=10)
    name_lines(axes[0, 0], rows, fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("median latency in ms; × times as fast as the row above [95 %]", fontsize=9)
    save(figure, [title(results)], path)


def _draw_one(axis: Axes, rows: Sequence[str], measured: Sequence[Speed]) -> None:
    longest = max(speed.secs for speed in measured) * 1e3
    for speed in measured:
        place, ms = rows.index(speed.row), speed.secs * 1e3
        axis.barh(place, ms, height=0.7, color=BLUE, zorder=2)
        add_label(axis, f"{milliseconds(speed.secs)} ms  {speed.verdict}", ms, place, size=7.5)
    axis.set_xlim(0, longest * 1.9)  # room for the text
    add_grid(axis)
