"""Options and checks that the commands of the benchmarks share."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import models
from compiler.commands.command_line import Parser, seconds
from compiler.workloads.database import Records
from compiler.workloads.target import usable_cores

RECORDS = Path("results/records.sqlite")  # `pytest benchmarks --benchmark --bench-trials N` writes it
DURATION = 5.0


def add_measuring(parser: Parser, what: str) -> None:
    """Adds ``--duration`` and ``--records``; ``what`` is the thing that is timed."""
    about = f"seconds of timed runs per {what}, with at least one run in each round (default: {DURATION:g})"
    parser.add_argument("--duration", type=seconds, default=DURATION, metavar="S", help=about)
    about = f"file of tuned schedules, which may be missing (default: {RECORDS})"
    parser.add_argument("--records", type=Path, default=RECORDS, metavar="FILE", help=about)


def check_model(name: str) -> None:
    """
    Raises:
        ValueError: there is no such model, or its package is missing.
    """
    if reason := models.missing(name):
        raise ValueError(reason)


def check_records(path: Path) -> None:
    """
    Raises:
        ValueError: the file exists and is not a file of records.
    """
    if path.exists():
        Records(path).close()


def thread_counts(text: str) -> list[int]:
    """Parses numbers of threads such as 1,2."""
    counts = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if not all(1 <= count <= usable_cores() for count in counts):
        raise argparse.ArgumentTypeError(f"must be numbers between 1 and {usable_cores()} such as 1,2; got {text!r}")
    return counts
