"""What the pictures of all benchmarks have in common: colors, grid, legend, file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colors that color-blind readers can distinguish (Okabe and Ito).
BLUE, SKY, VERMILION, ORANGE, GRAY = "#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#999999"
COLORS: Mapping[str, str] = {
    "tuned": BLUE,
    "default": SKY,
    "oneDNN": VERMILION,
    "torch": GRAY,
    "ONNX Runtime": VERMILION,
    "onnxruntime": VERMILION,
    "openvino": ORANGE,
    "ncnn": GRAY,
}
SMALL = 7  # points


def new_figure(width: float, height: float) -> Figure:
    """Returns a figure of that size in inches. It belongs to no window and no global state of matplotlib."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def name_lines(axis: Axes, names: Sequence[str], fontsize: float) -> None:
    """Names the lines of a picture, the first one at the top."""
    axis.set_yticks(range(len(names)), names, fontsize=fontsize)
    axis.set_ylim(len(names) - 0.45, -0.55)


def add_grid(axis: Axes, both: bool = False) -> None:
    """Draws grid lines behind the data: vertical ones, or both kinds."""
    axis.grid(axis="both" if both else "x", color="#E4E4E4", linewidth=0.6)
    axis.set_axisbelow(True)


def add_label(axis: Axes, text: str, x: float, y: float, size: float = SMALL, color: str = "black") -> None:
    """Writes a text to the right of a point, on a white background, so that it is legible on a line."""
    background = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    place = {"xytext": (3, 0), "textcoords": "offset points", "va": "center"}
    axis.annotate(text, (x, y), **place, size=size, color=color, bbox=background)


def add_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """Adds one legend for all axes below them, with each label once."""
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)


def save(figure: Figure, heading: Iterable[str], path: Path) -> None:
    """Writes a figure with the lines of its heading into a PNG file."""
    figure.suptitle("\n".join(heading), fontsize=9)
    figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.15)
