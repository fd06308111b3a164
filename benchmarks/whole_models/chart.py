"""The picture of whole models: everyone's speed as a multiple of the fastest peer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.whole_models.comparison import ModelComparison, milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that stay apart for the colour-blind (Okabe and Ito).
STYLES: Mapping[str, Mapping[str, Any]] = {
    "tuned": {"color": "#0072B2", "label": "ours, tuned"},
    "default": {"color": "#56B4E9", "label": "ours, default schedules"},
    "onnxruntime": {"color": "#D55E00", "label": "ONNX Runtime"},
    "openvino": {"color": "#E69F00", "label": "OpenVINO"},
    "ncnn": {"color": "#999999", "label": "ncnn"},
}
THICKNESS = 0.85  # of a model's bars together; 1 would leave no gap between models


def draw(comparisons: Sequence[ModelComparison], heading: Sequence[str], path: Path) -> None:
    """Draws a panel for each number of threads and a group of bars for each model into a PNG."""
    from matplotlib.figure import Figure

    thread_counts = sorted({comparison.threads for comparison in comparisons})
    models = list(dict.fromkeys(comparison.model for comparison in comparisons))
    names = [name for name in STYLES if any(name in comparison.medians for comparison in comparisons)]
    figure = Figure(
        figsize=(1.6 + 4.6 * len(thread_counts), 1.5 + 0.2 * len(heading) + 0.2 * len(models) * (len(names) + 1)),
        layout="constrained",
    )
    axes = figure.subplots(1, len(thread_counts), sharey=True, squeeze=False)[0]
    for axis, threads in zip(axes, thread_counts, strict=True):
        _draw_threads(axis, [c for c in comparisons if c.threads == threads], models, names)
        axis.set_title(f"{threads} thread{'s' * (threads > 1)}", fontsize=10)
    axes[0].set_yticks(range(len(models)), models, fontsize=9)
    axes[0].set_ylim(len(models) - 0.45, -0.55)
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle("\n".join(heading), fontsize=9)
    figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.15)


def _draw_threads(
    axis: Axes, comparisons: Sequence[ModelComparison], models: Sequence[str], names: Sequence[str]
) -> None:
    """Latencies differ by a factor of a thousand between models, so they stand beside the bars."""
    height = THICKNESS / len(names)
    longest = 1.0
    for place, name in enumerate(names):
        offset = (place - (len(names) - 1) / 2) * height
        present = [comparison for comparison in comparisons if name in comparison.medians]
        speeds = [_reference(comparison) / comparison.medians[name] for comparison in present]
        lines = [models.index(comparison.model) + offset for comparison in present]
        axis.barh(lines, speeds, height=0.92 * height, zorder=2, **STYLES[name])
        for comparison, speed, line in zip(present, speeds, lines, strict=True):
            edge = speed
            if name == comparison.ours and (peer := comparison.fastest_peer):
                ratio = comparison.ratios[peer]
                axis.plot([ratio.low, ratio.high], [line, line], color="black", linewidth=1.2, zorder=3)
                edge = max(edge, ratio.high)
            longest = max(longest, edge)
            _note(axis, f"{milliseconds(comparison.medians[name])} ms", edge, line, "black")
        for comparison in comparisons:
            if name not in comparison.medians:
                text = "not tuned" if name == "tuned" else "left out"
                _note(axis, text, 0, models.index(comparison.model) + offset, "#767676")
    axis.axvline(1, color="black", linewidth=1, zorder=1)
    axis.set_xlim(0, longest * 1.18)  # room for the labels
    axis.set_xlabel("times as fast as the fastest peer; bar end: median latency", fontsize=9)
    axis.grid(axis="x", color="#E4E4E4", linewidth=0.6)
    axis.set_axisbelow(True)


def _note(axis: Axes, text: str, x: float, y: float, color: str) -> None:
    on = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # where it stands on a line
    place = {"xytext": (3, 0), "textcoords": "offset points", "va": "center"}
    axis.annotate(text, (x, y), **place, size=7, color=color, bbox=on)


def _reference(comparison: ModelComparison) -> float:
    """Seconds that count as 1: of the fastest peer; where there was none, ours."""
    return comparison.medians[comparison.fastest_peer or comparison.ours]
