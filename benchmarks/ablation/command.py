"""The contribution of each step: graph passes and, in our compiler, tuned schedules.

``python -m benchmarks.ablation [MODEL ...] [--runtime onnxruntime] [--threads 1,2] [--json FILE] [--png FILE]``

Each row adds one step to the row above. Each model runs in a separate process, pinned to its cores, in which all rows
take turns (``compiler.measure.sampling``). The answer of each row is checked first. The runtime is our compiler
(``benchmarks.ablation.own``), or ONNX Runtime without its own optimizations (``benchmarks.ablation.onnxruntime``). With
the latter, ``--whole`` measures all passes together, which is faster for many models.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.command import add_measuring, check_model, check_records, thread_counts
from compiler.commands.command_line import Parser, add_version, check_file, exit_code
from compiler.measure import affinity, isolated
from compiler.workloads.target import usable_cores

OWN, ONNX_RUNTIME = "loopwright", "onnxruntime"
RUNTIMES = (OWN, ONNX_RUNTIME)


@dataclass(frozen=True)
class Measuring:
    """How the rows are measured.

    Attributes:
        runtime: one of ``RUNTIMES``.
        whole: whether all passes are measured together, not one after the other.
        records: a file of tuned schedules, which may be missing.
        duration: seconds of timed runs per row.
    """

    runtime: str
    whole: bool
    records: Path
    duration: float


def main(argv: Sequence[str] | None = None) -> int:
    about = "Measures the contribution of each graph pass, of tuned schedules and of choices for the whole model."
    parser = Parser(prog="python -m benchmarks.ablation", description=about)
    add_version(parser)
    add = parser.add_argument
    add("models", nargs="*", default=["resnet50"], metavar="MODEL", help=f"some of {', '.join(models.MODELS)}")
    add("--runtime", choices=RUNTIMES, default=OWN, help=f"the runtime of the models (default: {OWN})")
    counts = [count for count in (1, 2) if count <= usable_cores()]
    shown = ",".join(map(str, counts))
    add("--threads", type=thread_counts, default=counts, metavar="N,...", help=f"default: {shown}")
    add("--whole", action="store_true", help=f"with {ONNX_RUNTIME}: only the model as published and with all passes")
    add_measuring(parser, "row")
    add("--json", type=Path, metavar="FILE", help="write the samples to this file")
    add("--png", type=Path, metavar="FILE", help="draw a picture into this file")
    add("--measure", action="store_true", help=argparse.SUPPRESS)  # in the process of one model
    arguments = parser.parse_args(argv)
    how = Measuring(arguments.runtime, arguments.whole, arguments.records, arguments.duration)

    def work() -> int:
        if arguments.measure:
            return measure(arguments.models[0], arguments.threads[0], how, arguments.json)
        return run(arguments.models, arguments.threads, how, arguments.json, arguments.png)

    return exit_code(parser, work)


def run(
    names: Sequence[str], threads: Sequence[int], how: Measuring, json_file: Path | None, png_file: Path | None
) -> int:
    """Measures models, each in a separate process per number of threads, prints the table and writes the files.

    Raises:
        ValueError: no such model, a missing package, or options that exclude each other.
        RuntimeError: a measurement has failed.
    """
    for name in names:
        check_model(name)
    for file in (json_file, png_file):
        check_file(file)
    if how.whole and how.runtime != ONNX_RUNTIME:
        raise ValueError(f"argument --whole: only with --runtime {ONNX_RUNTIME}")
    check_records(how.records)
    results = []
    for name in names:
        for count in threads:
            print(f"{name} on {count} of {usable_cores()} cores ...", file=sys.stderr, flush=True)
            results.append(_in_a_process(name, count, how))
    from benchmarks.ablation import report

    print("\n".join(report.lines(results)))
    if json_file:
        json_file.write_text(json.dumps(results, indent=1) + "\n")
    if png_file:
        report.draw(results, png_file)
    return 0


def _in_a_process(name: str, threads: int, how: Measuring) -> dict[str, Any]:
    arguments = [name, "--measure", "--threads", str(threads), "--runtime", how.runtime]
    arguments += ["--records", str(how.records), "--duration", str(how.duration)]
    arguments += ["--whole"] * how.whole
    return isolated.run("benchmarks.ablation", arguments, isolated.time_limit(how.duration))


def measure(name: str, threads: int, how: Measuring, json_file: Path) -> int:
    """Pins this process, measures one model and writes the result.

    Raises:
        WrongAnswerError: the answer of a row is wrong.
        RuntimeError, ValueError: as ``benchmarks.ablation.own.measure``.
    """
    cores = affinity.pin(threads)
    if how.runtime == OWN:
        from benchmarks.ablation import own

        result = own.measure(name, threads, how.records, how.duration)
    else:
        from benchmarks.ablation import onnxruntime

        rows = onnxruntime.WHOLE if how.whole else onnxruntime.ROWS
        result = onnxruntime.measure(name, threads, rows, how.duration)
    about = {"runtime": how.runtime, "model": name, "threads": threads, "cores": cores}
    json_file.write_text(json.dumps({**about, **result}))
    return 0
