"""Measured speed-ups: one model or layer on several numbers of threads, in our compiler and in other engines.

Each number of threads is a separate process, pinned to as many cores. In it the engines take turns in slices, and a
slice begins when the threads of the others sleep (``compiler.measure.sampling``).
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import models
from benchmarks.layers.measure import SAMPLES, SLICE_SECS
from compiler.measure import isolated

LIMIT_SECS = 600.0  # of one layer


def measure(name: str, threads: int, duration: float) -> dict[str, Any]:
    """Measures a model of ``benchmarks.models``, or a layer of ``benchmarks.layers``, with default schedules.

    Args:
        name: the name of the model or of the shape.
        threads: the number of threads.
        duration: seconds of timed runs per engine.

    Returns:
        Plain JSON: the median seconds of each engine, and about the machine.

    Raises:
        RuntimeError: the measurement has failed.
    """
    if name in models.MODELS:
        options = [name, "--threads", str(threads), "--default-schedules", "--duration", str(duration)]
        result = isolated.run("benchmarks.whole_models", options, isolated.time_limit(duration))
    else:
        samples = max(5, min(SAMPLES, round(duration / SLICE_SECS)))
        options = [name, "--threads", str(threads), "--samples", str(samples)]
        result = isolated.run("benchmarks.layers", options, LIMIT_SECS)
    return {
        "name": name,
        "threads": threads,
        "secs": {engine: _median(each["secs"]) for engine, each in result["implementations"].items()},
        **{key: result[key] for key in ("cpu", "isa", "versions", "skipped", "cores_busy_with_others")},
    }


def _median(rounds: list[Any]) -> float:
    """Returns the median of samples: lists by round of a model, plain numbers of a layer."""
    return statistics.median(secs for each in rounds for secs in (each if isinstance(each, list) else [each]))
