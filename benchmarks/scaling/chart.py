"""The picture of speed-ups: a panel per model or layer, with a line per engine and one for the prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.chart import BLUE, COLORS, GRAY, add_grid, add_legend, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS: Mapping[str, str] = {
    "default": "ours",
    "predicted": "ours, predicted from simulated shares",
    "known": "ours, measured",
    "oneDNN": "oneDNN",
    "torch": "oneDNN inside torch",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "ncnn": "ncnn",
}
_COLORS: Mapping[str, str] = {**COLORS, "default": BLUE, "known": BLUE, "predicted": BLUE, "ncnn": GRAY}
COLUMNS = 3  # panels next to each other
Speedups = Mapping[str, Mapping[int, float]]  # by engine and number of threads


def draw(panels: Mapping[str, Speedups], heading: Sequence[str], path: Path) -> None:
    """Draws the speed-ups of each panel into a PNG file."""
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(1.0 + 3.6 * columns, 1.4 + 3.2 * lines)
    axes = figure.subplots(lines, columns, squeeze=False).flatten()
    for axis, (name, speedups) in zip(axes, panels.items(), strict=False):
        _draw_panel(axis, speedups)
        axis.set_title(name, fontsize=9)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    add_legend(figure, axes[: len(panels)])
    save(figure, heading, path)


def _draw_panel(axis: Axes, speedups: Speedups) -> None:
    counts = sorted({threads for of_engine in speedups.values() for threads in of_engine})
    axis.plot(counts, counts, color="black", linewidth=0.8, linestyle=":", zorder=1)
    for engine, label in LABELS.items():
        if engine in speedups:
            threads = sorted(speedups[engine])
            style: dict[str, Any] = {"linestyle": "--", "marker": "s"} if engine == "predicted" else {"marker": "o"}
            values = [speedups[engine][count] for count in threads]
            axis.plot(threads, values, color=_COLORS[engine], label=label, markersize=4, zorder=2, **style)
    for set_scale, set_ticks in ((axis.set_xscale, axis.set_xticks), (axis.set_yscale, axis.set_yticks)):
        set_scale("log", base=2)
        set_ticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    axis.set_xlabel("threads", fontsize=8)
    axis.set_ylabel("times as fast as one thread", fontsize=8)
    add_grid(axis, both=True)
