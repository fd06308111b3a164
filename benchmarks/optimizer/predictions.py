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
    if unknown := [name for name in arguments.models if name not in models.MODELS]:
        raise ValueError(f"unknown model {unknown[0]!r}; choose from: {', '.join(models.MODELS)}")
    import kernels

    print(f"{kernels.cpu_name()}; threads: {arguments.threads}; shares of the original's latency", flush=True)
    found = []
    for name in arguments.models:
        rows = list(_predictions(models.load(name), arguments.threads, arguments.plans))
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


def _predictions(model: onnx.ModelProto, threads: int, count: int) -> Iterator[dict[str, Any]]:
    from optimizer.prune import STEP, problem_of
    from optimizer.pruning import fitting
    from optimizer.pruning.prepared import prepared
    from optimizer.pruning.solver import Solver

    problem = problem_of(prepared(model), None, "magnitude", threads, STEP)
    predictor = fitting.predictor(problem, "kernels", threads)
    corrected, _ = fitting.fitted(problem, predictor, fitting.Limit(share=CORRECTED), threads)
    price = predictor.cost()
    solver = Solver(problem.choices, price, price)
    turns = fitting.Turns(fitting.compiled(problem.model, threads))
    seen = {corrected}
    for share in np.linspace(LEAST, MOST, count):
        widths = solver.solve(float(share))
        if widths is None or widths in seen:
            continue
        seen.add(widths)
        measured = turns.share(fitting.compiled(problem.variant(widths), threads))
        yield {"predicted": price(widths), "measured": measured}


if __name__ == "__main__":
    sys.exit(main())
