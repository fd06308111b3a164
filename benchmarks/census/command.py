"""Compiles the models of the census, checks their answers and measures them next to other runtimes.

``python -m benchmarks.census [MODEL ...] [--threads 1,2] [--isa ISA] [--tune] [--answers | --profile] [--page FOLDER]``

Answers: ONNX Runtime without its optimizations is the reference. After each graph pass, the model must still run
in ONNX Runtime and agree. Then it is compiled and run. Its outputs must agree within 1e-4 of their scale (float16: four
steps), or three times the difference of ONNX Runtime's answers with and without its optimizations; those of a quantized
model within the effect of one step of quantization (``compiler.check.reference.steps``); integers must be equal.

Times: ``benchmarks.census.speed``. Every check and every measurement is in a separate process. The exit code is 1 if a
model is wrong, or fails other than by one clear line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.command import thread_counts
from benchmarks.models import census
from benchmarks.models.fetch import fetch
from compiler.commands.command_line import Parser, add_version, check_file, check_folder, exit_code, seconds
from compiler.measure import affinity, isolated
from compiler.workloads.target import Target, usable_cores

LIMIT_SECS = 900.0  # of one check
ISAS = ("avx2", "avx512")


@dataclass(frozen=True)
class Measuring:
    """What is measured of each model.

    Attributes:
        threads: the numbers of threads.
        duration: seconds of timed runs per runtime; None measures no times.
        isa: the instruction set that ours is limited to; None for that of this CPU.
        tune: whether ours is ``build(tune=True)``.
    """

    threads: Sequence[int]
    duration: float | None = 1.0
    isa: str | None = None
    tune: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    about = "Compiles the real models of the census, checks their answers and compares their times."
    parser = Parser(prog="python -m benchmarks.census", description=about)
    add_version(parser)
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="some of the census (default: all that were fetched)")
    counts = [count for count in (1, 2) if count <= usable_cores()]
    add(
        "--threads", type=thread_counts, default=counts, metavar="N,...", help="default: 1,2, as far as there are cores"
    )
    add("--isa", choices=ISAS, help="limit our code to an instruction set; the other runtimes cannot be limited")
    add("--tune", action="store_true", help="measure build(tune=True), which may leave a model to ONNX Runtime")
    about = "seconds of timed runs per runtime, with at least one run in each of 10 rounds (default: 1)"
    add("--duration", type=seconds, default=1.0, metavar="S", help=about)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--answers", action="store_true", help="check answers only")
    about = "print where the time goes in our program and in ONNX Runtime instead"
    what.add_argument("--profile", action="store_true", help=about)
    add("--fetch", action="store_true", help="download what is missing first, all or the given models")
    add("--page", type=Path, metavar="FOLDER", help="write census.md and census.png into this folder")
    add("--json", type=Path, metavar="FILE", help="write the results to this file")
    add("--stage", choices=("passes", "build", "times", "start"), help=argparse.SUPPRESS)  # in the process of one check
    add("--runtime", help=argparse.SUPPRESS)
    add("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)

    def work() -> int:
        if arguments.stage:
            return stage(arguments)
        check_arguments(arguments)
        if arguments.fetch and fetch([census.model(name) for name in arguments.models or census.CENSUS]):
            print("Continuing with the models that were fetched.", file=sys.stderr)
        if arguments.profile:
            return profile(arguments.models, arguments.threads, arguments.isa)
        duration = None if arguments.answers else arguments.duration
        measuring = Measuring(arguments.threads, duration, arguments.isa, arguments.tune)
        return run(arguments.models, measuring, arguments.json, arguments.page)

    return exit_code(parser, work)


def check_arguments(arguments: argparse.Namespace) -> None:
    """Checks, before anything is measured, what a census would otherwise find only at its end.

    Raises:
        ValueError: a file that cannot be written, options without an effect, or an ISA that this CPU does not have.
    """
    if arguments.page and (arguments.answers or arguments.profile):
        raise ValueError("argument --page: a page has times, so it takes neither --answers nor --profile")
    if arguments.json and arguments.profile:
        raise ValueError("argument --json: not allowed with argument --profile")
    if arguments.isa:
        Target.from_host(isa=arguments.isa)
    if arguments.page:
        from benchmarks.census.page import FILES

        check_folder(arguments.page, *FILES)
    check_file(arguments.json)


def run(names: Sequence[str], measuring: Measuring, json_file: Path | None, page: Path | None = None) -> int:
    """Checks and measures models, prints the table and returns the exit code.

    Raises:
        ValueError: an unknown model, one that was not fetched, or none at all was fetched.
    """
    here = census.fetched(names)
    results: list[dict[str, Any]] = []
    for place, name in enumerate(here, start=1):
        print(f"{name} ({place} of {len(here)}) ...", file=sys.stderr, flush=True)
        results.append(_measured(name, measuring))
        if json_file:  # after each model, because a census takes long
            json_file.write_text(json.dumps(results, indent=1) + "\n")
    from benchmarks.census import report

    print("\n".join(report.lines(results)))
    if page:
        from benchmarks.census.page import write

        write(results, page)
    return 1 if report.bad(results) else 0


def profile(names: Sequence[str], threads: Sequence[int], isa: str | None) -> int:
    """Prints the profiles of models.

    Raises:
        ValueError: an unknown model, or one that was not fetched.
    """
    from benchmarks.census import profiles

    for name in census.fetched(names):
        for count in threads:
            print(f"{name}, threads: {count}")
            print("\n".join(profiles.lines(name, count, isa)))
    return 0


def _measured(name: str, measuring: Measuring) -> dict[str, Any]:
    result: dict[str, Any] = {"model": name, "passes": _in_a_process("passes", name, 1)}
    isa = ["--isa", measuring.isa] if measuring.isa else []
    result["builds"] = {count: _in_a_process("build", name, count, isa) for count in measuring.threads}
    if measuring.duration is not None:
        options = ["--duration", str(measuring.duration), *isa, *["--tune"] * measuring.tune]
        result["times"] = {
            count: _in_a_process("times", name, count, options)
            for count in measuring.threads
            if result["builds"][count]["outcome"] == "agrees"
        }
    return result


def _in_a_process(stage: str, name: str, threads: int, options: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the result of one check; one that crashes, hangs or fails is a result too."""
    arguments = [name, "--stage", stage, "--threads", str(threads), *options]
    try:
        return isolated.run("benchmarks.census", arguments, LIMIT_SECS)
    except RuntimeError as error:
        return {"outcome": "failed", "why": (str(error).strip().splitlines() or ["no message"])[-1]}


def stage(arguments: argparse.Namespace) -> int:
    """Runs one check or measurement in this process and writes its result."""
    [name], [threads] = arguments.models, arguments.threads
    if arguments.stage in ("passes", "build"):
        from benchmarks.census.check import build, passes

        result = passes(name) if arguments.stage == "passes" else build(name, threads, arguments.isa)
    else:
        affinity.pin(threads)
        from benchmarks.census import speed

        if arguments.stage == "times":
            result = speed.times(name, threads, arguments.duration, arguments.isa, arguments.tune)
        else:
            result = speed.start(name, arguments.runtime, arguments.file, threads)
    arguments.json.write_text(json.dumps(result))
    return 0
