"""The table of the benchmark of servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.heading import Results, machine_line, versions
from benchmarks.serving.servers import OURS, TRITON
from graph_passes.report import columns

Slices = Sequence[Mapping[str, Any]]


def lines(results: Results) -> Iterator[str]:
    """Yields the machine, the versions, and a line per row: medians of the slices, with the least and the most."""
    yield machine_line(results[0])
    yield from (f"{name}: {version}" for name, version in versions(results).items())
    server, client = results[0]["server_core"], results[0]["client_core"]
    yield f"server on core {server}, client on core {client}, one request at a time"
    names = list(results[0]["slices"])
    heading = ["request", *(f"{name}, CPU µs per request" for name in names)]
    if TRITON in names:
        heading += ["Triton / ours", "throughput, ours / Triton"]
    yield from columns([heading, *(_row(result, names) for result in results)], left=(0,)).splitlines()


def _row(result: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    slices = result["slices"]
    cells = [result["about"], *(_spread(cpu_micros(slices[name]), ".1f") for name in names)]
    if TRITON in names:
        cells.append(f"{median(cpu_micros(slices[TRITON])) / median(cpu_micros(slices[OURS])):.1f}")
        pairs = zip(_rates(slices[OURS]), _rates(slices[TRITON]), strict=True)
        cells.append(_spread([ours / theirs for ours, theirs in pairs], ".2f"))
    return cells


def cpu_micros(slices: Slices) -> list[float]:
    """Returns the CPU time per request of each slice, in µs."""
    return [each["cpu_secs"] / each["requests"] * 1e6 for each in slices]


def _rates(slices: Slices) -> list[float]:
    return [each["requests"] / each["wall_secs"] for each in slices]


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"
