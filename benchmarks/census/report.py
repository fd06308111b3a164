"""The table of the census."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.census.check import AGREES, BAD, REJECTED

HEADER = (
    *("model", "ORT's spread", "allowed", "passes", "threads", "outcome", "error / allowed"),
    *("kernels", "segments", "s", "peak of file MiB"),
)


def bad(results: Sequence[dict[str, Any]]) -> bool:
    return any(part["outcome"] in BAD for result in results for part in (result["passes"], *result["builds"].values()))


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
        segments = f"{build['segments']} ({build['share']:.0%})" if build.get("segments") else ""
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
