"""Differential test: random models of every operator of ONNX through ``compiler.build``, against two oracles.

Example: ``python -m tests.compiler.differential --cases 20000 --graphs 2000 --failures build/failures``. The same seed
draws the same cases. A case passes, is not supported (``build`` raises a ValueError of one line), or fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.compiler.differential.generate import units
from tests.compiler.differential.operators import LEFT_OUT, STRATEGIES
from tests.compiler.differential.outcome import FAILURES
from tests.compiler.differential.report import Report
from tests.compiler.differential.run import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the failures and the table; returns 1 if a case failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.compiler.differential", description=__doc__)
    parser.add_argument("--cases", type=int, default=20000, help="models of one node (%(default)s)")
    parser.add_argument("--graphs", type=int, default=2000, help="models of 2 to 8 nodes (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ops", type=lambda text: tuple(text.split(",")), default=(), help="such as Resize,Pad")
    parser.add_argument("--jobs", type=int, default=2, help="processes that run cases at the same time (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts and failures")
    parser.add_argument("--failures", type=Path, metavar="DIR", help="write a model and its inputs per failure")
    parser.add_argument("--discards", action="store_true", help="print why cases were discarded or not supported")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.ops) - set(STRATEGIES)):
        reasons = [f"{name} ({LEFT_OUT.get(name, 'no such operator')})" for name in unknown]
        parser.error(f"no cases of {', '.join(reasons)}")
    report = run(units(options.cases, options.graphs, options.seed, options.ops), options.jobs, progress=True)
    _print(report, options.failures, options.discards)
    if options.json:
        options.json.write_text(json.dumps(report.to_json(), indent=1))
    return bool(report.failed)


def _print(report: Report, folder: Path | None, discards: bool) -> None:
    if discards:
        for (operator, kind), reasons in sorted(report.reasons.items()):
            for reason, count in reasons.most_common(6):
                print(f"{operator}: {kind} {count} times: {reason}")
    for failure in _sorted(report):
        where = f" -> {failure.save(folder)}" if folder else ""
        names = f" ({', '.join(failure.case.operators)})" if len(failure.case.operators) > 1 else ""
        print(f"{failure.operator}{names}: {failure.kind} {failure.count} times, smallest: {failure.reason}{where}")
    print(report.table())


def _sorted(report: Report) -> Iterable:
    return sorted(report.failures.values(), key=lambda f: (f.operator, FAILURES.index(f.kind), -f.count))


if __name__ == "__main__":
    sys.exit(main())
