"""Options that commands share, and checks that need no model."""

from __future__ import annotations

import argparse
import math
import os
import re
from pathlib import Path
from typing import TypeAlias

from compiler.commands.command_line import DEFAULT_RECORDS, add_fast_algorithms, at_least
from compiler.workloads.target import ISAS

# The name is empty where the model's only input is meant.
Shape: TypeAlias = "tuple[str, tuple[int, ...]]"
InputFile: TypeAlias = "tuple[str, Path]"


def add_model(parser: argparse.ArgumentParser, saved: bool) -> None:
    """The model and how it is built; ``saved``: whether it may be built already."""
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="an .onnx file" + " or the folder of a saved model" * saved)
    group = parser.add_argument_group("how it is built" + ", where it is not built already" * saved)
    add = group.add_argument
    add(
        "--input-shape",
        action="append",
        default=[],
        type=shape,
        metavar="NAME:SIZE,...",
        help="sizes of an input with dynamic dimensions, such as x:1,3,224,224; the name may be left out where the "
        "model has one input; may be given several times",
    )
    add("--threads", type=at_least(1), metavar="N", help="threads that run it (default: a thread a core)")
    add("--target", choices=("host", *ISAS), help="instruction set (default: host, the best of this CPU)")
    add(
        "--records",
        type=Path,
        metavar="FILE",
        help=f"schedules that were searched for (default: {DEFAULT_RECORDS}, if it is there)",
    )
    add_fast_algorithms(group)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        type=input_file,
        metavar="NAME=FILE.npy",
        help="what the model is given; the name may be left out where the model has one input; may be given several "
        "times (default: random values)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")


def shape(text: str) -> Shape:
    """NAME:SIZE,...; the name may have colons itself. NAME=1x3x224x224 is understood too."""
    found = re.fullmatch(r"(?:(.+)[:=])?([0-9]{1,9}(?:[,x][0-9]{1,9})*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME:SIZE,... such as x:1,3,224,224")
    return found[1] or "", tuple(map(int, re.split("[,x]", found[2])))


def input_file(text: str) -> InputFile:
    name, equals, file = text.partition("=")
    return (name, Path(file)) if equals else ("", Path(text))


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value


def check_folder(path: Path) -> None:
    """Whether a folder is there or can be made, and can be written to.

    Raises:
        ValueError: it is not or cannot.
    """
    place = next(place for place in (path.absolute(), *path.absolute().parents) if os.path.lexists(place))
    if not place.is_dir():
        raise ValueError(f"cannot write to {path}: {place} is no folder; choose another path")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write to {path}: no permission to write to {place}; choose another path")
