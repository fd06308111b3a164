"""The heading of benchmark tables: machine, versions, skipped peers, and load by other processes."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Results = Sequence[Mapping[str, Any]]

# With more, threads wait for cores that others use, and results for several threads are unreliable.
NOISY_CORES = 0.1


def heading(results: Results, what: str = "shape") -> list[str]:
    """Returns the machine, the versions of the peers, and skipped peers with reasons; ``what`` names a result."""
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
    version = ".".join(platform.release().split(".")[:2])  # the rest is the name of a build
    return {"cpu": result["cpu"], "isa": result["isa"], "system": f"{platform.system()} {version}"}


def bound_to(result: Mapping[str, Any]) -> str:
    threads, cores = result["threads"], ", ".join(map(str, result["cores"]))
    return f"{plural(threads, 'thread')}, process bound to core{'s' * (threads > 1)} {cores}"


def noise(results: Results, what: str) -> Iterator[str]:
    """Yields a line if other processes were busy; ``what`` names a result."""
    if busy := [result[what] for result in results if result["cores_busy_with_others"] > NOISY_CORES]:
        yield f"NOT QUIET, other processes kept more than {NOISY_CORES} cores busy, during: {', '.join(busy)}"


def plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number > 1)}"
