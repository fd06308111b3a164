"""The lines above the tables of a benchmark: machine, versions, skipped baselines, noise."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Results = Sequence[Mapping[str, Any]]

# If others keep more cores busy, threads wait for cores, and results for several threads mean little.
NOISY_CORES = 0.1


def heading(results: Results, what: str = "shape") -> list[str]:
    """Returns the machine, the versions of the baselines, and the skipped ones; ``what`` is the key of a name."""
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
    """Returns the machine of a result in one line."""
    about = machine(result)
    return f"{about['cpu']}, {about['isa']}, {about['system']}"


def versions(results: Results) -> dict[str, str]:
    """Returns the version of each baseline."""
    return {name: version for result in results for name, version in result["versions"].items()}


def _places(shapes: Sequence[str], results: Results) -> str:
    distinct = list(dict.fromkeys(shapes))
    return "everywhere" if len(shapes) == len(results) else ", ".join(distinct)


def machine(result: Mapping[str, Any]) -> dict[str, str]:
    """Returns the CPU, the ISA and the operating system of a result."""
    version = ".".join(platform.release().split(".")[:2])  # the rest identifies a build, which does not affect speed
    return {"cpu": result["cpu"], "isa": result["isa"], "system": f"{platform.system()} {version}"}


def pinned_to(result: Mapping[str, Any]) -> str:
    """Returns the threads and cores of a result in one phrase."""
    threads, cores = result["threads"], ", ".join(map(str, result["cores"]))
    return f"{plural(threads, 'thread')}, process pinned to core{'s' * (threads > 1)} {cores}"


def noise(results: Results, what: str) -> Iterator[str]:
    """Yields a warning if other processes were active; ``what`` is the key of a name."""
    if busy := [result[what] for result in results if result["cores_busy_with_others"] > NOISY_CORES]:
        yield f"NOT QUIET, other processes kept more than {NOISY_CORES} cores busy, during: {', '.join(busy)}"


def plural(number: int, noun: str) -> str:
    """Returns a number with its noun."""
    return f"{number} {noun}{'s' * (number > 1)}"
