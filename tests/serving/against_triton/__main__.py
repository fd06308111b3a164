"""Compares the answers of the inference server with those of Triton's own, for Triton's clients and KServe's.

``python -m tests.serving.against_triton --triton FOLDER [--kserve PYTHON] [--only TEXT] [--json FILE]``

Both servers have the same models, which return their inputs. Each combination of data type, encoding and client is sent
to both. Arrays are compared bit for bit, and names, types, shapes, ids, parameters, places of outputs and codes of
errors as they are.
FOLDER is that of ``python -m benchmarks.serving``. PYTHON is an interpreter with KServe's package. Returns 1 if there
is a difference that ``known.py`` does not list, or one that it lists is no longer there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.serving.servers import loopwright, triton
from compiler.commands.command_line import Parser, check_file, exit_code
from compiler.measure import affinity
from tests.serving.against_triton import (
    client_cases,
    error_cases,
    kserve_cases,
    memory_cases,
    message_cases,
    models,
    report_cases,
)
from tests.serving.against_triton.answers import Answer
from tests.serving.against_triton.compare import differences, lines
from tests.serving.against_triton.connections import Case, Connections, connect
from tests.serving.against_triton.known import KNOWN, NOT_SENT

_FILES = (client_cases, message_cases, memory_cases, error_cases, report_cases)


def main(argv: Sequence[str] | None = None) -> int:
    about = "Compares the answers of the inference server with Triton's."
    parser = Parser(prog="python -m tests.serving.against_triton", description=about)
    add = parser.add_argument
    add("--triton", type=Path, metavar="FOLDER", required=True, help="the folder of Triton")
    add("--kserve", type=Path, metavar="PYTHON", help="an interpreter with KServe's clients (default: without them)")
    add("--only", default="", metavar="TEXT", help="combinations whose names have this text (default: all)")
    add("--json", type=Path, metavar="FILE", help="write the differences to this file")
    options = parser.parse_args(argv)
    return exit_code(parser, lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Starts the servers, sends all combinations and prints the table. Returns 1 as the module says.

    Raises:
        ValueError: there is no Triton in the folder.
        RuntimeError: a server is missing, fails or does not answer.
    """
    check_file(options.json)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loopwright-against-triton-")))
        models.write_ours(folder / "ours")
        (folder / "triton").mkdir()
        cores = affinity.usable()
        ours = stack.enter_context(loopwright(folder / "ours", folder / "ours.log", cores))
        theirs = stack.enter_context(triton(options.triton.resolve(), folder / "triton", models.for_triton(), cores))
        pairs = dict(_answers(ours.ports, theirs.ports, options.kserve, options.only))
    found = [each for name, (own, other) in pairs.items() for each in differences(name, own, other, KNOWN)]
    used = {id(each.known) for each in found}
    stale = [] if options.only or not options.kserve else [rule for rule in KNOWN if id(rule) not in used]
    print("\n".join(lines(len(pairs), found, [rule for rule in KNOWN if id(rule) in used])))
    for rule in stale:
        print(f"no longer there: {rule}")
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
    return 1 if stale or any(each.known is None for each in found) else 0


def _answers(
    ours: Mapping[str, int], theirs: Mapping[str, int], kserve: Path | None, only: str
) -> Iterator[tuple[str, tuple[Answer, Answer]]]:
    """Yields the name of each combination and the answers of both servers."""
    with connect(ours) as own, connect(theirs) as other:
        for file in _FILES:
            for case in file.cases():
                if only in case.name and not any(fnmatchcase(case.name, each) for each in NOT_SENT):
                    yield case.name, (_send(case, own, "ours"), _send(case, other, "Triton"))
    if kserve:
        own_answers, other_answers = (kserve_cases.answers(kserve, ports) for ports in (ours, theirs))
        for name, answer in own_answers.items():
            if only in name:
                yield name, (answer, other_answers[name])


def _send(case: Case, connections: Connections, server: str) -> Answer:
    try:
        return case.send(connections)
    except Exception as error:
        raise RuntimeError(f"no answer of {server} to {case.name}: {type(error).__name__} {error}") from error


if __name__ == "__main__":
    sys.exit(main())
