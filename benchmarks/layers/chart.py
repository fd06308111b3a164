"""The picture of a group of layers: speed relative to the roofline, and the ratio to the baseline, shape by shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.chart import BLUE, COLORS, SMALL, VERMILION, add_grid, add_label, add_legend, new_figure, save
from benchmarks.heading import plural
from benchmarks.layers.comparison import PEER, Comparison
from benchmarks.layers.shapes import describe
from benchmarks.summary import by_threads, geometric_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES: Mapping[str, Mapping[str, Any]] = {
    "tuned": {"marker": "o", "label": "ours, tuned", "zorder": 4},
    "default": {"marker": "o", "label": "ours, default schedule", "zorder": 3},
    "oneDNN": {"marker": "D", "label": "oneDNN", "zorder": 3},
    "ONNX Runtime": {"marker": "D", "label": "ONNX Runtime", "zorder": 3},
    "torch": {"marker": "s", "label": "oneDNN inside torch", "zorder": 2},
}
FASTER, SLOWER = BLUE, VERMILION
RATIO_TICKS = (0.1, 0.25, 0.5, 0.7, 0.85, 1, 1.2, 1.5, 2, 3, 4, 6, 8)
TICK_WIDTH = 0.12  # of the range of ratios: the least distance of two ticks whose labels do not touch


def draw(comparisons: Sequence[Comparison], heading: Sequence[str], path: Path) -> None:
    """Draws two panels per number of threads, with one line per shape, into a PNG file."""
    thread_counts = sorted({comparison.threads for comparison in comparisons})
    shapes = list(dict.fromkeys((c.shape, describe(c.workload)) for c in comparisons))
    figure = new_figure(3 + 5.2 * len(thread_counts), 1.8 + 0.24 * len(shapes))
    axes = figure.subplots(
        1, 2 * len(thread_counts), sharey=True, squeeze=False, width_ratios=[1.25, 1] * len(thread_counts)
    )[0]
    lines = {shape: line for line, (shape, _) in enumerate(shapes)}
    for column, (_, of_threads) in enumerate(by_threads(comparisons)):
        _draw_speed(axes[2 * column], of_threads, lines)
        _draw_ratio(axes[2 * column + 1], of_threads, lines)
    axes[0].set_yticks(range(len(shapes)), [f"{shape}  {sizes}" for shape, sizes in shapes], fontsize=8)
    axes[0].set_ylim(len(shapes) - 0.4, -0.6)
    add_legend(figure, axes[::2])
    save(figure, heading, path)


def _draw_speed(axis: Axes, comparisons: Sequence[Comparison], lines: dict[str, int]) -> None:
    """Draws percents of the roofline, because speeds differ by a factor of ten; the speed is written next to them."""
    axis.axvline(100, color="black", linewidth=1)
    for name, style in STYLES.items():
        present = [c for c in comparisons if name in c.gflops]
        if present:
            shares = [100 * c.gflops[name] / c.limit_gflops for c in present]
            axis.scatter(shares, [lines[c.shape] for c in present], s=24, color=COLORS[name], **style)
    for comparison in comparisons:
        speed = f"{comparison.gflops[comparison.ours]:.1f} of {comparison.limit_gflops:.1f}"
        place = (1.02, lines[comparison.shape])
        axis.annotate(speed, place, xycoords=("axes fraction", "data"), va="center", size=SMALL)
    axis.set_xlim(left=0)
    axis.set_xlabel(f"% of the roofline; our {comparisons[0].unit}", fontsize=9)
    axis.set_title(plural(comparisons[0].threads, "thread"), fontsize=10)
    add_grid(axis, both=True)


def _draw_ratio(axis: Axes, comparisons: Sequence[Comparison], lines: dict[str, int]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    present = [c for c in comparisons if PEER in c.ratios]
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xlabel(f"times as fast as {PEER}", fontsize=9)
    if not present:
        axis.set_title("not measured", fontsize=10)
        return
    for comparison in present:
        ratio, height = comparison.ratios[PEER], lines[comparison.shape]
        color = FASTER if ratio.value >= 1 else SLOWER
        axis.barh(height, ratio.value - 1, left=1, height=0.72, color=color, alpha=0.75, zorder=2)
        axis.plot([ratio.low, ratio.high], [height, height], color="black", linewidth=1.2, zorder=3)
        add_label(axis, f"{ratio.value:.2f}", max(ratio.high, 1), height)
    axis.set_xscale("log")
    low = min(0.9, *(c.ratios[PEER].low for c in present))
    high = max(1.1, *(c.ratios[PEER].high for c in present))
    axis.set_xlim(low / (high / low) ** 0.05, high * (high / low) ** 0.2)  # room for the labels
    axis.xaxis.set_major_locator(FixedLocator(ratio_ticks(low, high)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    mean = geometric_mean(c.ratios[PEER].value for c in present)
    axis.set_title(f"geometric mean {mean:.3f}", fontsize=10)
    add_grid(axis, both=True)


def ratio_ticks(low: float, high: float) -> list[float]:
    """Returns the ticks from ``low`` to ``high`` on a logarithmic axis: 1, and those whose labels have room."""
    apart = (high / low) ** TICK_WIDTH
    kept = [1.0]
    for tick in sorted(RATIO_TICKS, key=lambda tick: abs(math.log(tick))):  # from 1 outwards
        if low <= tick <= high and all(max(tick / other, other / tick) >= apart for other in kept):
            kept.append(tick)
    return sorted(kept)
