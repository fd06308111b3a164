"""The picture of whole models: the speed of each implementation as a multiple of the fastest other runtime's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.chart import COLORS, add_grid, add_label, add_legend, name_lines, new_figure, save
from benchmarks.heading import plural
from benchmarks.summary import by_threads
from benchmarks.whole_models.comparison import ModelComparison, milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS: Mapping[str, str] = {
    "tuned": "ours, tuned",
    "default": "ours, default schedules",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "ncnn": "ncnn",
}
THICKNESS = 0.85  # of all bars of a model together; 1 would leave no gap between models


def draw(comparisons: Sequence[ModelComparison], heading: Sequence[str], path: Path) -> None:
    """Draws a panel per number of threads, with a group of bars per model, into a PNG file."""
    thread_counts = sorted({comparison.threads for comparison in comparisons})
    models = list(dict.fromkeys(comparison.model for comparison in comparisons))
    names = [name for name in LABELS if any(name in comparison.medians for comparison in comparisons)]
    figure = new_figure(1.6 + 4.6 * len(thread_counts), 1.5 + 0.2 * len(heading) + 0.2 * len(models) * (len(names) + 1))
    axes = figure.subplots(1, len(thread_counts), sharey=True, squeeze=False)[0]
    for axis, (threads, of_threads) in zip(axes, by_threads(comparisons), strict=True):
        _draw_threads(axis, of_threads, models, names)
        axis.set_title(plural(threads, "thread"), fontsize=10)
    name_lines(axes[0], models, fontsize=9)
    add_legend(figure, axes)
    save(figure, heading, path)


def _draw_threads(
    axis: Axes, comparisons: Sequence[ModelComparison], models: Sequence[str], names: Sequence[str]
) -> None:
    """Draws the bars with the latencies next to them, which differ by a factor of a thousand between models."""
    height = THICKNESS / len(names)
    longest = 1.0
    for place, name in enumerate(names):
        offset = (place - (len(names) - 1) / 2) * height
        present = [comparison for comparison in comparisons if name in comparison.medians]
        speeds = [_unit_secs(comparison) / comparison.medians[name] for comparison in present]
        lines = [models.index(comparison.model) + offset for comparison in present]
        axis.barh(lines, speeds, height=0.92 * height, zorder=2, color=COLORS[name], label=LABELS[name])
        for comparison, speed, line in zip(present, speeds, lines, strict=True):
            edge = speed
            if name == comparison.ours and (peer := comparison.fastest_peer):
                ratio = comparison.ratios[peer]
                axis.plot([ratio.low, ratio.high], [line, line], color="black", linewidth=1.2, zorder=3)
                edge = max(edge, ratio.high)
            longest = max(longest, edge)
            add_label(axis, f"{milliseconds(comparison.medians[name])} ms", edge, line)
        for comparison in comparisons:
            if name not in comparison.medians:
                text = "not tuned" if name == "tuned" else "left out"
                add_label(axis, text, 0, models.index(comparison.model) + offset, color="#767676")
    axis.axvline(1, color="black", linewidth=1, zorder=1)
    axis.set_xlim(0, longest * 1.18)  # room for the labels
    axis.set_xlabel("times as fast as the fastest other runtime; bar end: median latency", fontsize=9)
    add_grid(axis)


def _unit_secs(comparison: ModelComparison) -> float:
    """Returns the seconds that count as 1: those of the fastest other runtime, or ours without other runtimes."""
    return comparison.medians[comparison.fastest_peer or comparison.ours]
