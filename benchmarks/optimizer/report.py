"""The table and the picture of an experiment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heading import NOISY_CORES
from benchmarks.optimizer.experiment import (
    DENSE,
    DENSE_INT8,
    FAST,
    FAST_BY_MACS,
    FAST_INT8,
    FAST_SCRATCH,
    FAST_UNTAUGHT,
    HALF,
    SMALL,
    SMALL_FIRST,
    SMALL_INT8,
    SMALL_SCRATCH,
    SMALL_SECOND,
    SMALL_UNTAUGHT,
)
from benchmarks.optimizer.paired import Difference, difference
from graph_passes.report import columns

Results = Sequence[dict[str, Any]]
COMPARISONS = (
    (FAST, FAST_BY_MACS),
    (FAST, FAST_SCRATCH),
    (FAST, FAST_UNTAUGHT),
    (FAST, DENSE),
    (DENSE_INT8, DENSE),
    (FAST_INT8, DENSE),
    (HALF, DENSE),
    (SMALL, SMALL_FIRST),
    (SMALL, SMALL_SECOND),
    (SMALL, SMALL_UNTAUGHT),
    (SMALL, SMALL_SCRATCH),
    (SMALL, DENSE),
    (SMALL_INT8, DENSE),
    (SMALL_INT8, SMALL_SCRATCH),
)


def lines(results: Results) -> Iterator[str]:
    """Yields the table: means over seeds, and paired differences with their intervals."""
    first = results[0]
    seeds = ", ".join(str(result["seed"]) for result in results)
    images, epochs = (
        f"{first['dataset']}, {first['images']:,} test images",
        "{epochs} + {tuning} epochs".format(**first["settings"]),
    )
    yield f"{images}; {first['cpu']}, {first['isa']}; one thread, one image at once; {epochs}, seeds {seeds}"
    rows = [("model", "accuracy, %", "ms", "times as fast", "parameters", "KiB", "of the size")]
    whole = float(np.mean([result["rows"][DENSE]["bytes"] for result in results]))
    for name in first["rows"]:
        mean = {key: float(np.mean([result["rows"][name][key] for result in results])) for key in _KEYS}
        ratio = float(np.mean([r["rows"][DENSE]["latency"] / r["rows"][name]["latency"] for r in results]))
        rows.append(
            (
                name,
                f"{100 * mean['accuracy']:.2f}",
                f"{mean['latency'] * 1e3:.3f}",
                f"{ratio:.2f}",
                f"{mean['parameters']:,.0f}",
                f"{mean['bytes'] / 1024:.0f}",
                f"{mean['bytes'] / whole:.1%}",
            )
        )
    yield columns(rows, [0])
    rows = [("first", "second", "points more accurate", "95 % interval")]
    for names, found in differences(results):
        rows.append((*names, f"{found.value:+.2f}", f"{found.low:+.2f} to {found.high:+.2f}"))
    yield columns(rows, [0, 1])
    if any(result["cores_busy_with_others"] > NOISY_CORES for result in results):
        yield "NOT QUIET: other processes were active during the measurement"


_KEYS = ("accuracy", "latency", "parameters", "bytes")


def differences(results: Results) -> Iterator[tuple[tuple[str, str], Difference]]:
    """Yields the difference of each pair of models, paired over test images, over all seeds."""
    for one, other in COMPARISONS:
        if not all({one, other} <= result["rows"].keys() for result in results):
            continue  # there are no small networks
        pairs = [(_right(result, one), _right(result, other)) for result in results]
        yield (one, other), difference(pairs)


def _right(result: dict[str, Any], name: str) -> np.ndarray:
    count = result["images"]
    return np.unpackbits(np.array(result["rows"][name]["right"], np.uint8))[:count].astype(bool)


COLORS = 10  # of matplotlib, after which they begin again


def draw(results: Results, path: Path) -> None:
    """Draws accuracy over latency, one point per model and seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(results[0]["rows"]):
        marker = "s" if "int8" in name else "o^"[place // COLORS % 2]
        points = [(r["rows"][name]["latency"] * 1e3, 100 * r["rows"][name]["accuracy"]) for r in results]
        axes.scatter(*zip(*points, strict=True), label=name, marker=marker)
    axes.set(xlabel="ms of one image, compiled, one thread", ylabel="accuracy on test images, %")
    axes.set_xlim(left=0)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)
