"""The page of the census, ``census.md``, and its picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.census import chart
from benchmarks.census.check import AGREES
from benchmarks.census.comparison import Times, cells, fastest_first, groups
from benchmarks.census.speed import ALL_PEERS, PEERS
from benchmarks.heading import machine_line, plural, versions
from benchmarks.summary import geometric_mean
from compiler.runtimes import OURS

FILES = ("census.md", "census.png")
NAMES = {OURS: "ours", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}


def write(results: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Writes ``census.md`` and ``census.png``, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / file for file in FILES]
    measured = _measured(results)
    if not measured:
        raise ValueError("no model was measured, so there is nothing to write")
    chart.draw(groups(results), [machine_line(measured[0]), about(measured)], files[1])
    files[0].write_text("\n".join(lines(results)) + "\n")
    return files


def _measured(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [times for result in results for times in result.get("times", {}).values() if "secs" in times]


def about(measured: Sequence[dict[str, Any]]) -> str:
    """Returns the versions of the other runtimes in one line."""
    return ", ".join(f"{NAMES[name]} {version}" for name, version in versions(measured).items())


def lines(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields the page in Markdown."""
    measured = _measured(results)
    yield "# The census"
    yield ""
    yield (
        "Real models that other people published, with their answers checked and their times next to those of other "
        "runtimes. `make census` writes this page. Batch 1, default settings (OpenVINO in float32), all runtimes in "
        "turns in one process that is pinned to as many cores as threads."
    )
    yield ""
    yield f"Machine: {machine_line(measured[0])}. {about(measured)}."
    yield ""
    yield "![Times of the census](census.png)"
    for count, by_group in groups(results).items():
        yield ""
        yield f"## {plural(count, 'thread').capitalize()}"
        for group, models in by_group.items():
            if models:
                yield ""
                yield from _table(group, models)
    yield ""
    yield "## Builds, starts and memory"
    yield ""
    yield from _starts(results)
    yield ""
    yield from _failures(results)


def _table(group: str, models: dict[str, Times]) -> Iterator[str]:
    ratios = {name: times.ratio for name, times in models.items() if times.ratio}
    shown = [peer for peer in ALL_PEERS if peer in PEERS or any(peer in times.medians for times in models.values())]
    yield f"### {group}"
    yield ""
    if ratios:
        least = min(ratios, key=lambda name: ratios[name].value)
        mean = geometric_mean(ratio.value for ratio in ratios.values())
        yield (
            f"Geometric mean of the ratio to the fastest other runtime over {plural(len(ratios), 'model')}: "
            f"**{mean:.2f}**; least: {ratios[least].value:.2f} ({least})."
        )
        yield ""
    yield f"| model | ours, ms | {' | '.join(f'{NAMES[peer]}, ms' for peer in shown)} | ratio | 95 % |"
    yield "| --- | ---: | " + "---: | " * len(shown) + "---: | --- |"
    for name, times in fastest_first(models).items():
        yield f"| {' | '.join(cells(name, times, shown))} |"


def _starts(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield (
        "On the smallest number of threads. Load: seconds until a fresh process has loaded the model, with the import "
        "of the runtime; ours loads a saved model. First: milliseconds of the first run. Memory: MiB after the load, "
        "and at most until the first run ends, beyond the process before. Each cell: ours / "
        + " / ".join(NAMES[peer] for peer in PEERS)
        + "."
    )
    yield ""
    yield "| model | build, s | ONNX file, MiB | saved, MiB | load, s | first, ms | memory | peak |"
    yield "| --- | ---: | ---: | ---: | --- | --- | --- | --- |"
    for result in results:
        measured = next((times for times in result.get("times", {}).values() if "secs" in times), None)
        if measured is None:
            continue
        starts = [measured["starts"].get(name) for name in (OURS, *PEERS)]

        def cell(key: str, scale: float, digits: int, starts: list[dict[str, float] | None] = starts) -> str:
            return " / ".join(f"{start[key] * scale:.{digits}f}" if start else "-" for start in starts)

        sizes = measured["file_bytes"]
        cells = [
            result["model"],
            f"{measured['build_secs']:.1f}",
            f"{sizes['onnx'] / 2**20:.1f}",
            f"{sizes[OURS] / 2**20:.1f}",
            cell("load_secs", 1, 2),
            cell("first_secs", 1e3, 1),
            cell("rest_bytes", 2**-20, 0),
            cell("peak_bytes", 2**-20, 0),
        ]
        yield f"| {' | '.join(cells)} |"


def _failures(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    failed = []
    for result in results:
        parts = {"passes": result["passes"], **{f"{count} threads": part for count, part in result["builds"].items()}}
        failed += [(result["model"], where, part) for where, part in parts.items() if part["outcome"] != AGREES]
        for count, times in result.get("times", {}).items():
            if "secs" not in times:
                failed.append((result["model"], f"times, {count} threads", times))
    yield "## Failures"
    yield ""
    if not failed:
        yield "None: all answers agree with those of ONNX Runtime."
    for name, where, part in failed:
        yield f"- {name}, {where}: {part['outcome']}: {part['why']}"
