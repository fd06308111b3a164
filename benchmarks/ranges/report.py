"""The table of the benchmark of ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.heading import Results, machine_line, noise, plural
from benchmarks.whole_models.comparison import samples_of
from compiler.measure.comparison import speedup
from graph_passes.report import columns

_HEADINGS = ["texts x tokens", "threads", "range, ms", "single, ms", "range / single", "first run, ms more"]


def lines(results: Results) -> Iterator[str]:
    """Yields the machine, a warning if it was not quiet, and a line for each result."""
    yield machine_line(results[0])
    for threads in sorted({result["threads"] for result in results}):
        of_threads = [{**result, "name": _name(result)} for result in results if result["threads"] == threads]
        yield from (f"{plural(threads, 'thread')}: {line}" for line in noise(of_threads, "name"))
    yield from columns([_HEADINGS, *map(_row, results)], left=(0,)).splitlines()


def _name(result: Mapping[str, Any]) -> str:
    return "x".join(map(str, result["size"]))


def _row(result: Mapping[str, Any]) -> list[str]:
    ranged, single = (samples_of(result["secs"][name]) for name in ("range", "single"))
    return [
        _name(result),
        str(result["threads"]),
        f"{ranged.latencies.median * 1e3:.3f}",
        f"{single.latencies.median * 1e3:.3f}",
        str(speedup(single, ranged)),
        f"{(result['first_secs'] - ranged.latencies.median) * 1e3:.1f}",
    ]
