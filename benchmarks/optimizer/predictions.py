"""How well the optimizer predicts the latency of pruned models that it has not measured.

``python -m benchmarks.optimizer.predictions [MODEL ...] [--threads N] [--plans N] [--json FILE]``

For each model the costs are corrected as for a limit of latency. Then plans for other limits are chosen, and each is
compiled and measured in turns with the original.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import models
from compiler.commands.command_line import Parser, add_version, at_least, check_file, exit_code
from compiler.commands.output import print_table, write_json

if TYPE_CHECKING:
    import onnx

    from compiler import CompiledModel
    from optimizer.pruning.costs import Cost
    from optimizer.pruning.fitting import Predictor

DEFAULT = ("mobilenetv2", "resnet50")
CORRECTED = 0.6  # the share of the latency for which the costs are corrected
LEAST, MOST = 0.5, 0.95  # shares for which plans are predicted


def main(argv: Sequence[str] | None = None) -> int:
    about = "Compares predicted with measured latencies of pruned models."
    parser = Parser(prog="python -m benchmarks.optimizer.predictions", description=about)
    add_version(parser)
    add = parser.add_argument
    about = f"some of {', '.join(models.MODELS)} (default: {', '.join(DEFAULT)})"
    add("models", nargs="*", default=DEFAULT, metavar="MODEL", help=about)
    add("--threads", type=at_least(1), default=1, metavar="N", help="default: 1")
    add("--plans", type=at_least(1), default=10, metavar="N", help="of each model (default: 10)")
    add("--json", type=Path, metavar="FILE", help="write the results to FILE")
    arguments = parser.parse_args(argv)
    return exit_code(parser, partial(_work, arguments))


def _work(arguments: argparse.Namespace) -> int:
    check_file(arguments.json)
    import kernels

    print(f"{kernels.cpu_name()}; threads: {arguments.threads}; shares of the original's latency", flush=True)
    found = []
    for name in arguments.models:
        rows = list(_predictions(models.load(name), arguments.threads, arguments.plans))
        if not rows:
            print(f"{name}: no plan differs from the original", flush=True)
            continue
        errors = [abs(row["predicted"] / row["measured"] - 1) for row in rows]
        cells = [
            (
                name,
                f"{row['predicted']:.3f}",
                f"{row['measured']:.3f}",
                f"{row['predicted'] / row['measured'] - 1:+.1%}",
            )
            for row in rows
        ]
        print_table(("model", "predicted", "measured", "error"), cells, left=(0,))
        print(f"{name}: median error {np.median(errors):.1%}, largest {max(errors):.1%}", flush=True)
        found += [{"model": name} | row for row in rows]
    write_json(arguments.json, {"cpu": kernels.cpu_name(), "threads": arguments.threads, "plans": found})
    return 0


class Remembering:
    """A predictor that records by which widths it was corrected."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.corrected: set[tuple[int, ...]] = set()

    def cost(self) -> Cost:
        return self._predictor.cost()

    def correct(self, model: onnx.ModelProto, compiled: CompiledModel, kept: Sequence[int], share: float) -> None:
        self.corrected.add(tuple(kept))
        self._predictor.correct(model, compiled, kept, share)


def _predictions(model: onnx.ModelProto, threads: int, count: int) -> Iterator[dict[str, Any]]:
    from optimizer.prune import STEP, problem_of
    from optimizer.pruning import fitting
    from optimizer.pruning.prepared import prepared
    from optimizer.pruning.solver import Solver

    problem = problem_of(prepared(model), None, "magnitude", threads, STEP)
    predictor = Remembering(fitting.predictor(problem, "kernels", threads))
    fitting.fitted(problem, predictor, fitting.Limit(share=CORRECTED), threads)
    price = predictor.cost()
    solver = Solver(problem.choices, price, price)
    turns = fitting.Turns(fitting.compiled(problem.model, threads))
    seen = predictor.corrected
    for share in np.linspace(LEAST, MOST, count):
        widths = solver.solve(float(share))
        if widths is None or widths in seen:
            continue
        seen.add(widths)
        measured = turns.share(fitting.compiled(problem.variant(widths), threads))
        yield {"predicted": price(widths), "measured": measured}


if __name__ == "__main__":
    sys.exit(main())
