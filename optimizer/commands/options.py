"""Options of several commands."""

from __future__ import annotations

import argparse
import math
from pathlib import Path


def add_records(parser: argparse.ArgumentParser) -> None:
    """Adds ``--records``."""
    about = "a records file that keeps the measured times of our kernels, for the next time (default: none)"
    parser.add_argument("--records", type=Path, metavar="FILE", help=about)


def number(text: str) -> float:
    """Parses a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value
