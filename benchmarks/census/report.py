"""The table of the census."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.census.check import AGREES, BAD, REJECTED
from benchmarks.census.comparison import cells, fastest_first, groups
from benchmarks.census.speed import ALL_PEERS
from benchmarks.heading import plural
from benchmarks.summary import geometric_mean
from graph_passes.report import columns

HEADER = (
    *("model", "ORT's spread", "allowed", "passes", "threads", "outcome", "error / allowed"),
    *("kernels", "segments", "s", "peak of file MiB"),
)
REASON = 200  # characters of a reason; OpenVINO's are long


def bad(results: Sequence[dict[str, Any]]) -> bool:
    return any(part["outcome"] in BAD for result in results for part in _parts(result))


def _parts(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield result["passes"]
    yield from result["builds"].values()
    yield from (times for times in result.get("times", {}).values() if "secs" not in times)


def lines(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields the table, one line per model and number of threads, the reasons, and the number of models per outcome."""
    rows = [HEADER, *(row for result in results for row in _rows(result))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
    yield ""
    for result in results:
        yield from _reasons(result)
    counted = Counter(part["outcome"] for result in results for part in result["builds"].values())
    yield from _times(results)
    yield from _left_out(results)
    yield f"{len(results)} models; builds: " + ", ".join(f"{count} {outcome}" for outcome, count in counted.items())


def _rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    passes = result["passes"]
    spread = f"{passes['spread']:.1e}" if "spread" in passes else ""
    allowed = f"{passes['allowed']:.1e}" if "allowed" in passes else ""
    checked = f"{passes['off']:.2f}" if passes["outcome"] == AGREES else passes["outcome"]
    for threads, build in result["builds"].items():
        off = f"{build['off']:.2f}" if "off" in build else ""
        seconds = f"{build['seconds']:.1f}" if "seconds" in build else ""
        kernels = str(build.get("kernels", ""))
        segments = str(build["segments"]) if build.get("segments") else ""
        memory = f"{build['peak_mib']:.0f} of {build['file_mib']:.0f}" if "peak_mib" in build else ""
        answers = (result["model"], spread, allowed, checked, str(threads), build["outcome"], off)
        yield (*answers, kernels, segments, seconds, memory)


def _reasons(result: dict[str, Any]) -> Iterator[str]:
    if result["passes"]["why"]:
        yield f"{result['model']}: passes: {result['passes']['outcome']}: {result['passes']['why']}"
    texts: dict[str, list[str]] = {}
    for threads, build in result["builds"].items():
        if build["why"]:
            texts.setdefault(f"{build['outcome']}: {build['why']}", []).append(str(threads))
    for text, threads in texts.items():
        where = "" if len(threads) == len(result["builds"]) or text.startswith(REJECTED) else f", threads {threads[0]}"
        yield f"{result['model']}{where}: {text}"
    for threads, times in result.get("times", {}).items():
        if "secs" not in times:
            yield f"{result['model']}, times, threads {threads}: {times['outcome']}: {times['why']}"


def _left_out(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields why other runtimes were left out, one line per runtime and reason."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for result in results:
        for times in result.get("times", {}).values():
            for peer, reason in times.get("left_out", {}).items():
                found.setdefault((peer, reason[:REASON]), {})[result["model"]] = None
    for (peer, reason), models in found.items():
        yield f"Left out: {peer} ({', '.join(models)}): {reason}"


def _times(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields a table per number of threads, the slowest models last, and the geometric mean of each group."""
    for threads, by_group in groups(results).items():
        rows: list[tuple[str, ...]] = [("model", f"ms, {plural(threads, 'thread')}", *ALL_PEERS, "ratio", "95 %")]
        for models in by_group.values():
            rows += [cells(name, times, ALL_PEERS) for name, times in fastest_first(models).items()]
        yield columns(rows, left=(0,))
        for group, models in by_group.items():
            if ratios := [times.ratio.value for times in models.values() if times.ratio]:
                yield f"{group}: {len(ratios)}, geometric mean {geometric_mean(ratios):.3f}, least {min(ratios):.3f}"
        yield ""
