"""``python -m optimizer search``: widths and precision under a limit of latency or of lost accuracy."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.commands.command_line import at_least, check_file, check_folder
from compiler.commands.output import print_table, progress, write, write_json
from compiler.installation import extras
from optimizer.commands.options import add_records, number
from optimizer.prune import IMPORTANCES, STEP
from optimizer.search import BY, JOINT, SHARES
from optimizer.training.settings import Training

if TYPE_CHECKING:
    from optimizer.search import Found

ABOUT = "prunes, distills and quantizes a model under a limit of latency or of lost accuracy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, default = parser.add_argument, Training()
    add("input", metavar="IN.onnx", type=Path, help="a trained classifier in floating point")
    add("output", metavar="OUT.onnx", type=Path, help="the model that meets the limit best")
    how = parser.add_mutually_exclusive_group(required=True)
    about = "milliseconds of one run; the most accurate candidate within is chosen"
    how.add_argument("--latency", type=number, metavar="MS", help=about)
    about = "percentage points of accuracy that may be lost; the fastest candidate within is chosen"
    how.add_argument("--max-drop", type=number, metavar="PP", help=about)
    about = "an .npz file, or a folder of .npy files: arrays by the names of the inputs, and labels"
    add("--data", metavar="DATA", type=Path, required=True, help=about)
    about = "the same for samples that are not trained on (default: 10 percent of the data)"
    add("--validation", metavar="DATA", type=Path, help=about)
    shares = ",".join(f"{share:g}" for share in SHARES)
    about = f"shares of the latency for which models are made, and --latency (default: {shares})"
    add("--shares", type=numbers, default=SHARES, metavar="S,S,...", help=about)
    about = "what a channel is worth, as for prune (default: taylor)"
    add("--importance", choices=tuple(IMPORTANCES), metavar="NAME", help=about)
    ways = "; ".join(f"{name}: {text}" for name, text in BY.items())
    about = f"how widths and precisions are chosen, one way or more: {ways} (default: {JOINT})"
    add("--by", type=names, default=(JOINT,), metavar="WAY,WAY,...", help=about)
    about = f"groups keep all channels, or a multiple of N (default: {STEP})"
    add("--step", type=at_least(1), default=STEP, metavar="N", help=about)
    about = f"passes over the data, for each width (default: {default.epochs})"
    add("--epochs", type=at_least(1), default=default.epochs, metavar="N", help=about)
    about = f"samples per step (default: {default.batch_size})"
    add("--batch-size", type=at_least(1), default=default.batch_size, metavar="N", help=about)
    about = f"the highest learning rate of AdamW (default: {default.learning_rate:g})"
    add("--learning-rate", type=number, default=default.learning_rate, metavar="R", help=about)
    add("--augment", metavar="CHANGES", help="random changes of images, as for distill")
    add("--seed", type=at_least(0), default=0, metavar="N", help="of the training (default: 0)")
    add("--threads", type=at_least(1), default=1, metavar="N", help="threads of measured runs (default: 1)")
    add("--training-threads", type=at_least(1), metavar="N", help="threads of training (default: PyTorch's choice)")
    add_records(parser)
    add("--report", type=Path, metavar="DIR", help="draw accuracy over latency into DIR: candidates.png")
    add("--json", type=Path, metavar="FILE", help="write the results to FILE")


def numbers(text: str) -> tuple[float, ...]:
    """Parses numbers that are separated by commas."""
    return tuple(number(part) for part in text.split(","))


def names(text: str) -> tuple[str, ...]:
    """Parses keys of ``BY`` that are separated by commas."""
    found = tuple(text.split(","))
    for name in found:
        if name not in BY:
            raise argparse.ArgumentTypeError(f"unknown way {name!r}; choose from: {', '.join(BY)}")
    return found


def run(arguments: argparse.Namespace) -> int:
    extras.require("training a model", "training")
    check_file(arguments.json)
    check_file(arguments.output)
    if arguments.report is not None:
        extras.require("--report", "plots")
        check_folder(arguments.report, "candidates.png")
    import onnx

    from optimizer.data import read
    from optimizer.search import search

    samples = read(arguments.data)
    validation = None if arguments.validation is None else read(arguments.validation)
    start = time.perf_counter()
    with progress("Searching") as show:
        found = search(
            arguments.input,
            samples,
            arguments.latency,
            arguments.max_drop,
            validation,
            Training(arguments.epochs, arguments.batch_size, arguments.learning_rate, seed=arguments.seed),
            arguments.augment,
            arguments.shares,
            arguments.importance,
            arguments.by,
            arguments.step,
            arguments.threads,
            arguments.training_threads,
            show,
            arguments.records,
        )
    seconds = time.perf_counter() - start
    chosen = found.chosen
    if chosen is not None:
        write(arguments.output, lambda path: onnx.save(chosen.model, path))
    if arguments.report is not None:
        from optimizer.candidates_picture import draw

        write(arguments.report / "candidates.png", lambda path: draw(found, path))
    _print(found)
    print(f"Searched in {seconds:.1f} s")
    if chosen is not None:
        print(f"Saved: {arguments.output}")
    write_json(
        arguments.json,
        {
            "input": str(arguments.input),
            "output": str(arguments.output),
            "latency": arguments.latency,
            "max_drop": arguments.max_drop,
            "threads": arguments.threads,
            "seconds": seconds,
            "candidates": [each.to_json() for each in found.candidates],
            "chosen": None if chosen is None else found.candidates.index(chosen),
            "unreached": [
                {"latency": None if limit.seconds is None else limit.seconds * 1e3, "share": limit.share}
                for limit in found.unreached
            ],
        },
    )
    if chosen is None:
        least = min(each.latency for each in found.candidates) * 1e3
        raise RuntimeError(f"no candidate takes at most {arguments.latency:g} ms: the least is {least:.3g} ms")
    return 0


def _print(found: Found) -> None:
    rows = [
        (
            "original" if each.plan is None else f"{each.share:.2f} of the latency",
            "" if each.plan is None else each.by,
            each.precision,
            f"{each.parameters:,}",
            f"{each.accuracy:.2%}",
            f"{each.latency * 1e3:.3f}",
            "chosen" if each is found.chosen else "*" if each.best else "",
        )
        for each in found.candidates
    ]
    print_table(("made for", "by", "precision", "parameters", "accuracy", "ms", ""), rows, left=[0, 1, 2, 6])
    print("*: no other candidate is both as fast and as accurate")
    for each in found.candidates:
        if each.in_float:
            print(f"In float32 in the mixed one for {each.share:.2f}: {', '.join(each.in_float)}")
    for limit in found.unreached:
        print(f"No choice reaches {limit}")
