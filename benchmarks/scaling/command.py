"""Speed-ups on many threads.

``python -m benchmarks.scaling curves [--model M,...] [--layer SHAPE,...] [--threads 1,2,...]`` measures models and
layers in our compiler and in other engines, on as many cores as threads.

``python -m benchmarks.scaling simulate [--model M,...] [--threads 4,8,16]`` needs one core: it runs the shares of each
layer one by one, and predicts the speed-up on cores that are not here. ``--against FILE`` compares the prediction with
the curve that ``curves --json FILE`` measured on a machine with more cores; ``--against past`` with one that is part of
this project.

``python -m benchmarks.scaling disturbed [--model M]`` measures next to a process that keeps one of the cores busy.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.command import thread_counts
from benchmarks.heading import NOISY_CORES
from compiler.commands.command_line import Parser, add_version, at_least, check_file, exit_code, seconds
from compiler.measure import affinity
from compiler.workloads.target import usable_cores

PROG = "python -m benchmarks.scaling"
MODEL = "resnet50-v1.5"
SIMULATED = [4, 8, 16]


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog=PROG, description="Measures and predicts speed-ups on many threads.")
    add_version(parser)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="curves|simulate|disturbed", parser_class=Parser)
    works = {"curves": curves, "simulate": simulate, "disturbed": disturbed}
    _curves_options(kinds.add_parser("curves", help="models and layers in all engines, on the cores of this machine"))
    _simulate_options(kinds.add_parser("simulate", help="shares one by one on one core, and predicted speed-ups"))
    _disturbed_options(kinds.add_parser("disturbed", help="next to a process that keeps one core busy"))
    arguments = parser.parse_args(argv)
    return exit_code(parser, lambda: works[arguments.kind](arguments))


def _curves_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--model", type=_names, default=[MODEL], metavar="M,...", help=f"models (default: {MODEL}); '' for none")
    add("--layer", type=_names, default=[], metavar="SHAPE,...", help="layers of benchmarks.layers (default: none)")
    counts = [1 << power for power in range(10) if 1 << power <= usable_cores()]
    shown = ",".join(map(str, counts))
    add("--threads", type=thread_counts, default=counts, metavar="N,...", help=f"default: {shown}")
    _common_options(parser, "engine", 5.0)
    add("--png", type=Path, metavar="FILE", help="draw a picture into this file")


def _simulate_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--model", type=_names, default=[MODEL], metavar="M,...", help=f"models, of the census too (default: {MODEL})")
    shown = ",".join(map(str, SIMULATED))
    add("--threads", type=_any_counts, default=SIMULATED, metavar="N,...", help=f"any numbers (default: {shown})")
    add("--layers", action="store_true", help="a table of all layers for each number of threads")
    about = "measure each share in runs without the others, so that caches have only its own data; answers are wrong"
    add("--alone", action="store_true", help=about)
    about = "costs of threads: a file of `python -m kernels.calibrate` (default: of this CPU, or interpolated)"
    add("--machine", type=Path, metavar="FILE", help=about)
    about = "assume that a parallel region costs FIRST µs on two threads, and EACH µs for each further one"
    add("--fork-join", type=_fork_join, metavar="FIRST,EACH", help=about)
    about = "compare with a measured curve: a file of `curves --json`, or past, with the costs that explain it"
    add("--against", metavar="FILE", help=about)
    _common_options(parser, "program", 5.0)
    add("--png", type=Path, metavar="FILE", help="draw a picture into this file")


def _disturbed_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--model", default=MODEL, metavar="M", help=f"default: {MODEL}")
    most = usable_cores()
    add("--threads", type=at_least(2), default=max(2, most), metavar="N", help=f"default: {max(2, most)}")
    _common_options(parser, "program and disturbance", 10.0)


def _common_options(parser: Parser, what: str, duration: float) -> None:
    about = f"seconds of runs per {what} (default: {duration:g})"
    parser.add_argument("--duration", type=seconds, default=duration, metavar="S", help=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")


def curves(arguments: argparse.Namespace) -> int:
    """Measures curves, prints the table and draws the picture.

    Raises:
        ValueError: an unknown model or layer, or none.
        RuntimeError: a measurement has failed.
    """
    from benchmarks import models
    from benchmarks.layers.groups import find
    from benchmarks.scaling import chart, report
    from benchmarks.scaling.curves import measure

    names = [*arguments.model, *arguments.layer]
    if not names:
        raise ValueError("nothing to measure: give --model or --layer")
    for name in arguments.model:
        if reason := models.missing(name):
            raise ValueError(reason)
    for name in arguments.layer:
        find(name)
    _check_files(arguments.json, arguments.png)
    results: list[dict[str, Any]] = []
    for name in names:
        for threads in arguments.threads:
            _progress(f"{name} on {threads} of {usable_cores()} cores")
            results.append(measure(name, threads, arguments.duration))
            _write(arguments.json, results)
    print("\n".join(report.curve_lines(results)))
    if arguments.png:
        panels = {
            name: {engine: report.speedups(secs) for engine, secs in engines.items()}
            for name, engines in report.times(results).items()
        }
        chart.draw(panels, [next(report.curve_lines(results))], arguments.png)
    return 0


def simulate(arguments: argparse.Namespace) -> int:
    """Simulates models on one core, prints predictions and draws the picture.

    Raises:
        ValueError: an unknown model, or a file that is not what it should be.
        RuntimeError: the runs of a program differ.
    """
    import kernels
    from benchmarks.heading import machine_line
    from benchmarks.scaling import chart, known, predict, programs, report, simulated
    from compiler.measure.idle import OthersWatch
    from compiler.workloads.target import Target

    for name in arguments.model:
        programs.check(name)
    _check_files(arguments.json, arguments.png)
    counts = sorted({1, *arguments.threads})
    machine = kernels.MachineModel.read(arguments.machine) if arguments.machine else programs.machine_for(counts[-1])
    curve = {name: known.known(arguments.against, name) if arguments.against else None for name in arguments.model}
    results, panels = [], {}
    kernels.MachineModel.host()  # with all cores: kernels take the cost of a thread from it
    with affinity.pinned(affinity.cores(1)):
        about = machine_line({"cpu": kernels.cpu_name(), "isa": Target.from_host(num_cores=1).isa})
        print(f"{about}, one core")
        for name in arguments.model:
            _progress(f"{name} with shares for {', '.join(map(str, counts))} threads")
            source = programs.source(name)
            built = {threads: programs.built(source, threads, machine) for threads in counts}
            others = OthersWatch()
            calls = simulated.measured(built, source.inputs, arguments.duration, arguments.alone)
            busy = others.busy_cores()
            costs = predict.costs_of(machine)
            measured = curve[name]
            if fork_join := arguments.fork_join or (measured and measured.fork_join):
                costs = predict.with_fork_join(costs, *fork_join)
            predictions = [predict.predict(calls[1], calls[threads], threads, costs) for threads in counts]
            how = "each alone" if arguments.alone else "one after the other"
            print(f"\n{name}: {len(calls[1])} calls, shares {how}; others kept {busy:.1f} cores busy")
            if busy > NOISY_CORES:
                print("NOT QUIET: times of others are in these figures; measure again")
            print("\n".join(report.prediction_lines(predictions, costs, measured)))
            for threads in arguments.threads if arguments.layers else ():
                print()
                print("\n".join(report.layer_lines(calls[1], calls[threads], threads, costs)))
            panels[name] = {"predicted": {each.threads: each.speedup for each in predictions}}
            if measured:
                panels[name]["known"] = measured.speedups
            results.append(
                {
                    "name": name,
                    "cores_busy_with_others": busy,
                    "alone": arguments.alone,
                    "costs": costs.about,
                    "predictions": [asdict(each) | {"speedup": each.speedup} for each in predictions],
                    "calls": {threads: [asdict(call) for call in of_count] for threads, of_count in calls.items()},
                }
            )
            _write(arguments.json, results)
    if arguments.png:
        chart.draw(panels, [f"{about}, one core"], arguments.png)
    return 0


def disturbed(arguments: argparse.Namespace) -> int:
    """Measures next to a busy process and prints the table.

    Raises:
        ValueError: an unknown model, or more threads than cores.
        RuntimeError: the neighbor did not start.
    """
    from benchmarks.scaling import programs, report
    from benchmarks.scaling.disturbed import DISTURBANCES, measured

    programs.check(arguments.model)
    check_file(arguments.json)
    if arguments.threads > usable_cores():
        raise ValueError(
            f"argument --threads: a disturbed run needs 2 to {usable_cores()} threads, as many as this process may "
            f"use cores; got {arguments.threads}"
            if usable_cores() > 1
            else "a disturbed run needs two cores; this process may use one"
        )
    _progress(f"{arguments.model}, about {2 * len(DISTURBANCES) * arguments.duration:.0f} s")
    with affinity.pinned(affinity.cores(arguments.threads)):
        cores = affinity.usable()
        result = measured(programs.source(arguments.model), arguments.threads, cores, arguments.duration)
    print("\n".join(report.disturbed_lines(result)))
    _write(arguments.json, result)
    return 0


def _check_files(*files: Path | None) -> None:
    for file in files:
        check_file(file)


def _progress(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)


def _write(file: Path | None, results: Any) -> None:
    if file:
        file.write_text(json.dumps(results, indent=1) + "\n")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _any_counts(text: str) -> list[int]:
    """Parses numbers of threads, which may exceed the cores."""
    from benchmarks.scaling.programs import MOST_THREADS

    counts = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if not all(1 <= count <= MOST_THREADS for count in counts):
        raise argparse.ArgumentTypeError(f"must be numbers between 1 and {MOST_THREADS} such as 4,16; got {text!r}")
    return sorted(set(counts))


def _fork_join(text: str) -> tuple[float, float]:
    """Parses two numbers of microseconds and returns seconds."""
    try:
        first, each = (float(part) * 1e-6 for part in text.split(","))
    except ValueError:
        first = each = -1.0
    if not (0 <= first < 1 and 0 <= each < 1):
        raise argparse.ArgumentTypeError(f"must be two numbers of µs such as 2,0.5; got {text!r}")
    return first, each
