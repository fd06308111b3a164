"""Measures the effect of each step: graph passes and, in our own compiler, tuned schedules.

``python -m benchmarks.ablation [MODEL ...] [--runtime onnxruntime] [--threads 1,2] [--json FILE] [--png FILE]``

Each row adds one step to the row above. Every model runs in a separate process, bound to its cores. The outputs of all
rows are checked, then the rows are measured interleaved (``compiler.measure.sampling``). The runtime is our own
compiler (``benchmarks.ablation.own``), or ONNX Runtime without its own optimizations
(``benchmarks.ablation.onnxruntime``), for which ``--whole`` measures all passes together.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.command import add_measuring, check_model, check_records, exit_code
from compiler.commands.command_line import Parser, check_file
from compiler.measure import affinity, isolated
from compiler.workloads.target import usable_cores

OWN, ONNX_RUNTIME = "loopwright", "onnxruntime"
RUNTIMES = (OWN, ONNX_RUNTIME)


def main(argv: Sequence[str] | None = None) -> int:
    about = "Measures the effect of each graph pass, of tuned schedules and of choices for entire models."
    parser = Parser(prog="python -m benchmarks.ablation", description=about)
    add = parser.add_argument
    add(
        "models",
        nargs="*",
        default=["resnet50"],
        metavar="MODEL",
        help=f"models to measure, from: {', '.join(models.MODELS)}",
    )
    add("--runtime", choices=RUNTIMES, default=OWN, help=f"the runtime of the models (default: {OWN})")
    counts = [count for count in (1, 2) if count <= usable_cores()]
    shown = ",".join(map(str, counts))
    add("--threads", type=_counts, default=counts, metavar="N,...", help=f"numbers of threads (default: {shown})")
    add("--whole", action="store_true", help=f"with {ONNX_RUNTIME}: only the published model and all passes")
    add_measuring(parser, "row")
    add("--json", type=Path, metavar="FILE", help="write the samples to FILE")
    add("--png", type=Path, metavar="FILE", help="draw a picture to FILE")
    add("--measure", action="store_true", help=argparse.SUPPRESS)  # in the process of one model
    arguments = parser.parse_args(argv)
    return exit_code(parser, lambda: _measure(arguments) if arguments.measure else _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    for name in arguments.models:
        check_model(name)
    for file in (arguments.json, arguments.png):
        check_file(file)
    if arguments.whole and arguments.runtime != ONNX_RUNTIME:
        raise ValueError(f"argument --whole: requires --runtime {ONNX_RUNTIME}")
    check_records(arguments.records)
    results = []
    for name in arguments.models:
        for threads in arguments.threads:
            print(f"{name} on {threads} of {usable_cores()} cores ...", file=sys.stderr, flush=True)
            results.append(_in_a_process(name, threads, arguments))
    from benchmarks.ablation import report as ablation_report

    print("\n".join(ablation_report.lines(results)))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.png:
        ablation_report.draw(results, arguments.png)


def _in_a_process(name: str, threads: int, arguments: argparse.Namespace) -> dict[str, Any]:
    given = [name, "--measure", "--threads", str(threads), "--runtime", arguments.runtime]
    given += ["--records", str(arguments.records), "--duration", str(arguments.duration)]
    given += ["--whole"] * arguments.whole
    return isolated.run("benchmarks.ablation", given, isolated.time_limit(arguments.duration))


def _measure(arguments: argparse.Namespace) -> None:
    (name,), (threads,) = arguments.models, arguments.threads
    cores = affinity.pin(threads)
    if arguments.runtime == OWN:
        from benchmarks.ablation import own as ablation_own

        result = ablation_own.measure(name, threads, arguments.records, arguments.duration)
    else:
        from benchmarks.ablation import onnxruntime as ablation_onnxruntime

        rows = ablation_onnxruntime.WHOLE if arguments.whole else ablation_onnxruntime.ROWS
        result = ablation_onnxruntime.measure(name, threads, rows, arguments.duration)
    about = {"runtime": arguments.runtime, "model": name, "threads": threads, "cores": cores}
    arguments.json.write_text(json.dumps({**about, **result}))


def _counts(text: str) -> list[int]:
    counts = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if not all(1 <= count <= usable_cores() for count in counts):
        raise argparse.ArgumentTypeError(f"must be counts between 1 and {usable_cores()} such as 1,2; got {text!r}")
    return counts
