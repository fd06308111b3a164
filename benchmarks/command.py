"""What commands that measure whole models have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import models
from compiler.commands.command_line import Parser
from compiler.commands.options import seconds
from compiler.workloads.database import Records

RECORDS = Path("results/records.sqlite")  # where `pytest benchmarks --benchmark` keeps them
DURATION = 5.0


def add_measuring(parser: Parser, what: str) -> None:
    """How long, and with which records."""
    about = f"seconds of timed runs for each {what}; at least one run in each round (default: {DURATION:g})"
    parser.add_argument("--duration", type=seconds, default=DURATION, metavar="S", help=about)
    about = f"tuned schedules; the file may be missing (default: {RECORDS})"
    parser.add_argument("--records", type=Path, default=RECORDS, metavar="FILE", help=about)


def check_model(name: str) -> None:
    """
    Raises:
        ValueError: there is no such model, or its package is missing here.
    """
    if reason := models.missing(name):
        raise ValueError(reason)


def check_records(path: Path) -> None:
    """
    Raises:
        ValueError: there is a file, and it is no file of records.
    """
    if path.exists():
        Records(path).close()


def exit_code(parser: Parser, work: Callable[[], None]) -> int:
    """Does the work: 0, or 1 after a line on standard error.

    Raises:
        SystemExit: 2 after such a line, where the fault is in what was given.
    """
    try:
        work()
    except (ValueError, OSError) as error:
        parser.error(_line(error))
    except (ArithmeticError, ImportError, MemoryError, RuntimeError) as error:
        print(f"{parser.prog}: {_line(error) or 'out of memory'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return 130
    return 0


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
