"""The picture of a search: accuracy over the measured latency of whole models."""

from __future__ import annotations

from pathlib import Path

from optimizer.search import FLOAT32, INT8, MIXED, Found

MARKERS = {FLOAT32: "o", INT8: "s", MIXED: "D"}


def draw(found: Found, path: Path) -> None:
    """Writes a PNG.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for by in dict.fromkeys(each.by for each in found.candidates):
        for precision, marker in MARKERS.items():
            own = [each for each in found.candidates if (each.by, each.precision) == (by, precision)]
            if own:
                places = [each.latency * 1e3 for each in own], [100 * each.accuracy for each in own]
                axes.scatter(*places, marker=marker, label=f"{by}, {precision}")
    best = sorted((each.latency * 1e3, 100 * each.accuracy) for each in found.candidates if each.best)
    axes.plot(*zip(*best, strict=True), color="grey", linewidth=1, label="no other is better in both")
    if (chosen := found.chosen) is not None:
        place = ([chosen.latency * 1e3], [100 * chosen.accuracy])
        axes.scatter(*place, s=160, facecolors="none", edgecolors="black", label="chosen")
    axes.set(xlabel="ms of one run, compiled", ylabel="accuracy on validation samples, %")
    axes.set_xlim(left=0)
    axes.legend()
    figure.savefig(path, dpi=150)
