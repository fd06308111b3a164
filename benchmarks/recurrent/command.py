"""Recurrent layers against ONNX Runtime.

``python -m benchmarks.recurrent [--cells lstm,gru] [--bidirectional] [--cold] [--threads 1,2] [--json FILE]``

Each layer is a model of one node, which both runtimes run in turns (``compiler.measure.sampling``) after their answers
were compared. A run is a call from Python, and includes the time that a runtime takes per call. Each number of threads
is a separate process, pinned to as many cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import thread_counts
from benchmarks.recurrent.layers import CELLS, workloads
from compiler.commands.command_line import Parser, add_version, check_file, exit_code, seconds
from compiler.measure import affinity, isolated
from compiler.workloads.target import usable_cores

_DURATION = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.recurrent", description="Compares recurrent layers with ONNX Runtime.")
    add_version(parser)
    add = parser.add_argument
    add(
        "--cells",
        type=_cells,
        default=["lstm", "gru"],
        metavar="C,...",
        help="some of lstm,gru,rnn (default: lstm,gru)",
    )
    add("--bidirectional", action="store_true", help="layers of two directions")
    add("--cold", action="store_true", help="weights come from memory, not from the caches; up to 10 steps")
    counts = [count for count in (1, 2) if count <= usable_cores()]
    shown = ",".join(map(str, counts))
    add("--threads", type=thread_counts, default=counts, metavar="N,...", help=f"default: {shown}")
    about = f"seconds of timed runs per layer and runtime (default: {_DURATION:g})"
    add("--duration", type=seconds, default=_DURATION, metavar="S", help=about)
    add("--json", type=Path, metavar="FILE", help="write the samples to this file")
    add("--measure", action="store_true", help=argparse.SUPPRESS)  # in the process of one number of threads
    arguments = parser.parse_args(argv)
    return exit_code(parser, lambda: measure(arguments) if arguments.measure else run(arguments))


def run(arguments: argparse.Namespace) -> int:
    """Measures the layers in one process per number of threads, and prints the table.

    Raises:
        RuntimeError: a measurement has failed.
    """
    check_file(arguments.json)
    results: list[dict[str, Any]] = []
    for threads in arguments.threads:
        print(f"{threads} of {usable_cores()} cores ...", file=sys.stderr, flush=True)
        options = ["--measure", "--threads", str(threads), "--cells", ",".join(arguments.cells)]
        options += ["--duration", str(arguments.duration)]
        options += ["--bidirectional"] * arguments.bidirectional + ["--cold"] * arguments.cold
        results += isolated.run("benchmarks.recurrent", options, isolated.time_limit(100 * arguments.duration))
    from benchmarks.recurrent import report

    print("\n".join(report.lines(results)))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def measure(arguments: argparse.Namespace) -> int:
    """Pins this process, measures all layers and writes the results.

    Raises:
        ValueError: an answer is wrong.
    """
    (threads,) = arguments.threads
    affinity.pin(threads)
    from benchmarks.recurrent.measure import measure_layer

    chosen = workloads(arguments.cells, 2 if arguments.bidirectional else 1, arguments.cold)
    results = [measure_layer(workload, threads, arguments.cold, arguments.duration) for workload in chosen]
    arguments.json.write_text(json.dumps(results))
    return 0


def _cells(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(CELLS):
        raise argparse.ArgumentTypeError(f"must be some of {','.join(CELLS)}; got {text!r}")
    return names
