"""The report of whole models: tables, a JSON file with the samples, and a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.heading import Results, heading, machine, machine_line, noise, pinned_to, plural, versions
from benchmarks.summary import OWN, by_threads, geometric_mean
from benchmarks.whole_models import chart
from benchmarks.whole_models.comparison import ModelComparison, compare
from benchmarks.whole_models.table import cells, headings
from graph_passes.report import columns

NAME = "models"
TITLE = "Whole models, batch 1"
ROOFLINE = (
    "roofline: the least time of all layers of our kernels, one after the other; generated code counts as nothing, and "
    "products count by their definition, although Winograd's algorithms need fewer"
)


def write(results: Results, folder: Path) -> list[Path]:
    """Writes ``models.json`` and ``models.png``, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    comparisons = [compare(result) for result in results]
    report = {
        "machine": machine(results[0]),
        "summary": [{"threads": threads, **summary(of_threads)} for threads, of_threads in by_threads(comparisons)],
        "results": results,
    }
    files = [folder / f"{NAME}.json", folder / f"{NAME}.png"]
    files[0].write_text(json.dumps(report, indent=1) + "\n")
    runtimes = ", ".join(f"{name} {version}" for name, version in versions(results).items())
    chart.draw(comparisons, [TITLE, machine_line(results[0]), runtimes], files[1])
    return files


def lines(results: Results) -> Iterator[str]:
    """Yields the report as plain text: machine and versions, then a table per number of threads."""
    yield from heading(results, "model")
    yield ROOFLINE
    for threads, comparisons in by_threads([compare(result) for result in results]):
        of_threads = [result for result in results if result["threads"] == threads]
        yield ""
        yield (
            f"{pinned_to(of_threads[0])}; FMA peak {max(result['peak_gflops'] for result in of_threads):.1f} GFLOP/s; "
            "medians of interleaved runs"
        )
        yield from noise(of_threads, "model")
        yield from _table(comparisons, of_threads).splitlines()
        yield from _about_tuning(of_threads)
        yield from _summary_lines(comparisons)


def summary(comparisons: Sequence[ModelComparison]) -> dict[str, Any]:
    """Returns the geometric mean and the least ratio to the fastest runtime of each model, and to each runtime."""
    against: dict[str, dict[str, float]] = {"fastest peer": {}}
    for comparison in comparisons:
        if comparison.fastest_peer:
            against["fastest peer"][comparison.model] = comparison.ratios[comparison.fastest_peer].value
        for peer, ratio in comparison.ratios.items():
            against.setdefault(peer, {})[comparison.model] = ratio.value
    return {
        "models": [comparison.to_json() for comparison in comparisons],
        "against": {
            peer: {
                "models": len(ratios),
                "geometric_mean": geometric_mean(ratios.values()),
                "least_ratio": min(ratios.values()),
                "least_ratio_model": min(ratios, key=ratios.__getitem__),
            }
            for peer, ratios in against.items()
            if ratios
        },
    }


def _table(comparisons: Sequence[ModelComparison], results: Results) -> str:
    peers = list(dict.fromkeys(peer for comparison in comparisons for peer in comparison.ratios))
    names = [name for name in (*OWN, *peers) if any(name in comparison.medians for comparison in comparisons)]
    rows = [headings(names, peers)]
    rows += [
        cells(comparison, result["stored"], names, peers)
        for comparison, result in zip(comparisons, results, strict=True)
    ]
    return columns(rows, left=(0, rows[0].index("fastest peer")))


def _about_tuning(results: Results) -> Iterator[str]:
    """Yields how to tune the models without tuned schedules, unless only default ones were to be measured."""
    if untuned := [result for result in results if "tuned" not in result["implementations"] and result["how_to_tune"]]:
        names = ", ".join(result["model"] for result in untuned)
        yield f"not tuned, no records: {names}; to tune {untuned[0]['model']}: {untuned[0]['how_to_tune']}"


def _summary_lines(comparisons: Sequence[ModelComparison]) -> Iterator[str]:
    for peer, figures in summary(comparisons)["against"].items():
        yield (
            f"ours / {peer}: geometric mean {figures['geometric_mean']:.3f} over {plural(figures['models'], 'model')}, "
            f"least {figures['least_ratio']:.3f} ({figures['least_ratio_model']})"
        )
    if gains := [comparison.tuned.value for comparison in comparisons if comparison.tuned]:
        yield f"tuned / default: geometric mean {geometric_mean(gains):.3f} over {plural(len(gains), 'model')}"
