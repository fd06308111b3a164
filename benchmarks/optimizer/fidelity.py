"""The difference between networks with ImageNet weights and their quantized forms.

``python -m benchmarks.optimizer.fidelity [MODEL ...] [--data DIR] [--adaround] [--json FILE]``

24 crops of 6 photos calibrate, 140 crops of 14 other photos are compared (:mod:`benchmarks.optimizer.datasets.photos`):
SQNR of the logits, and the share of crops with the same class.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks import models
from benchmarks.optimizer.datasets import photos
from compiler.commands.command_line import Parser, add_version, check_file, exit_code
from compiler.commands.output import write_json

DEFAULT = ("mobilenetv2", "efficientnet-lite0")


def main(argv: Sequence[str] | None = None) -> int:
    about = "Compares quantized networks with themselves in floating point."
    parser = Parser(prog="python -m benchmarks.optimizer.fidelity", description=about)
    add_version(parser)
    add = parser.add_argument
    add("models", nargs="*", default=DEFAULT, metavar="MODEL", help=f"default: {', '.join(DEFAULT)}")
    add("--data", type=Path, default=photos.FOLDER, metavar="DIR", help=f"of the photos (default: {photos.FOLDER})")
    add("--adaround", action="store_true", help="measure that, too: minutes")
    add("--json", type=Path, metavar="FILE", help="write the results to FILE")
    arguments = parser.parse_args(argv)
    return exit_code(parser, partial(_work, arguments))


def _work(arguments: argparse.Namespace) -> int:
    check_file(arguments.json)
    from optimizer import METHODS, quantize
    from optimizer.fidelity import compared
    from optimizer.graphs import inputs_of
    from optimizer.session import Session

    calibration, other = photos.load(arguments.data)
    ways = [(method, corrected, False) for method in METHODS for corrected in (False, True)]
    ways += [(method, True, True) for method in METHODS] if arguments.adaround else []
    rows = []
    for name in arguments.models:
        model = models.load(name)
        (value,) = (each.name for each in inputs_of(model))
        floating = Session(model)
        answers = [floating({value: crop[None]}) for crop in other]
        for method, corrected, rounded in ways:
            start = time.perf_counter()
            found = quantize(model, {value: calibration}, method, corrected, adaround=rounded)
            secs = time.perf_counter() - start
            session = Session(found.model)
            (output,) = answers[0]
            changed = (session({value: crop[None]})[output] for crop in other)
            near = compared(output, zip((each[output] for each in answers), changed, strict=True))
            how = f"{method}{', biases corrected' if corrected else ''}{', adaround' if rounded else ''}"
            rows.append({"model": name, "how": how, **near.to_json(), "seconds": secs})
            print(f"{name}, {how}: {near.sqnr_db:.1f} dB, {near.agreement:.1%}, quantized in {secs:.0f} s", flush=True)
    write_json(arguments.json, {"calibration": len(calibration), "compared": len(other), "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
