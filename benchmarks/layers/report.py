"""The report of layers: for each group a table, a JSON file with the raw samples, and a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.heading import Results, heading, machine, noise, pinned_to, plural
from benchmarks.layers.chart import draw
from benchmarks.layers.comparison import PEER, Comparison, compare_all
from benchmarks.layers.groups import GROUPS, Group
from benchmarks.layers.table import cells, headings
from benchmarks.summary import by_threads, geometric_mean
from graph_passes.report import columns


def write(results: Results, folder: Path) -> list[Path]:
    """Writes ``<group>.json`` and ``<group>.png`` for each measured group, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, of_group in by_group(results):
        comparisons = compare_all(of_group)
        report = {
            "machine": machine(of_group[0]),
            "summary": [
                {"threads": threads, "peer": PEER, **summary(of_threads)}
                for threads, of_threads in by_threads(comparisons)
            ],
            "results": of_group,
        }
        files += [folder / f"{name}.json", folder / f"{name}.png"]
        files[-2].write_text(json.dumps(report, indent=1))
        draw(comparisons, [title(GROUPS[of_group[0]["group"]]), *heading(of_group)], files[-1])
    return files


def lines(results: Results) -> Iterator[str]:
    """Yields the report as plain text: machine and versions, the tables of each group, then all summaries again."""
    yield from heading(results)
    conclusion = []
    for name, of_group in by_group(results):
        yield ""
        group = GROUPS[of_group[0]["group"]]
        yield f"== {name}: {title(group)}"
        if group.note:
            yield group.note
        for threads, comparisons in by_threads(compare_all(of_group)):
            yield ""
            yield from _about_threads(threads, comparisons, of_group)
            yield from _table(comparisons)
            summaries = list(_summary_lines(comparisons))
            yield from summaries
            conclusion += [f"{name}, {plural(threads, 'thread')}: {line}" for line in summaries]
    yield ""
    yield "== all groups"
    yield from conclusion


def by_group(results: Results) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yields the results by group and batch, in the order of ``GROUPS``, with the name of their files."""
    for group in GROUPS.values():
        of_group = [result for result in results if result["group"] == group.name]
        for batch in sorted({result["batch"] for result in of_group}):
            name = group.name if batch == 1 else f"{group.name}-batch{batch}"
            yield name, [result for result in of_group if result["batch"] == batch]


def title(group: Group) -> str:
    """Returns the title of a group, with its data type and the memory of its weights."""
    source = "packed weights from memory, activations from the cache" if group.cold else "all from the cache"
    return f"{group.title}, {group.dtype}, {source}"


def summary(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Returns the summary of one group on one number of threads.

    It has the geometric mean and the least ratio to ``PEER``, the speed of the default schedule as a fraction of the
    tuned one's, the shares of the roofline of memory-bound shapes, and for each network the seconds of all its layers
    in this group, each counted as often as it occurs.
    """
    ratios = {c.shape: c.ratios[PEER].value for c in comparisons if PEER in c.ratios}
    fractions = [c.default_of_tuned for c in comparisons if c.default_of_tuned is not None]
    shares = {c.shape: c.fraction_of_roofline for c in comparisons if c.memory_bound}
    best_shares = {c.shape: c.best_fraction_of_roofline for c in comparisons if c.memory_bound}
    worst = min(ratios, key=ratios.__getitem__, default=None)
    return {
        "shapes": len(comparisons),
        "geometric_mean": geometric_mean(ratios.values()) if ratios else None,
        "least_ratio": ratios.get(worst) if worst else None,
        "least_ratio_shape": worst,
        "default_of_tuned": geometric_mean(fractions) if fractions else None,
        "memory_bound_shares": shares,
        "memory_bound_best_shares": best_shares,
        "network_secs": _network_secs(comparisons),
    }


def _network_secs(comparisons: Sequence[Comparison]) -> dict[str, dict[str, float]]:
    """Returns by network, for us and the baseline, the seconds of its layers that both computed."""
    both = [c for c in comparisons if PEER in c.secs]
    networks = dict.fromkeys(network for c in both for network in c.occurrences)
    return {
        network: {
            name: sum(c.occurrences.get(network, 0) * c.secs[c.ours if name == "ours" else name] for c in both)
            for name in ("ours", PEER)
        }
        for network in networks
    }


def _about_threads(threads: int, comparisons: Sequence[Comparison], results: Results) -> Iterator[str]:
    of_threads = [result for result in results if result["threads"] == threads]
    yield (
        f"{pinned_to(of_threads[0])}; "
        f"FMA peak {comparisons[0].peak_gflops:.1f} GFLOP/s; speeds by the median of "
        f"{len(of_threads[0]['implementations']['default']['secs'])} samples in random order"
    )
    yield from noise(of_threads, "shape")


def _summary_lines(comparisons: Sequence[Comparison]) -> Iterator[str]:
    figures = summary(comparisons)
    if figures["geometric_mean"] is not None:
        yield (
            f"{comparisons[0].ours} / {PEER}: geometric mean {figures['geometric_mean']:.3f} over {figures['shapes']} "
            f"shapes, least {figures['least_ratio']:.3f} ({figures['least_ratio_shape']})"
        )
    if figures["default_of_tuned"] is not None:
        yield f"default / tuned: geometric mean {figures['default_of_tuned']:.3f}"
    if figures["network_secs"]:
        yield (
            "ms in a network, ours and "
            + f"{PEER}'s: "
            + ", ".join(
                f"{network} {secs['ours'] * 1e3:.2f} {secs[PEER] * 1e3:.2f}"
                for network, secs in figures["network_secs"].items()
            )
        )


def _table(comparisons: Sequence[Comparison]) -> Iterator[str]:
    names = list(dict.fromkeys(name for comparison in comparisons for name in comparison.secs))
    peers = [name for name in names if any(name in comparison.ratios for comparison in comparisons)]
    rows = [headings(names, peers), *(cells(comparison, names, peers) for comparison in comparisons)]
    yield from columns(rows, left=(0,)).splitlines()
