"""What stands above the tables of a benchmark: machine, versions, who was skipped, and whether it was quiet."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Results = Sequence[Mapping[str, Any]]

# Beyond this, threads wait for cores that others hold, and figures for several threads mean little.
NOISY_CORES = 0.1


def heading(results: Results, what: str = "shape") -> list[str]:
    """Machine, versions of the peers, and which peers were skipped where; ``what`` names a result."""
    skipped: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for name, reason in result["skipped"].items():
            skipped.setdefault((name, reason), []).append(result[what])
    return [
        machine_line(results[0]),
        *(f"{name}: {version}" for name, version in versions(results).items()),
        *(f"{name}: skipped, {reason} ({_places(shapes, results)})" for (name, reason), shapes in skipped.items()),
    ]


def machine_line(result: Mapping[str, Any]) -> str:
    about = machine(result)
    return f"{about['cpu']}, {about['isa']}, {about['system']}"


def versions(results: Results) -> dict[str, str]:
    return {name: version for result in results for name, version in result["versions"].items()}


def _places(shapes: Sequence[str], results: Results) -> str:
    distinct = list(dict.fromkeys(shapes))
    return "everywhere" if len(shapes) == len(results) else ", ".join(distinct)


def machine(result: Mapping[str, Any]) -> dict[str, str]:
    version = ".".join(platform.release().split(".")[:2])  # what follows names a build, and says nothing of speed
    return {"cpu": result["cpu"], "isa": result["isa"], "system": f"{platform.system()} {version}"}


def bound_to(result: Mapping[str, Any]) -> str:
    threads, cores = result["threads"], ", ".join(map(str, result["cores"]))
    return f"{plural(threads, 'thread')}, process bound to core{'s' * (threads > 1)} {cores}"


def noise(results: Results, what: str) -> Iterator[str]:
    """A line where the machine was not quiet; ``what`` names a result."""
    if busy := [result[what] for result in results if result["cores_busy_with_others"] > NOISY_CORES]:
        yield f"NOT QUIET, other processes kept more than {NOISY_CORES} cores busy, during: {', '.join(busy)}"


def plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number > 1)}"
