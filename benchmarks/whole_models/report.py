"""What is left of a benchmark of whole models: tables, a JSON file with the samples, and a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.heading import Results, bound_to, heading, machine, machine_line, noise, plural, versions
from benchmarks.layers.comparison import geometric_mean
from benchmarks.whole_models import chart as model_chart
from benchmarks.whole_models.comparison import OWN, ModelComparison, compare, milliseconds
from graph_passes.report import columns

NAME = "models"
TITLE = "Whole models, batch 1"
ROOFLINE = (
    "roofline: what all convolutions, products and attention take at least, one after the other; pooling and generated "
    "code count as nothing, and products by their definition, of which Winograd's algorithms need fewer"
)


def write(results: Results, folder: Path) -> list[Path]:
    """Writes ``models.json`` and ``models.png``, making the folder where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    comparisons = [compare(result) for result in results]
    report = {
        "machine": machine(results[0]),
        "summary": [{"threads": threads, **summary(of_threads)} for threads, of_threads in by_threads(comparisons)],
        "results": results,
    }
    files = [folder / f"{NAME}.json", folder / f"{NAME}.png"]
    files[0].write_text(json.dumps(report, indent=1) + "\n")
    peers = ", ".join(f"{name} {version}" for name, version in versions(results).items())
    model_chart.draw(comparisons, [TITLE, machine_line(results[0]), peers], files[1])
    return files


def lines(results: Results) -> Iterator[str]:
    """The report as plain text: machine and versions, then a table for each number of threads."""
    yield from heading(results, "model")
    yield ROOFLINE
    for threads, comparisons in by_threads([compare(result) for result in results]):
        of_threads = [result for result in results if result["threads"] == threads]
        yield ""
        yield (
            f"{bound_to(of_threads[0])}; FMA peak {max(result['peak_gflops'] for result in of_threads):.1f} GFLOP/s; "
            "medians of runs by turns"
        )
        yield from noise(of_threads, "model")
        yield from _table(comparisons, of_threads).splitlines()
        yield from _about_tuning(of_threads)
        yield from _summary_lines(comparisons)


def by_threads(comparisons: Sequence[ModelComparison]) -> Iterator[tuple[int, list[ModelComparison]]]:
    for threads in sorted({comparison.threads for comparison in comparisons}):
        yield threads, [comparison for comparison in comparisons if comparison.threads == threads]


def summary(comparisons: Sequence[ModelComparison]) -> dict[str, Any]:
    """Against the fastest peer of each model, and against each peer: geometric mean and least ratio, with its model."""
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
    contenders = [name for name in (*OWN, *peers) if any(name in comparison.medians for comparison in comparisons)]
    rows = [["model", *(f"{name} ms" for name in contenders), "roofline ms", "share", "on record"]]
    rows[0] += ["fastest peer", *(f"ours/{peer} [95 %]" for peer in peers)]
    rows += [
        [
            comparison.model,
            *(milliseconds(comparison.medians[name]) if name in comparison.medians else "" for name in contenders),
            milliseconds(comparison.roofline_secs),
            f"{comparison.share_of_roofline:.0%}",
            _on_record(result["on_record"]),
            comparison.fastest_peer or "",
            *(str(comparison.ratios.get(peer, "")) for peer in peers),
        ]
        for comparison, result in zip(comparisons, results, strict=True)
    ]
    return columns(rows, left=(0, rows[0].index("fastest peer")))


def _on_record(known: Mapping[str, int]) -> str:
    """Layers with a schedule that was searched for, and of these the ones that were chosen for the whole model."""
    text = f"{known['measured']} of {known['layers']}"
    return f"{text}, {known['chosen']} chosen" if known["chosen"] else text


def _about_tuning(results: Results) -> Iterator[str]:
    if untuned := [result for result in results if "tuned" not in result["contenders"]]:
        names = ", ".join(result["model"] for result in untuned)
        yield f"not tuned, for want of records: {names}; to tune {untuned[0]['model']}: {untuned[0]['how_to_tune']}"


def _summary_lines(comparisons: Sequence[ModelComparison]) -> Iterator[str]:
    for peer, figures in summary(comparisons)["against"].items():
        yield (
            f"ours / {peer}: geometric mean {figures['geometric_mean']:.3f} over {plural(figures['models'], 'model')}, "
            f"least {figures['least_ratio']:.3f} ({figures['least_ratio_model']})"
        )
    if gains := [comparison.tuned.value for comparison in comparisons if comparison.tuned]:
        yield f"tuned / default: geometric mean {geometric_mean(gains):.3f} over {plural(len(gains), 'model')}"
