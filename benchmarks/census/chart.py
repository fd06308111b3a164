"""The picture of the census: how many times as fast as the fastest other runtime each model is, sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.census.comparison import FLOAT, Times, fastest_first
from benchmarks.chart import BLUE, GRAY, VERMILION, add_grid, add_label, name_lines, new_figure, save
from benchmarks.heading import plural

FASTER, SLOWER, NO_PEER = BLUE, VERMILION, GRAY
TICKS = (0.1, 0.25, 0.5, 1, 2, 4, 10)


def draw(groups: Mapping[int, Mapping[str, Mapping[str, Times]]], heading: Sequence[str], path: Path) -> None:
    """Draws a panel per number of threads, with a bar per model, into a PNG file. The scale is logarithmic."""
    panels = {threads: _sorted(by_group) for threads, by_group in groups.items()}
    longest = max(map(len, panels.values()))
    figure = new_figure(1.0 + 5.2 * len(panels), 1.3 + 0.17 * longest)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (threads, models) in zip(axes, panels.items(), strict=True):
        for line, (name, times) in enumerate(models.items()):
            ratio = times.ratio
            if ratio is None:
                add_label(axis, "no other runtime runs it", 1, line, color="#767676")
                continue
            color = FASTER if ratio.value >= 1 else SLOWER
            axis.barh(
                line, ratio.value - 1, left=1, height=0.8, color=color, zorder=2, alpha=0.5 if name[-1] == "*" else 1
            )
            axis.plot([ratio.low, ratio.high], [line, line], color="black", linewidth=1, zorder=3)
            add_label(axis, f"{ratio.value:.2f}", max(ratio.value, ratio.high, 1), line, size=6)
        axis.set_xscale("log")
        axis.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
        axis.minorticks_off()
        axis.axvline(1, color="black", linewidth=1, zorder=4)
        name_lines(axis, list(models), fontsize=6.5)
        axis.set_title(plural(threads, "thread"), fontsize=10)
        axis.set_xlabel("times as fast as the fastest other runtime (*: int8 or mostly segments)", fontsize=8)
        add_grid(axis)
    save(figure, heading, path)


def _sorted(by_group: Mapping[str, Mapping[str, Times]]) -> dict[str, Times]:
    """Returns the models of all groups, the fastest first; those outside the first group are marked."""
    marked = {
        name if group == FLOAT else f"{name} *": times
        for group, models in by_group.items()
        for name, times in models.items()
    }
    return fastest_first(marked)
