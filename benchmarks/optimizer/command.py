"""What the model optimizer gains on small images: accuracy and latency, with paired tests over several seeds.

``python -m benchmarks.optimizer [--dataset NAME] [--data DIR] [--seeds 0,1,2] [--keep DIR] [--json FILE] [--png FILE]``

For each seed a residual network is trained. It is pruned to a latency by the times of our kernels and by multiply-adds,
with the dense network as teacher; the widths of the first are also trained from labels alone, with the pruned weights
and from scratch. It is pruned to a fraction of its parameters, too, which learns from two dense networks, from each of
them, and from labels alone. Dense and pruned networks are quantized.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import kernels
from benchmarks.optimizer.datasets import DATASETS
from benchmarks.optimizer.settings import WIDTHS, Settings
from compiler.commands.command_line import Parser, add_version, at_least, check_file, exit_code
from compiler.installation import extras


def main(argv: Sequence[str] | None = None) -> int:
    about = "Measures pruning, distillation and quantization on small images."
    parser = Parser(prog="python -m benchmarks.optimizer", description=about)
    add_version(parser)
    add = parser.add_argument
    about = f"the images: {', '.join(DATASETS)} (default: fashion-mnist)"
    add("--dataset", choices=tuple(DATASETS), default="fashion-mnist", metavar="NAME", help=about)
    add("--data", type=Path, metavar="DIR", help="the folder of the data set (default: where its installation puts it)")
    add("--seeds", type=partial(_numbers, 0), default=[0, 1, 2], metavar="N,...", help="default: 0,1,2")
    about = "of each training that begins with random weights (default: 12)"
    add("--epochs", type=at_least(1), default=12, metavar="N", help=about)
    about = "epochs of pruned networks, which begin with trained weights (default: half of --epochs)"
    add("--tuning", type=at_least(1), metavar="N", help=about)
    about = "train on the first N images, and test on as many (default: all)"
    add("--images", type=at_least(100), metavar="N", help=about)
    widths = ",".join(map(str, WIDTHS))
    about = f"channels of the dense network (default: {widths})"
    add("--widths", type=partial(_numbers, 1), default=list(WIDTHS), metavar="N,...", help=about)
    about = "changes of images, as for python -m optimizer distill (default: flip)"
    add("--augment", default="flip", metavar="CHANGES", help=about)
    about = "percent of the parameters that the small networks lose; 0 makes none (default: 78)"
    add("--removed", type=at_least(0), default=78, metavar="N", help=about)
    add("--threads", type=at_least(1), metavar="N", help="threads of trainings (default: PyTorch's choice)")
    add("--keep", type=Path, metavar="DIR", help="keep trainings in this folder, from which the same command goes on")
    add("--json", type=Path, metavar="FILE", help="keep the results of each seed in this file")
    add("--png", type=Path, metavar="FILE", help="draw a picture into this file")
    arguments = parser.parse_args(argv)

    def work() -> int:
        extras.require("this benchmark", "training")
        if arguments.png is not None:
            extras.require("--png", "plots")
        for path in (arguments.json, arguments.png):
            check_file(path)
        if arguments.removed >= 100:
            raise ValueError("--removed must be below 100 percent")
        dataset = DATASETS[arguments.dataset]
        train, test = dataset.load(arguments.data or dataset.folder)
        if arguments.images is not None:
            train, test = (_first(part, arguments.images) for part in (train, test))
        from benchmarks.optimizer import report
        from benchmarks.optimizer.experiment import Experiment

        settings = Settings(
            arguments.epochs,
            arguments.tuning or max(1, arguments.epochs // 2),
            removed=arguments.removed / 100,
            widths=tuple(arguments.widths),
            augment=arguments.augment,
            threads=arguments.threads,
        )
        about = {
            "cpu": kernels.cpu_name(),
            "dataset": arguments.dataset,
            "images": len(test["labels"]),
            "settings": settings.to_json(),
        }
        results = _kept(arguments.json)
        if any({key: result[key] for key in about} != about for result in results):
            raise ValueError(f"{arguments.json} has results of other settings, or of another CPU; choose another file")
        if arguments.keep is not None:
            _check_kept(arguments.keep / arguments.dataset / "settings.json", about)
        with contextlib.ExitStack() as stack:
            keep = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for seed in arguments.seeds:
                if all(result["seed"] != seed for result in results):  # those of other settings are rejected above
                    folder = keep / arguments.dataset / str(seed)
                    results.append(about | Experiment(train, test, seed, settings, folder, _say).run())
                    _keep(arguments.json, results)
        print("\n".join(report.lines(results)))
        if arguments.png is not None:
            report.draw(results, arguments.png)
        return 0

    return exit_code(parser, work)


_KEYS = {"seed", "dataset", "images", "settings", "rows"}


def _first(part: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Returns some of the images: random ones, because they may be in the order of their classes."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(part["labels"]))[:count])
    return {name: array[chosen] for name, array in part.items()}


def _check_kept(path: Path, about: Mapping[str, Any]) -> None:
    """Keeps with trainings how they were made.

    Raises:
        ValueError: there are trainings of other settings; the message is one line.
    """
    text = json.dumps(about, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        raise ValueError(f"{path.parent} has trainings of other settings, or of another CPU; choose another folder")


def _say(text: str) -> None:
    print(text, "...", flush=True)


def _numbers(least: int, text: str) -> list[int]:
    parse = at_least(least)
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
