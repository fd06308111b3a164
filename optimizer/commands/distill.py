"""``python -m optimizer distill``: trains an ONNX model on labels and on other models' answers."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.commands.command_line import at_least, check_file, check_folder
from compiler.commands.output import print_table, progress, write, write_json
from compiler.installation import extras
from optimizer.commands.options import number
from optimizer.distill import BETA, HELD_OUT, LOSSES, WEIGHTS
from optimizer.torchrun import is_first
from optimizer.training.settings import Training

if TYPE_CHECKING:
    from optimizer.distill import Distilled

ABOUT = "trains a model on labels and on the answers of other models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, default = parser.add_argument, Training()
    about = "the student: a classifier in floating point, such as a pruned model"
    add("input", metavar="IN.onnx", type=Path, help=about)
    add("output", metavar="OUT.onnx", type=Path, help="the trained model")
    about = "a model whose probabilities the student learns; may be repeated"
    add("--teacher", action="append", default=[], type=Path, metavar="FILE", help=about)
    about = "an .npz file, or a folder of .npy files: arrays by the names of the inputs, and labels"
    add("--data", metavar="DATA", type=Path, required=True, help=about)
    about = f"the same for samples that are not trained on (default: {HELD_OUT:.0%} of the data)"
    add("--validation", metavar="DATA", type=Path, help=about)
    about = "what is learned from teachers. " + "; ".join(f"{name}: {text}" for name, text in LOSSES.items())
    add("--loss", choices=tuple(LOSSES), default="kd", metavar="NAME", help=f"{about} (default: kd)")
    add("--temperature", type=number, default=4.0, metavar="T", help="divides logits (default: 4)")
    about = "the share of the teachers in the loss; the rest is that of the labels (default: 0.9)"
    add("--alpha", type=number, default=0.9, metavar="A", help=about)
    about = "how much each of several teachers counts. " + "; ".join(f"{n}: {text}" for n, text in WEIGHTS.items())
    add("--weights", choices=tuple(WEIGHTS), default="mean", metavar="NAME", help=f"{about} (default: mean)")
    about = "a tensor that the student learns, too, by its name in both models, or NAME=NAME; may be repeated"
    add("--feature", action="append", default=[], type=_pair, metavar="NAME", help=about)
    about = f"how much features count in the loss (default: {BETA:g})"
    add("--beta", type=number, default=BETA, metavar="B", help=about)
    about = "random changes of images, separated by commas: flip (left to right), shift:N (by up to N pixels)"
    add("--augment", metavar="CHANGES", help=about)
    add("--epochs", type=at_least(1), default=default.epochs, metavar="N", help=f"default: {default.epochs}")
    about = f"samples per step (default: {default.batch_size})"
    add("--batch-size", type=at_least(1), default=default.batch_size, metavar="N", help=about)
    about = f"the highest learning rate of AdamW (default: {default.learning_rate:g})"
    add("--learning-rate", type=number, default=default.learning_rate, metavar="R", help=about)
    add(
        "--weight-decay",
        type=number,
        default=default.weight_decay,
        metavar="D",
        help=f"of weights (default: {default.weight_decay:g})",
    )
    about = "of the order of samples and the changes of images (default: 0)"
    add("--seed", type=at_least(0), default=0, metavar="N", help=about)
    add("--threads", type=at_least(1), metavar="N", help="threads (default: the choice of PyTorch and ONNX Runtime)")
    about = "device of PyTorch, such as cuda (default: cpu); under torchrun, each process takes its own"
    add("--device", default="cpu", metavar="NAME", help=about)
    add("--checkpoint", type=Path, metavar="DIR", help="keep the state after each epoch in DIR, and go on from there")
    add("--cache", type=Path, metavar="DIR", help="keep the answers of teachers in DIR")
    add("--report", type=Path, metavar="DIR", help="write the curves to DIR: curves.csv and curves.png")
    add("--json", type=Path, metavar="FILE", help="write the results to FILE")


def _features(pairs: list[tuple[str, str]]) -> dict[str, str]:
    if len({student for student, _ in pairs}) < len(pairs):
        raise ValueError("argument --feature: a tensor is given twice")
    return dict(pairs)


def _pair(text: str) -> tuple[str, str]:
    """Parses the name of a tensor of the student, and that of the teachers."""
    student, _, teacher = text.partition("=")
    return student, teacher or student


def run(arguments: argparse.Namespace) -> int:
    extras.require("training a model", "training")
    if is_first():  # several processes that create and remove a file disturb each other
        check_file(arguments.json)
        check_file(arguments.output)
    if arguments.report is not None and is_first():
        extras.require("--report", "plots")
        check_folder(arguments.report, "curves.csv", "curves.png")
    import onnx

    from optimizer import data
    from optimizer.distill import distill

    training = Training(
        arguments.epochs, arguments.batch_size, arguments.learning_rate, arguments.weight_decay, arguments.seed
    )
    samples = data.read(arguments.data)
    validation = None if arguments.validation is None else data.read(arguments.validation)
    start = time.perf_counter()
    with progress("Training") as show:
        found = distill(
            arguments.input,
            arguments.teacher,
            samples,
            validation,
            loss=arguments.loss,
            temperature=arguments.temperature,
            alpha=arguments.alpha,
            weights=arguments.weights,
            features=_features(arguments.feature),
            beta=arguments.beta,
            training=training,
            augment=arguments.augment,
            device=arguments.device,
            threads=arguments.threads,
            checkpoint=arguments.checkpoint,
            cache=arguments.cache,
            progress=show,
        )
    seconds = time.perf_counter() - start
    if not is_first():  # the other processes have the same weights
        return 0
    write(arguments.output, lambda path: onnx.save(found.model, path))
    if arguments.report is not None:
        from optimizer.training import curves

        curves.write(found.epochs, arguments.report)
    _print(found, arguments.teacher)
    print(f"Trained in {seconds:.1f} s")
    print(f"Saved: {arguments.output}")
    write_json(
        arguments.json,
        {
            "input": str(arguments.input),
            "output": str(arguments.output),
            "loss": arguments.loss,
            "temperature": arguments.temperature,
            "alpha": arguments.alpha,
            "features": dict(arguments.feature),
            "beta": arguments.beta if arguments.feature else None,
            "training": training.to_json(),
            "seconds": seconds,
            "teachers": [
                {"path": str(path), "accuracy": accuracy}
                for path, accuracy in zip(arguments.teacher, found.teachers, strict=True)
            ],
            "accuracy": {"before": found.before, "after": found.after},
            "epochs": [epoch.to_json() for epoch in found.epochs],
        },
    )
    return 0


def _print(found: Distilled, teachers: list[Path]) -> None:
    parts = list(found.epochs[-1].losses)
    rows = [
        (
            str(epoch.number),
            *(f"{epoch.losses[part]:.4f}" for part in parts),
            "" if epoch.accuracy is None else f"{epoch.accuracy:.2%}",
            f"{epoch.seconds:.1f}",
        )
        for epoch in found.epochs
    ]
    print_table(("epoch", *(f"loss, {part}" for part in parts), "accuracy", "s"), rows, left=())
    for path, accuracy in zip(teachers, found.teachers, strict=True):
        if accuracy is not None:
            print(f"Teacher {path}: {accuracy:.2%}")
    if found.before is not None and found.after is not None:
        print(f"Student: {found.before:.2%} before, {found.after:.2%} after, on samples that were not trained on")
