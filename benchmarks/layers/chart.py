"""The picture of a benchmark: speed against the roofline, and the ratio to the peer, shape by shape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.layers.comparison import PEER, Comparison, geometric_mean
from benchmarks.layers.shapes import describe

# Colours that stay apart for the colour-blind (Okabe and Ito).
STYLES = {
    "tuned": {"color": "#0072B2", "marker": "o", "label": "ours, tuned", "zorder": 4},
    "default": {"color": "#56B4E9", "marker": "o", "label": "ours, default schedule", "zorder": 3},
    "oneDNN": {"color": "#D55E00", "marker": "D", "label": "oneDNN", "zorder": 3},
    "torch": {"color": "#999999", "marker": "s", "label": "oneDNN inside torch", "zorder": 2},
}
FASTER, SLOWER = "#0072B2", "#D55E00"
RATIO_TICKS = (0.1, 0.25, 0.5, 0.7, 0.85, 1, 1.2, 1.5, 2, 3, 4, 6, 8)


def draw(comparisons: Sequence[Comparison], heading: Sequence[str], path: Path) -> None:
    """Draws two panels for each thread count, one line a shape, into a PNG; ``heading`` is its first lines."""
    thread_counts = sorted({comparison.threads for comparison in comparisons})
    shapes = list(dict.fromkeys((c.shape, describe(c.workload)) for c in comparisons))
    figure, axes = pyplot.subplots(
        1,
        2 * len(thread_counts),
        sharey=True,
        squeeze=False,
        figsize=(3 + 5.2 * len(thread_counts), 1.8 + 0.24 * len(shapes)),
        width_ratios=[1.25, 1] * len(thread_counts),
        layout="constrained",
    )
    lines = {shape: line for line, (shape, _) in enumerate(shapes)}
    for column, threads in enumerate(thread_counts):
        of_threads = [comparison for comparison in comparisons if comparison.threads == threads]
        _draw_speed(axes[0, 2 * column], of_threads, lines)
        _draw_ratio(axes[0, 2 * column + 1], of_threads, lines)
    labels = [f"{shape}  {sizes}" for shape, sizes in shapes]
    axes[0, 0].set_yticks(range(len(shapes)), labels, fontsize=8)
    axes[0, 0].set_ylim(len(shapes) - 0.4, -0.6)
    handles = {
        label: handle for axis in axes[0, ::2] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle("\n".join(heading), fontsize=9)
    figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.15)
    pyplot.close(figure)


def _draw_speed(axis: Axes, comparisons: Sequence[Comparison], lines: dict[str, int]) -> None:
    """Percent of the roofline, since speeds themselves differ by a factor of ten; the speed stands beside it."""
    axis.axvline(100, color="black", linewidth=1)
    for name, style in STYLES.items():
        present = [c for c in comparisons if name in c.gflops]
        if present:
            shares = [100 * c.gflops[name] / c.limit_gflops for c in present]
            axis.scatter(shares, [lines[c.shape] for c in present], s=24, **style)
    for comparison in comparisons:
        speed = f"{comparison.gflops[comparison.ours]:.1f} of {comparison.limit_gflops:.1f}"
        axis.annotate(speed, (1.02, lines[comparison.shape]), xycoords=("axes fraction", "data"), va="center", size=7)
    axis.set_xlim(left=0)
    axis.set_xlabel(f"% of the roofline; our {comparisons[0].unit}", fontsize=9)
    threads = comparisons[0].threads
    axis.set_title(f"{threads} thread{'s' * (threads > 1)}", fontsize=10)
    axis.grid(color="#E4E4E4", linewidth=0.6)
    axis.set_axisbelow(True)


def _draw_ratio(axis: Axes, comparisons: Sequence[Comparison], lines: dict[str, int]) -> None:
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
        label, edge = f"{ratio.value:.2f}", max(ratio.high, 1)
        axis.annotate(label, (edge, height), xytext=(3, 0), textcoords="offset points", va="center", size=7)
    axis.set_xscale("log")
    low = min(0.9, *(c.ratios[PEER].low for c in present))
    high = max(1.1, *(c.ratios[PEER].high for c in present))
    axis.set_xlim(low / (high / low) ** 0.05, high * (high / low) ** 0.2)  # room for the labels
    axis.xaxis.set_major_locator(FixedLocator([tick for tick in RATIO_TICKS if low <= tick <= high]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    mean = geometric_mean(c.ratios[PEER].value for c in present)
    axis.set_title(f"geometric mean {mean:.3f}", fontsize=10)
    axis.grid(color="#E4E4E4", linewidth=0.6)
    axis.set_axisbelow(True)
