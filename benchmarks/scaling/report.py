"""The tables of the three measurements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.heading import NOISY_CORES, machine_line, noise, plural, versions
from benchmarks.scaling.known import Known
from benchmarks.scaling.predict import (
    MOST_IMBALANCE,
    MOST_INFLATION,
    Costs,
    Prediction,
    largest_error,
    one_thread_secs,
    predicted_secs,
    within,
)
from benchmarks.scaling.simulated import Call
from compiler.measure.levels import LEVELS, Level
from graph_passes.report import amount, columns

TRUSTED = 0.2  # the largest relative error of a prediction that is trusted
_LAYERS = ("layer", "op", "used", "regions", "µs on 1", "work", "imbalance", "µs", "speed-up")
_PREDICTIONS = (
    *("threads", "work", "regions", "ms, longest shares", "ms, serial", "ms, forks and joins", "ms", "speed-up"),
)


def prediction_lines(predictions: Sequence[Prediction], costs: Costs, known: Known | None) -> Iterator[str]:
    """Yields the costs that are assumed, and a line per number of threads."""
    yield f"costs: {costs.about}"
    joins = (f"{each.threads}: {costs.fork_join_secs(each.threads) * 1e6:.1f}" for each in predictions)
    yield f"fork and join of a region, µs by threads: {', '.join(joins)}"
    reads = (f"{each.threads}: {costs.memory_gbs(each.threads):.0f}" for each in predictions)
    yield f"memory, GB/s by threads: {', '.join(reads)}"
    rows = [_PREDICTIONS, *map(_prediction, predictions)]
    measured = known.speedups if known else {}
    if measured:
        added = ["measured"] + [_times(measured.get(each.threads)) for each in predictions]
        rows = [(*row, cell) for row, cell in zip(rows, added, strict=True)]
    yield columns(rows, left=())
    if known:
        error = largest_error({each.threads: each.speedup for each in predictions}, measured)
        trust = "trusted" if error <= TRUSTED else "not trusted"
        yield f"compared with {known.about}: largest error {error:.0%}; a prediction within {TRUSTED:.0%} is {trust}"


def _prediction(each: Prediction) -> tuple[str, ...]:
    return (
        str(each.threads),
        f"{each.inflation:.2f}",
        str(each.regions),
        f"{(each.longest_secs - each.serial_secs) * 1e3:.2f}",
        f"{each.serial_secs * 1e3:.2f}",
        f"{each.join_secs * 1e3:.2f}",
        f"{each.secs * 1e3:.2f}",
        _times(each.speedup),
    )


def layer_lines(one: Sequence[Call], calls: Sequence[Call], threads: int, costs: Costs) -> Iterator[str]:
    """Yields a line per call, those that miss a target marked, and their number.

    ``work`` is the sum of the shares over the time on one thread, ``imbalance`` the longest over the mean share.
    """
    secs = one_thread_secs(one)
    levels: list[Level] = [level for level in LEVELS if any(level in (call.traffic or {}) for call in calls)]
    rows: list[Sequence[str]] = [(*_LAYERS, *(f"{level}, B" for level in levels), "")]
    for call in calls:
        alone = secs.get(call.name)
        predicted = predicted_secs(call, costs)
        rows.append(
            (
                *(call.name[:40], call.op, str(call.threads), str(len(call.regions))),
                f"{alone * 1e6:.0f}" if alone else "",
                f"{call.work_secs / alone:.2f}" if alone else "",
                f"{call.imbalance:.2f}",
                f"{predicted * 1e6:.0f}",
                _times(alone / predicted) if alone and predicted else "",
                *(amount(call.traffic.get(level, 0)) if call.traffic else "" for level in levels),
                "" if within(call, alone, threads) else "!",
            )
        )
    yield columns(rows, left=(0, 1))
    good = [call for call in calls if within(call, secs.get(call.name), threads)]
    yield (
        f"{plural(threads, 'thread')}: {len(good)} of {plural(len(calls), 'call')} with work at most "
        f"{MOST_INFLATION:g} and imbalance at most {MOST_IMBALANCE:g} or fewer threads; ! marks the others"
    )


def curve_lines(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields the machine, the versions, and the times of each engine with its speed-up."""
    yield machine_line(results[0])
    yield from (f"{name}: {version}" for name, version in versions(results).items())
    for name, reason in {item for result in results for item in result["skipped"].items()}:
        yield f"{name}: skipped, {reason}"
    yield from noise(results, "name")
    counts = sorted({result["threads"] for result in results})
    rows: list[Sequence[str]] = [
        ("ms, median", "engine", *(plural(count, "thread") for count in counts), "speed-up at most")
    ]
    for name, engines in times(results).items():
        for engine, secs in engines.items():
            cells = [f"{secs[count] * 1e3:.3f}" if count in secs else "" for count in counts]
            best = max(speedups(secs).values(), default=None)
            rows.append((name, "ours" if engine == "default" else engine, *cells, _times(best)))
    yield columns(rows, left=(0, 1))


def times(results: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, dict[int, float]]]:
    """Returns seconds by name, engine and number of threads."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for result in results:
        for engine, secs in result["secs"].items():
            found.setdefault(result["name"], {}).setdefault(engine, {})[result["threads"]] = secs
    return found


def speedups(secs: Mapping[int, float]) -> dict[int, float]:
    """Returns the speed-ups over one thread; empty if that was not measured."""
    return {threads: secs[1] / each for threads, each in secs.items()} if 1 in secs else {}


def disturbed_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yields the machine, and a line per disturbance: times on one and on all threads, and the target."""
    threads = str(result["threads"])
    yield machine_line(result)
    quiet = result["runs"][0]
    if quiet["cores_busy_with_others"] > NOISY_CORES:
        yield f"NOT QUIET, other processes kept {quiet['cores_busy_with_others']:.1f} cores busy without the neighbor"
    kinds = ("mean", "median", "p99")
    rows: list[Sequence[str]] = [
        (
            f"{result['name']}, neighbor on one core",
            *(f"ms, {kind} on {count}" for kind in kinds for count in ("1", threads)),
            "ratio of means",
            "at most",
        )
    ]
    for run in result["runs"]:
        ratio = run["mean_secs"][threads] / run["mean_secs"]["1"]
        cells = [f"{run[f'{kind}_secs'][count] * 1e3:.1f}" for kind in kinds for count in ("1", threads)]
        most = "" if run["most"] is None else f"{run['most']:g}{'' if ratio <= run['most'] else ' missed'}"
        rows.append((run["disturbance"], *cells, f"{ratio:.2f}", most))
    yield columns(rows, left=(0,))


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
