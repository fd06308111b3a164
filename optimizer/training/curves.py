"""The curves of a training."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from optimizer.training.loop import Epoch


def write(epochs: Sequence[Epoch], folder: Path) -> None:
    """Writes ``curves.csv`` and ``curves.png``: losses and accuracy by epoch.

    Raises:
        OSError: a file cannot be written.
    """
    from matplotlib.figure import Figure

    parts = list(epochs[-1].losses)
    with (folder / "curves.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["epoch", *parts, "accuracy", "seconds"])
        for epoch in epochs:
            rows.writerow([epoch.number, *(epoch.losses[part] for part in parts), epoch.accuracy, epoch.seconds])
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    left = figure.subplots()
    numbers = [epoch.number for epoch in epochs]
    for part in parts:
        left.plot(numbers, [epoch.losses[part] for epoch in epochs], marker=".", label=f"loss, {part}")
    left.set(xlabel="epoch", ylabel="loss")
    known = [(epoch.number, 100 * epoch.accuracy) for epoch in epochs if epoch.accuracy is not None]
    if known:
        right = left.twinx()
        right.plot(*zip(*known, strict=True), color="black", linestyle="--", label="accuracy")
        right.set_ylabel("accuracy on validation samples, % (dashed)")
    left.legend(loc="center right")
    figure.savefig(folder / "curves.png", dpi=150)
