"""The table and the picture of an ablation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.heading import Results, noise, plural
from benchmarks.whole_models.comparison import milliseconds, samples_of
from compiler.measure.comparison import Ratio, speedup
from graph_passes.report import amount, columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Optional facts of a row, with the heading of the column and the format of its cells.
FACTS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "nodes": ("nodes", str),
    "macs": ("multiply-adds", amount),
    "kernel_calls": ("kernel calls", str),
}
COLOR = "#0072B2"


@dataclass(frozen=True)
class Speed:
    """The median seconds of a row, and its speedup over the previous and the first row; None for the first row."""

    row: str
    secs: float
    over_before: Ratio | None
    over_first: Ratio | None

    @property
    def verdict(self) -> str:
        return f"×{self.over_before}" if self.over_before else ""


def speeds(result: Mapping[str, Any]) -> list[Speed]:
    """Returns the speed of each row. Intervals hold 95 % of bootstrap resamples."""
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
    """Yields the machine and the runtime, a table with one line per row of every result, and omitted rows."""
    yield title(results)
    for threads in sorted({result["threads"] for result in results}):
        of_threads = [result for result in results if result["threads"] == threads]
        yield from (f"{plural(threads, 'thread')}: {line}" for line in noise(of_threads, "model"))
    yield from _table(results).splitlines()
    for result in results:
        if result["left_out"]:
            rows, place = " and ".join(result["left_out"]), f"{result['model']}, {plural(result['threads'], 'thread')}"
            yield f"{place}: no tuning records for {rows}; create them with: {result['how_to_tune']}"


def title(results: Results) -> str:
    return f"{results[0]['cpu']}, {results[0]['isa']}, {results[0]['with']}, batch 1"


def _table(results: Results) -> str:
    shown = [fact for fact in FACTS if any(fact in row for result in results for row in result["rows"].values())]
    table = [["model", "threads", "variant", *(FACTS[fact][0] for fact in shown), "ms"]]
    table[0] += ["times as fast as the row before", "as the first"]
    for result in results:
        for place, speed in enumerate(speeds(result)):
            model, threads = ("", "") if place else (result["model"], str(result["threads"]))
            facts = [FACTS[fact][1](result["rows"][speed.row][fact]) for fact in shown]
            ratios = [str(ratio or "") for ratio in (speed.over_before, speed.over_first)]
            table.append([model, threads, speed.row, *facts, milliseconds(speed.secs), *ratios])
    return columns(table, left=(0, 2))


def draw(results: Results, path: Path) -> None:
    """Draws a PNG with one panel per result and one bar per row, whose length is the latency."""
    from matplotlib.figure import Figure

    models, threads = (list(dict.fromkeys(result[key] for result in results)) for key in ("model", "threads"))
    rows = list(dict.fromkeys(row for result in results for row in result["rows"]))
    size = 2.2 + 4.4 * len(threads), 0.6 + len(models) * (0.9 + 0.36 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(models), len(threads), sharey=True, squeeze=False)
    for result in results:
        axis = axes[models.index(result["model"])][threads.index(result["threads"])]
        _draw_one(axis, rows, speeds(result))
        axis.set_title(f"{result['model']}, {plural(result['threads'], 'thread')}", fontsize=10)
    axes[0, 0].set_yticks(range(len(rows)), rows)
    axes[0, 0].set_ylim(len(rows) - 0.45, -0.55)
    for axis in axes[-1]:
        axis.set_xlabel("median latency in ms; × times as fast as the row above [95 %]", fontsize=9)
    figure.suptitle(title(results), fontsize=9)
    figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.15)


def _draw_one(axis: Axes, rows: Sequence[str], measured: Sequence[Speed]) -> None:
    longest = max(speed.secs for speed in measured) * 1e3
    for speed in measured:
        place, ms = rows.index(speed.row), speed.secs * 1e3
        axis.barh(place, ms, height=0.7, color=COLOR, zorder=2)
        text = f"{milliseconds(speed.secs)} ms  {speed.verdict}"
        axis.annotate(text, (ms, place), xytext=(3, 0), textcoords="offset points", va="center", size=7.5)
    axis.set_xlim(0, longest * 1.9)  # room for the text
    axis.grid(axis="x", color="#E4E4E4", linewidth=0.6)
    axis.set_axisbelow(True)
