"""``bench --api`` and ``bench --scenario``: requests one after the other or many at once, in several runtimes."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compiler import runtimes
from compiler.commands import arrays, options
from compiler.commands.command_line import at_least, check_folder, seconds
from compiler.commands.comparison import allowed_difference, one_line
from compiler.commands.options import InputFile
from compiler.commands.output import print_table, progress, write_json
from compiler.commands.source import OnnxFile, SavedModel, source
from compiler.installation import extras
from compiler.measure import affinity, energy, loadgen
from compiler.measure.answers import agree
from compiler.measure.sampling import ROUNDS
from compiler.measure.throughput import Slice, Stream, gain, measure, run_slice, summary
from compiler.runtimes import OURS, RuntimeUnavailable, streams
from compiler.runtimes.base import Run, version
from compiler.workloads.target import usable_cores

ESTIMATE_SECS = 0.5  # of the estimate of the rate that LoadGen expects


@dataclass(frozen=True)
class Mode:
    """What to measure.

    Attributes:
        api: sync or async.
        scenario: one of LoadGen's; None without LoadGen.
        count: the number of streams.
        threads: the number of threads of each.
        latency_bound: seconds, in Server.
        logs: a folder for LoadGen's logs; None deletes them.
    """

    api: str
    scenario: str | None
    count: int
    threads: int
    latency_bound: float
    logs: Path | None

    def __str__(self) -> str:
        which = f"LoadGen's scenario {self.scenario}" if self.scenario else self.api
        return f"{which}: streams: {self.count}, threads of each: {self.threads}"


@dataclass(frozen=True)
class Engine:
    """A loaded model: one stream per request at once, and the difference from our answers, None for ours."""

    name: str
    version: str
    streams: tuple[Stream, ...]
    difference: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("requests at once, and LoadGen")
    add = group.add_argument
    add("--api", choices=("sync", "async"), help="one request after the other, or one per stream at any time")
    about = "number of streams of async, Offline and Server, or auto: one per physical core (default: auto)"
    add("--streams", type=_streams, metavar="N", help=about)
    about = "run MLCommons LoadGen for at least --duration; needs the extra 'loadgen'"
    add("--scenario", choices=loadgen.SCENARIOS, help=about)
    add("--latency-bound", type=seconds, metavar="MS", help="milliseconds that 99 %% of Server's requests may take")
    add("--logs", type=Path, metavar="DIR", help="keep LoadGen's logs in this folder")


def wanted(arguments: argparse.Namespace) -> bool:
    """Returns whether the arguments require this module.

    Raises:
        ValueError: an option that needs another one, or two that exclude each other.
    """
    if arguments.api and arguments.scenario:
        raise ValueError("argument --scenario: LoadGen issues the requests itself; leave out --api")
    if arguments.streams is not None and not _many(arguments):
        raise ValueError("argument --streams: only with --api async, --scenario Offline or --scenario Server")
    if (arguments.latency_bound is not None) != (arguments.scenario == "Server"):
        raise ValueError("argument --latency-bound: --scenario Server needs it, and nothing else takes it")
    if arguments.logs is not None and not arguments.scenario:
        raise ValueError("argument --logs: only with --scenario")
    return bool(arguments.api or arguments.scenario)


def run(arguments: argparse.Namespace, peers: Callable[[OnnxFile | SavedModel], Sequence[str]]) -> int:
    """Measures, prints, and returns the exit code: 1 if an answer is wrong; ``peers`` chooses the other runtimes."""
    if arguments.scenario:
        extras.require("--scenario", "loadgen")
    if arguments.logs is not None:
        check_folder(arguments.logs)
    build = options.build_options(arguments)
    model = source(arguments.model, build, arguments.input)
    many = _many(arguments)
    count, threads = _division(model, arguments.streams, arguments.threads) if many else (1, model.target.num_cores)
    if threads != model.target.num_cores:
        model = source(arguments.model, dataclasses.replace(build, threads=threads), arguments.input)
    api = "async" if many else "sync"
    mode = Mode(api, arguments.scenario, count, threads, (arguments.latency_bound or 0.0) * 1e-3, arguments.logs)
    return _bench(model, mode, peers(model), arguments.input, arguments.duration, arguments.pin, arguments.json)


def _many(arguments: argparse.Namespace) -> bool:
    """Returns whether there are several requests at once."""
    return arguments.api == "async" or arguments.scenario in ("Offline", "Server")


def _streams(text: str) -> int | str:
    return text if text == "auto" else at_least(1)(text)


def _division(model: OnnxFile | SavedModel, given: int | str | None, threads: int | None) -> tuple[int, int]:
    """Returns the number of streams, and that of threads of each, which together occupy all threads."""
    total = threads or min(affinity.physical(), usable_cores())
    if isinstance(model, SavedModel):
        each = model.target.num_cores
        count = given if isinstance(given, int) else max(1, total // each)
        if each > 1 and count * each > usable_cores():
            raise ValueError(
                f"argument --streams: {count} streams of {each} threads need {count * each} cores, and there are "
                f"{usable_cores()}; --threads 1 gives each stream one thread"
            )
        return count, each
    count = given if isinstance(given, int) else total
    if count > total:
        raise ValueError(f"argument --streams: {count} streams need as many threads, and there are {total}")
    return count, total // count


def _bench(
    model: OnnxFile | SavedModel,
    mode: Mode,
    peers: Sequence[str],
    given: Sequence[InputFile],
    duration: float,
    pin: bool,
    json_file: Path | None,
) -> int:
    inputs, random = arrays.inputs(given, model.inputs)
    cores = affinity.cores(mode.count * mode.threads) if pin else []
    print(*model.summary(), *arrays.about_random(random), mode, sep="\n", flush=True)
    print(f"Pinned to cores {', '.join(map(str, cores))}" if cores else "Not pinned", flush=True)
    with affinity.pinned(cores), ExitStack() as opened:
        engines, left_out = _engines(model, mode, peers, inputs, cores, opened)
        for reason in left_out.values():
            print(f"Left out: {reason}", flush=True)
        if mode.scenario:
            results = [_loadgen(engine, mode, mode.scenario, duration) for engine in engines]
        else:
            results = _api(engines, _batch(model), duration)
    limit = allowed_difference(model.frozen(), model.precision) if peers and isinstance(model, OnnxFile) else 0.0
    write_json(
        json_file,
        model.to_json()
        | {
            "api": mode.api,
            "scenario": mode.scenario,
            "streams": mode.count,
            "threads_per_stream": mode.threads,
            "latency_bound": mode.latency_bound or None,
            "random_inputs": random,
            "cores": cores or None,
            "duration": duration,
            "results": results,
            "left_out": left_out,
        },
    )
    wrong = [each for each in engines if each.difference is not None and each.difference > limit]
    for each in wrong:
        print(f"{each.name} and {OURS} differ by {each.difference:.2g} of an output's scale; one of them is wrong")
    return 1 if wrong else 0


def _engines(
    model: OnnxFile | SavedModel,
    mode: Mode,
    peers: Sequence[str],
    inputs: Mapping[str, np.ndarray],
    cores: Sequence[int],
    opened: ExitStack,
) -> tuple[list[Engine], dict[str, str]]:
    """Loads the model into ours and the others; returns the reasons why others are left out, too."""
    places = [tuple(cores[at * mode.threads : (at + 1) * mode.threads]) for at in range(mode.count)]
    compiled = model.compiled()
    ours = [compiled.run] if mode.count == 1 else streams.of(compiled, places)
    pinned = [Stream(partial(run, inputs), place) for run, place in zip(ours, places, strict=True)]
    engines = [Engine(OURS, version("loopwright"), tuple(pinned), None)]
    left_out: dict[str, str] = {}
    if not peers or not isinstance(model, OnnxFile):
        return engines, left_out
    proto, expected = model.frozen(), ours[0](inputs)
    for name in peers:
        try:
            with progress(f"Loading the model into {name}"):
                runs: list[Run]
                if mode.api == "sync":
                    loaded = opened.enter_context(runtimes.load(name, proto, mode.threads, model.operators))
                    runs = [loaded.run]
                else:
                    runs = streams.load(name, proto, mode.count, mode.threads, model.operators)
        except RuntimeUnavailable as error:
            left_out[name] = one_line(error)
            continue
        try:
            difference = agree(expected, runs[0](inputs))
        except Exception as error:  # noqa: BLE001 - the errors of the runtimes share no base class
            left_out[name] = f"{name} fails on this model: {one_line(error)}"
            continue
        # Their own threads place themselves; with one thread per stream, that of the caller computes in ONNX Runtime.
        theirs = places if name == "onnxruntime" and len(runs) == len(places) else [()] * len(runs)
        all_streams = tuple(Stream(partial(run, inputs), place) for run, place in zip(runs, theirs, strict=True))
        engines.append(Engine(name, version(runtimes.RUNTIMES[name].PACKAGES[0]), all_streams, difference))
    return engines, left_out


def _batch(model: OnnxFile | SavedModel) -> int:
    """Returns the first size that all inputs share, or 1."""
    sizes = {spec.shape[0] for spec in model.inputs if spec.shape}
    return next(iter(sizes)) if len(sizes) == 1 else 1


def _api(engines: Sequence[Engine], batch: int, duration: float) -> list[dict[str, Any]]:
    """Measures the engines in turn, prints a table, and returns the results for JSON."""
    try:
        counters = energy.counters()
    except energy.EnergyUnavailable as error:
        counters = None
        print(f"No energy: {error}")
    with progress("Measuring") as shown:
        found = measure({each.name: each.streams for each in engines}, duration, ROUNDS, counters, shown)
    mine = found[engines[0].name]
    results = [_result(each, found[each.name], None if each is engines[0] else mine, batch) for each in engines]
    rows = [["Version", *(each.version for each in engines)]]
    for title, key, scale, form in (
        ("Requests at once", "requests", 1, "d"),
        ("Count", "count", 1, "d"),
        ("Duration, s", "duration", 1, ".2f"),
        ("Median, ms", "median", 1e3, ".3f"),
        ("Average, ms", "average", 1e3, ".3f"),
        ("Min, ms", "min", 1e3, ".3f"),
        ("Max, ms", "max", 1e3, ".3f"),
        ("p90, ms", "p90", 1e3, ".3f"),
        ("FPS", "fps", 1, ".2f"),
        ("Joules per request", "joules", 1, ".4g"),
    ):
        if all(each[key] is not None for each in results):
            rows.append([title, *(format(each[key] * scale, form) for each in results)])
    if len(engines) > 1:
        rows.append(["Difference", *("" if e.difference is None else f"{e.difference:.1e}" for e in engines)])
        for title, keys in (("FPS of ours / theirs", ("value",)), ("95 % interval", ("low", "high"))):
            cells = (r["gain"] and " to ".join(f"{r['gain'][key]:.3f}" for key in keys) for r in results)
            rows.append([title, *(cell or "" for cell in cells)])
    print()
    print_table(["", *(each.name for each in engines)], rows, left=(0,))
    print(f"FPS: {batch} × Count / Duration. Latencies are those of single requests.")
    return results


def _result(engine: Engine, slices: list[Slice], ours: list[Slice] | None, batch: int) -> dict[str, Any]:
    found = summary(slices)
    return {
        "name": engine.name,
        "version": engine.version,
        "requests": len(engine.streams),
        **dataclasses.asdict(found),
        "fps": found.rate * batch,
        "difference": engine.difference,
        "gain": None if ours is None else dataclasses.asdict(gain(ours, slices)),
    }


def _loadgen(engine: Engine, mode: Mode, scenario: str, secs: float) -> dict[str, Any]:
    """Runs LoadGen over one engine, prints its figures, and returns them for JSON."""
    rate = run_slice(engine.streams, ESTIMATE_SECS).rate
    number = iter(range(1000))

    def trial(rate: float) -> loadgen.Trial:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if mode.logs is not None:
                folder = mode.logs / f"{engine.name}-{next(number)}"
                check_folder(folder)
            return loadgen.run(scenario, engine.streams, secs, rate, mode.latency_bound, folder)

    with progress(f"LoadGen runs {engine.name}"):
        trials = loadgen.largest_valid(rate, trial) if scenario == "Server" else [trial(rate)]
    best = loadgen.best(trials)
    state = best.figures["result_validity"]
    result = f"{best.metric * 1e-6:.3f} ms at the 90th percentile" if scenario == "SingleStream" else ""
    result = result or f"{best.metric:.2f} samples per second"
    if scenario == "Server":
        result += f", target {best.rate:.2f}, {len(trials)} trials"
        result += "" if loadgen.is_bounded(trials) else ", all valid: a lower bound"
    print(f"{engine.name} {engine.version}: {scenario}: {result}: {state}", flush=True)
    if not best.valid and "result_invalid_reason" in best.figures:
        print(f"  {' '.join(best.figures['result_invalid_reason'].split())}")
    return {
        "name": engine.name,
        "version": engine.version,
        "difference": engine.difference,
        "valid": best.valid,
        "metric": loadgen.METRICS[scenario],
        "value": best.metric,
        "target_qps": best.rate if scenario == "Server" else None,
        "trials": [{"rate": each.rate, "figures": each.figures} for each in trials],
    }
