"""Imports the models of the census into TVM with TVM's own ONNX importer.

``python -m benchmarks.tvm_import [MODEL ...] [--forms published,default,for_tvm] [--run] [--json FILE]``

Each model is imported as published, after the default graph passes, and after those of ``graph_passes.FOR_TVM``; the
answers of the rewritten models in ONNX Runtime are compared with those of the published one, as in
``python -m benchmarks.census``. With ``--run``, the imported modules are also compiled by TVM, and their answers are
compared. Every check is in a separate process. The exit code is 1 if a rewritten model has other answers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.models import census
from benchmarks.tvm_import.check import FORMS
from compiler.commands.command_line import Parser, add_version, check_file, exit_code
from compiler.measure import isolated

LIMIT_SECS = 600.0  # of one check


def main(argv: Sequence[str] | None = None) -> int:
    about = "Imports the real models of the census into TVM, as published and after graph passes."
    parser = Parser(prog="python -m benchmarks.tvm_import", description=about)
    add_version(parser)
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="some of the census (default: all that were fetched)")
    add("--forms", type=_forms, default=FORMS, metavar="FORM,...", help=f"some of {', '.join(FORMS)} (default: all)")
    add("--run", action="store_true", help="also compile and run the modules in TVM, which takes minutes")
    add("--json", type=Path, metavar="FILE", help="write the results to this file")
    add("--stage", choices=(*FORMS, "run"), help=argparse.SUPPRESS)  # in the process of one check
    arguments = parser.parse_args(argv)

    def work() -> int:
        if arguments.stage:
            return check(arguments.stage, arguments.models[0], arguments.json)
        stages = (*arguments.forms, *(["run"] if arguments.run else []))
        return run(arguments.models, stages, arguments.json)

    return exit_code(parser, work)


def run(names: Sequence[str], stages: Sequence[str], json_file: Path | None) -> int:
    """Checks models, prints the table and returns the exit code.

    Raises:
        ValueError: an unknown model, one that was not fetched, or none at all was fetched.
    """
    check_file(json_file)
    here = census.fetched(names)
    results = []
    for name in here:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results.append({"model": name, **{stage: _in_a_process(stage, name) for stage in stages}})
    from benchmarks.tvm_import import report

    print("\n".join(report.lines(results)))
    if json_file:
        json_file.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if report.bad(results) else 0


def _in_a_process(stage: str, name: str) -> dict[str, Any]:
    """Returns the result of one check; one that crashes, hangs or fails is a result too."""
    try:
        return isolated.run("benchmarks.tvm_import", [name, "--stage", stage], LIMIT_SECS)
    except RuntimeError as error:
        why = (str(error).strip().splitlines() or ["no message"])[-1]
        return {"imported": False, "agrees": None, "runs": False, "operator": "?", "why": why}


def check(stage: str, name: str, json_file: Path) -> int:
    """Runs one check in this process and writes its result."""
    from benchmarks.tvm_import import check as checks

    work: Callable[[], dict[str, Any]] = (
        (lambda: checks.run(name)) if stage == "run" else (lambda: checks.imported(name, stage))
    )
    json_file.write_text(json.dumps(work()))
    return 0


def _forms(text: str) -> tuple[str, ...]:
    forms = tuple(form.strip() for form in text.split(","))
    for form in forms:
        if form not in FORMS:
            raise argparse.ArgumentTypeError(f"there is no form {form!r}; choose from: {', '.join(FORMS)}")
    return forms
