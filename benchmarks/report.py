"""What is left of a benchmark: a table, ``dense.json`` with the raw samples, and ``dense.png``."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chart import draw
from benchmarks.comparison import PEER, Comparison, compare_all, geometric_mean

JSON_FILE = "dense.json"
PNG_FILE = "dense.png"

# Beyond this, threads wait for cores that others hold, and figures for several threads mean little.
NOISY_CORES = 0.1


def write(results: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Writes both files, making the folder where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    comparisons = compare_all(results)
    report = {
        "machine": machine(results[0]),
        "summary": [
            {"threads": threads, "peer": PEER, **summary(of_threads)} for threads, of_threads in by_threads(comparisons)
        ],
        "results": list(results),
    }
    (folder / JSON_FILE).write_text(json.dumps(report, indent=1))
    draw(comparisons, heading(results), folder / PNG_FILE)


def lines(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The report as plain text: machine and versions first, then a table and its summary for each thread count."""
    yield from heading(results)
    for threads, comparisons in by_threads(compare_all(results)):
        example = next(result for result in results if result["threads"] == threads)
        cores = ", ".join(map(str, example["cores"]))
        yield ""
        yield (
            f"{threads} thread{'s' * (threads > 1)}, process bound to core{'s' * (threads > 1)} {cores}; "
            f"FMA peak {comparisons[0].peak_gflops:.1f} GFLOP/s; GFLOP/s by the median of "
            f"{len(example['contenders']['default']['secs'])} samples in random order"
        )
        busy = [result["shape"] for result in results if result["threads"] == threads and _is_noisy(result)]
        if busy:
            yield f"NOT QUIET, other processes kept more than {NOISY_CORES} cores busy, during: {', '.join(busy)}"
        yield from _table(comparisons)
        yield from _summary_lines(comparisons)


def _is_noisy(result: Mapping[str, Any]) -> bool:
    return result["cores_busy_with_others"] > NOISY_CORES


def heading(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Machine, versions of the peers, and which peers were skipped."""
    about = machine(results[0])
    versions = {name: version for result in results for name, version in result["versions"].items()}
    skipped = {name: reason for result in results for name, reason in result["skipped"].items()}
    return [
        f"{about['cpu']}, {about['isa']}, {about['system']}",
        *(f"{name}: {version}" for name, version in versions.items()),
        *(f"{name}: skipped, {reason}" for name, reason in skipped.items()),
    ]


def machine(result: Mapping[str, Any]) -> dict[str, str]:
    return {"cpu": result["cpu"], "isa": result["isa"], "system": f"{platform.system()} {platform.release()}"}


def by_threads(comparisons: Sequence[Comparison]) -> Iterator[tuple[int, list[Comparison]]]:
    for threads in sorted({comparison.threads for comparison in comparisons}):
        yield threads, [comparison for comparison in comparisons if comparison.threads == threads]


def summary(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Geometric mean and least ratio against ``PEER``, and the shares of the roofline where memory is the limit."""
    ratios = {c.shape: c.ratios[PEER].value for c in comparisons if PEER in c.ratios}
    shares = {c.shape: c.fraction_of_roofline for c in comparisons if c.memory_bound}
    best_shares = {c.shape: c.best_fraction_of_roofline for c in comparisons if c.memory_bound}
    worst = min(ratios, key=ratios.__getitem__, default=None)
    return {
        "shapes": len(comparisons),
        "geometric_mean": geometric_mean(ratios.values()) if ratios else None,
        "least_ratio": ratios.get(worst) if worst else None,
        "least_ratio_shape": worst,
        "memory_bound_shares": shares,
        "memory_bound_best_shares": best_shares,
    }


def _summary_lines(comparisons: Sequence[Comparison]) -> Iterator[str]:
    figures = summary(comparisons)
    if figures["geometric_mean"] is not None:
        yield (
            f"{comparisons[0].ours} / {PEER}: geometric mean {figures['geometric_mean']:.3f} over {figures['shapes']} "
            f"shapes, least {figures['least_ratio']:.3f} ({figures['least_ratio_shape']})"
        )


def _table(comparisons: Sequence[Comparison]) -> Iterator[str]:
    contenders = list(dict.fromkeys(name for comparison in comparisons for name in comparison.gflops))
    peers = [name for name in contenders if any(name in comparison.ratios for comparison in comparisons)]
    ratios = [f"ours/{name} [95 %]" for name in peers]
    rows = [["shape", "m x n x k", *contenders, "roofline", "share", "best", *ratios]]
    rows += [
        [
            c.shape,
            "x".join(map(str, c.workload.dims)),
            *(f"{c.gflops[name]:.1f}" if name in c.gflops else "" for name in contenders),
            f"{'memory ' if c.memory_bound else ''}{c.limit_gflops:.1f}",
            f"{c.fraction_of_roofline:.1%}",
            f"{c.best_fraction_of_roofline:.1%}",
            *(str(c.ratios.get(name, "")) for name in peers),
        ]
        for c in comparisons
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        yield "  ".join(cells).rstrip()
