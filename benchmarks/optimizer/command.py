"""What the model optimizer gains on Fashion-MNIST: accuracy and latency, with paired tests over several seeds.

``python -m benchmarks.optimizer [--data DIR] [--seeds 0,1,2] [--epochs N] [--json FILE] [--png FILE]``

For each seed a residual network is trained. It is pruned to a latency by the times of our kernels and by multiply-adds,
with the dense network as teacher; the widths of the first are also trained from labels alone, with the pruned weights
and from scratch; and dense and pruned networks are quantized. With ``--json``, seeds that the file has are not run
again, so that a long experiment can be interrupted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.optimizer import fashion_mnist
from compiler.commands.command_line import Parser, add_version, at_least, check_file, exit_code
from compiler.installation import extras


def main(argv: Sequence[str] | None = None) -> int:
    about = "Measures pruning, distillation and quantization on Fashion-MNIST."
    parser = Parser(prog="python -m benchmarks.optimizer", description=about)
    add_version(parser)
    add = parser.add_argument
    about = f"the folder of the data set (default: {fashion_mnist.FOLDER}; {fashion_mnist.INSTALL})"
    add("--data", type=Path, default=fashion_mnist.FOLDER, metavar="DIR", help=about)
    add("--seeds", type=_numbers, default=[0, 1, 2], metavar="N,...", help="default: 0,1,2")
    add("--epochs", type=at_least(1), default=12, metavar="N", help="of each of five trainings (default: 12)")
    about = "train on the first N images, and test on as many (default: all)"
    add("--images", type=at_least(100), metavar="N", help=about)
    about = "channels of the dense network (default: 16,32,64)"
    add("--widths", type=_numbers, default=[16, 32, 64], metavar="N,...", help=about)
    add("--threads", type=at_least(1), metavar="N", help="threads of trainings (default: PyTorch's choice)")
    add("--json", type=Path, metavar="FILE", help="keep the results of each seed in this file")
    add("--png", type=Path, metavar="FILE", help="draw a picture into this file")
    arguments = parser.parse_args(argv)

    def work() -> int:
        extras.require("this benchmark", "training")
        for path in (arguments.json, arguments.png):
            check_file(path)
        train, test = fashion_mnist.load(arguments.data)
        if arguments.images is not None:
            train, test = ({n: array[: arguments.images] for n, array in part.items()} for part in (train, test))
        from benchmarks.optimizer import report
        from benchmarks.optimizer.experiment import Plan, run

        plan = Plan(arguments.epochs, widths=tuple(arguments.widths), threads=arguments.threads)
        results = _kept(arguments.json)
        settings = {"epochs": plan.epochs, "widths": list(plan.widths), "images": len(test["labels"])}
        if any({key: result[key] for key in settings} != settings for result in results):
            raise ValueError(f"{arguments.json} has results of other settings; choose another file")
        for seed in arguments.seeds:
            if all(result["seed"] != seed for result in results):  # those of other settings are rejected above
                found = run(train, test, seed, plan, lambda text: print(text, "...", flush=True))
                results.append(found | {"images": len(test["labels"])})
                _keep(arguments.json, results)
        print("\n".join(report.lines(results)))
        if arguments.png is not None:
            report.draw(results, arguments.png)
        return 0

    return exit_code(parser, work)


_KEYS = {"seed", "epochs", "widths", "images", "rows"}


def _numbers(text: str) -> list[int]:
    parse = at_least(0)
    return [parse(part) for part in text.split(",")]


def _kept(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists() or not path.stat().st_size:
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a file of results: {error}") from None
    if not isinstance(found, list) or not all(isinstance(each, dict) and each.keys() >= _KEYS for each in found):
        raise ValueError(f"{path} is not a file of results")
    return found


def _keep(path: Path | None, results: list[dict[str, Any]]) -> None:
    if path is not None:
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(results) + "\n", encoding="utf-8")
        os.replace(partial, path)
