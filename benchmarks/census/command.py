"""Checks the answers of the census.

``python -m benchmarks.census [MODEL ...] [--threads 1,2] [--json FILE]``

For each model, ONNX Runtime without its optimizations is the reference. After each graph pass, the model must still run
in ONNX Runtime and agree. Then it is compiled and run. Its outputs must agree within 1e-4 of their scale (float16: four
steps), or three times the difference of ONNX Runtime's answers with and without its optimizations; those of a quantized
model within the effect of one step of quantization (``compiler.check.reference.steps``); integers must be equal. Every
check is in a separate process. The exit code is 1 if a model is wrong, or fails other than by one clear line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import thread_counts
from benchmarks.models import census
from compiler.commands.command_line import Parser, add_version, check_file, exit_code
from compiler.measure import isolated
from compiler.workloads.target import usable_cores

LIMIT_SECS = 900.0  # of one check


def main(argv: Sequence[str] | None = None) -> int:
    about = "Compiles the real models of the census and compares their answers with ONNX Runtime."
    parser = Parser(prog="python -m benchmarks.census", description=about)
    add_version(parser)
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="some of the census (default: all that were fetched)")
    counts = [count for count in (1, 2) if count <= usable_cores()]
    add(
        "--threads", type=thread_counts, default=counts, metavar="N,...", help="default: 1,2, as far as there are cores"
    )
    add("--json", type=Path, metavar="FILE", help="write the results to this file")
    add("--stage", choices=("passes", "build"), help=argparse.SUPPRESS)  # in the process of one check
    arguments = parser.parse_args(argv)

    def work() -> int:
        if arguments.stage:
            return check(arguments.stage, arguments.models[0], arguments.threads[0], arguments.json)
        return run(arguments.models, arguments.threads, arguments.json)

    return exit_code(parser, work)


def run(names: Sequence[str], threads: Sequence[int], json_file: Path | None) -> int:
    """Checks models, prints the table and returns the exit code.

    Raises:
        ValueError: an unknown model, one that was not fetched, or none at all was fetched.
    """
    check_file(json_file)
    here = census.fetched(names)
    results = [_checked(name, threads) for name in here]
    from benchmarks.census import report

    print("\n".join(report.lines(results)))
    if json_file:
        json_file.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if report.bad(results) else 0


def _checked(name: str, threads: Sequence[int]) -> dict[str, Any]:
    print(f"{name} ...", file=sys.stderr, flush=True)
    builds = {count: _in_a_process("build", name, count) for count in threads}
    return {"model": name, "passes": _in_a_process("passes", name, 1), "builds": builds}


def _in_a_process(stage: str, name: str, threads: int) -> dict[str, Any]:
    """Returns the result of one check; one that crashes, hangs or fails is a result too."""
    try:
        return isolated.run("benchmarks.census", [name, "--stage", stage, "--threads", str(threads)], LIMIT_SECS)
    except RuntimeError as error:
        return {"outcome": "failed", "why": (str(error).strip().splitlines() or ["no message"])[-1]}


def check(stage: str, name: str, threads: int, json_file: Path) -> int:
    """Runs one check in this process and writes its result."""
    from benchmarks.census import check as checks

    work: Callable[[], dict[str, Any]] = (
        (lambda: checks.passes(name)) if stage == "passes" else (lambda: checks.build(name, threads))
    )
    json_file.write_text(json.dumps(work()))
    return 0
