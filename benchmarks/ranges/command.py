"""One program for ranges of sizes against programs for single sizes.

``python -m benchmarks.ranges [--sizes 1x1,8x512] [--threads 1,2] [--json FILE]``

The model is MiniLM for batches of 1 to 8 texts of 1 to 512 tokens. It is built once, saved and loaded again. At each
size, another program is built for this size alone, and both run in turns (``compiler.measure.sampling``) after their
answers were compared. Each number of threads is a separate process, pinned to as many cores.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import thread_counts
from compiler.commands.command_line import Parser, add_version, check_file, exit_code, seconds
from compiler.measure import affinity, isolated
from compiler.workloads.target import usable_cores

_DURATION = 2.0
_SIZES = "1x1,1x7,1x16,1x47,1x64,1x128,1x333,1x512,2x33,3x101,4x256,8x1,8x13,8x64,8x200,8x512"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.ranges", description="Compares one program for all sizes with others.")
    add_version(parser)
    add = parser.add_argument
    add("--sizes", type=_sizes, default=_sizes(_SIZES), metavar="BxS,...", help=f"texts x tokens (default: {_SIZES})")
    counts = [count for count in (1, 2) if count <= usable_cores()]
    add("--threads", type=thread_counts, default=counts, metavar="N,...", help=f"default: {','.join(map(str, counts))}")
    about = f"seconds of timed runs per size and program (default: {_DURATION:g})"
    add("--duration", type=seconds, default=_DURATION, metavar="S", help=about)
    add("--json", type=Path, metavar="FILE", help="write the samples to this file")
    add("--measure", action="store_true", help=argparse.SUPPRESS)  # in the process of one number of threads
    arguments = parser.parse_args(argv)
    return exit_code(parser, lambda: measure(arguments) if arguments.measure else run(arguments))


def run(arguments: argparse.Namespace) -> int:
    """Measures in one process per number of threads, and prints the table.

    Raises:
        RuntimeError: a measurement has failed.
    """
    check_file(arguments.json)
    results: list[dict[str, Any]] = []
    for threads in arguments.threads:
        print(f"{threads} of {usable_cores()} cores ...", file=sys.stderr, flush=True)
        options = ["--measure", "--threads", str(threads), "--duration", str(arguments.duration)]
        options += ["--sizes", ",".join(f"{batch}x{tokens}" for batch, tokens in arguments.sizes)]
        limit = isolated.time_limit(len(arguments.sizes) * arguments.duration)
        results += isolated.run("benchmarks.ranges", options, limit)
    from benchmarks.ranges import report

    print("\n".join(report.lines(results)))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def measure(arguments: argparse.Namespace) -> int:
    """Pins this process, measures all sizes and writes the results.

    Raises:
        ValueError: an answer is wrong.
        RuntimeError: the model is not installed.
    """
    (threads,) = arguments.threads
    affinity.pin(threads)
    from benchmarks.ranges.measure import measured

    arguments.json.write_text(json.dumps(measured(arguments.sizes, threads, arguments.duration)))
    return 0


def _sizes(text: str) -> list[tuple[int, int]]:
    sizes = []
    for size in text.split(","):
        found = re.fullmatch(r"([1-8])x([0-9]{1,3})", size)
        if found is None or not 1 <= int(found[2]) <= 512:
            raise argparse.ArgumentTypeError(f"{size!r} is not a size from 1x1 to 8x512")
        sizes.append((int(found[1]), int(found[2])))
    return sizes
