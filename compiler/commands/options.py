"""Options that commands share, and checks that need no model."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from compiler.commands.command_line import DEFAULT_RECORDS, add_fast_algorithms, add_machine, at_least
from compiler.workloads.precision import PRECISIONS
from compiler.workloads.target import ISAS

# The name is empty if it was left out, which means the model's only input.
Shape: TypeAlias = "tuple[str, tuple[int | range, ...]]"
ONNX_FILE = "an .onnx file, or a folder or zip archive with one .onnx file and its external data"
InputFile: TypeAlias = "tuple[str, Path]"
_SIZE = r"[0-9]{1,9}(?:\.\.[0-9]{1,9}){0,2}"


@dataclass(frozen=True)
class BuildOptions:
    """How a model is built.

    Attributes:
        input_shapes: shapes of inputs with dynamic dimensions.
        batch: the first dimension of the other inputs, where it is dynamic; None if not given.
        threads, target, records, machine: None if not given.
        fast_algorithms: whether layers may use Winograd's and Strassen's algorithms.
        fallback: whether ONNX Runtime runs what cannot be compiled.
        ieee: whether the program keeps subnormal numbers.
        tune: whether the program is measured next to ONNX Runtime, and the faster one taken.
        strict: whether a model with quantized layers that would be computed in float32 is rejected.
        precision: what layers compute in: ``float32``, ``bfloat16`` or ``auto``.
        operators: libraries of operators of users, for saved models too.
    """

    input_shapes: tuple[Shape, ...] = ()
    threads: int | None = None
    target: str | None = None
    records: Path | None = None
    fast_algorithms: bool = True
    fallback: bool = True
    machine: str | None = None
    ieee: bool = False
    tune: bool = False
    strict: bool = False
    precision: str = "float32"
    batch: int | None = None
    operators: tuple[Path, ...] = ()


def build_options(arguments: argparse.Namespace) -> BuildOptions:
    """Returns the values of the options that :func:`add_model` adds."""
    return BuildOptions(
        tuple(arguments.input_shape),
        arguments.threads,
        arguments.target,
        arguments.records,
        arguments.fast_algorithms,
        arguments.fallback,
        arguments.machine,
        arguments.ieee,
        arguments.tune,
        arguments.strict,
        arguments.precision,
        arguments.batch,
        tuple(arguments.operators),
    )


def add_model(parser: argparse.ArgumentParser, saved: bool) -> None:
    """Adds the model and the options of its build; ``saved``: whether it may be a saved model."""
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help=ONNX_FILE + ", or the folder of a saved model" * saved)
    default = "one per physical core of a NUMA node, within the CPU quota"
    add(
        "--threads",
        type=at_least(1),
        metavar="N",
        help=f"number of threads (default: {default}" + "; of a saved model: as built" * saved + ")",
    )
    add(
        "--operators",
        action="extend",
        nargs="+",
        default=[],
        type=Path,
        metavar="LIB",
        help="shared libraries with operators of users that the model has; see docs/user_operators",
    )
    group = parser.add_argument_group("build options" + ", for ONNX models only" * saved)
    add = group.add_argument
    add(
        "--input-shape",
        action="append",
        default=[],
        type=shape,
        metavar="NAME:SIZE,...",
        help="sizes of an input with dynamic dimensions, such as x:1,3,224,224; build takes ranges too, such as "
        "ids:1,1..512 or x:1,1,32,32..320..32 (first, last, step), and the other commands one of these sizes; the name "
        "may be left out if the model has one input; may be given several times",
    )
    add(
        "--batch",
        type=at_least(1),
        metavar="N",
        help="the first dimension of all inputs that leave it open and whose shape is not given (default: 1)",
    )
    add("--target", choices=("host", *ISAS), help="instruction set (default: host, the best one of this CPU)")
    add(
        "--records",
        type=Path,
        metavar="FILE",
        help=f"file with the schedules of earlier searches (default: {DEFAULT_RECORDS} if it exists)",
    )
    add_machine(group)
    add_fast_algorithms(group)
    add(
        "--no-fallback",
        dest="fallback",
        action="store_false",
        help="reject a model with operators that cannot be compiled, instead of running them in ONNX Runtime",
    )
    add(
        "--ieee",
        action="store_true",
        help="keep subnormal numbers, which programs take as zero otherwise, because CPUs compute with them slowly",
    )
    add(
        "--tune",
        action="store_true",
        help="measure the program next to ONNX Runtime for some seconds, and leave the model to ONNX Runtime if "
        "that is clearly faster; needs the extra 'fallback'",
    )
    add(
        "--strict",
        action="store_true",
        help="reject a model with quantized layers that would be computed in float32",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="what dense layers and convolutions compute in where that is faster; auto: bfloat16 on CPUs with "
        "instructions for it (default: float32)",
    )


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Adds ``--input``."""
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        type=input_file,
        metavar="NAME=FILE.npy",
        help="an input of the model; the name may be left out if the model has one input; may be given several times "
        "(default: random values)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds ``--json``."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")


def shape(text: str) -> Shape:
    """Parses NAME:SIZE,...; the name may contain colons. NAME=1x3x224x224 is accepted too."""
    found = re.fullmatch(rf"(?:(.+)[:=])?({_SIZE}(?:[,x]{_SIZE})*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:SIZE,... such as x:1,3,224,224 or ids:1,1..512")
    return found[1] or "", tuple(map(_size, re.split("[,x]", found[2])))


def _size(text: str) -> int | range:
    """Parses SIZE, FIRST..LAST or FIRST..LAST..STEP."""
    first, *rest = map(int, text.split(".."))
    if not rest:
        return first
    last, step = rest[0], rest[1] if len(rest) > 1 else 1
    if step < 1 or len(found := range(first, last + 1, step)) < 2 or first < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a range: FIRST..LAST or FIRST..LAST..STEP, from 1 on, ascending"
        )
    return found


def written_shape(name: str, sizes: Sequence[int | range]) -> str:
    """Returns a shape as :func:`shape` parses it."""
    return f"{name}:{','.join(map(_written, sizes))}"


def _written(size: int | range) -> str:
    if isinstance(size, int):
        return str(size)
    return f"{size[0]}..{size[-1]}" + (f"..{size.step}" if size.step > 1 else "")


def input_file(text: str) -> InputFile:
    """Parses NAME=FILE or FILE."""
    name, equals, file = text.partition("=")
    return (name, Path(file)) if equals else ("", Path(text))


def check_folder(path: Path) -> None:
    """Checks that a folder exists or can be created, and that it can be written to.

    Raises:
        ValueError: it cannot be created or written to.
    """
    place = next(place for place in (path.absolute(), *path.absolute().parents) if os.path.lexists(place))
    if not place.is_dir():
        raise ValueError(f"cannot write to {path}: {place} is not a folder; choose another path")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write to {path}: no permission to write to {place}; choose another path")
