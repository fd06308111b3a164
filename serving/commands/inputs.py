"""The inputs of ``infer``: files of arrays, JSON, any file for an input of strings, and text on the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compiler.commands import arrays
from compiler.commands.options import input_file
from serving.worker.datatypes import DTYPES

_STRINGS = "BYTES"


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Adds ``--input`` and ``--text``."""
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        type=input_file,
        metavar="[NAME=]FILE",
        help="an input of the model: an .npy file, a .json file of a value or of arrays of them, or, for strings, "
        "another file, whose bytes are one; or FILE.npz, which has inputs by name; the name may be left out if the "
        "model has one input; may be given several times (default: random numbers)",
    )
    parser.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="[NAME=]TEXT",
        help="an element of an input of strings; several times: its next element; the name may be left out if the "
        "model has one such input",
    )


def given_inputs(
    files: Sequence[tuple[str, Path]], texts: Sequence[str], metadata: Mapping[str, Any]
) -> list[tuple[str, np.ndarray]]:
    """Returns the arrays that the values of the options give, by the names of a model's inputs.

    Raises:
        ValueError: a name, a file or a number of texts that does not fit the model.
        OSError: a file cannot be read.
    """
    specs = {spec["name"]: spec for spec in metadata["inputs"]}
    given: list[tuple[str, np.ndarray]] = []
    for name, path in files:
        if arrays.is_archive(path) and not name:
            given += arrays.read_archive(path).items()
        else:
            name = name or arrays.only(list(specs))
            given.append((name, _read(path, specs.get(name))))
    by_name: dict[str, list[str]] = {}
    for text in texts:
        name, element = _named(text, specs)
        by_name.setdefault(name, []).append(element)
    given += [(name, _shaped(elements, specs[name])) for name, elements in by_name.items()]
    names = [name for name, _ in given]
    for spec in specs.values():
        if spec["datatype"] == _STRINGS and spec["name"] not in names:
            name = spec["name"]
            raise ValueError(f"input {name} has strings; give --text {name}=TEXT or --input {name}=FILE")
    # An array of NumPy's type bytes, too, is one of strings.
    return [(name, array.astype(object) if array.dtype.kind == "S" else array) for name, array in given]


def _named(text: str, specs: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the name of an input and an element. Text may have the character ``=``."""
    names = [name for name, spec in specs.items() if spec["datatype"] == _STRINGS]
    name, equals, element = text.partition("=")
    if equals and name in names:
        return name, element
    if len(names) != 1:
        have = f"the inputs of strings are {', '.join(names)}" if names else "the model has no input of strings"
        raise ValueError(f"argument --text: {text!r} names no input; {have}")
    return names[0], text


def _read(path: Path, spec: Mapping[str, Any] | None) -> np.ndarray:
    if spec is None or path.suffix in (".npy", ".npz"):
        return arrays.read(path)
    try:
        if path.suffix == ".json":
            return _from_json(json.loads(path.read_bytes()), spec)
        if spec["datatype"] == _STRINGS:
            return _shaped([path.read_bytes()], spec)
    except OSError as error:
        raise type(error)(f"cannot read {path}: {error.strerror or error}") from None
    except RecursionError:
        raise ValueError(f"{path}: its arrays are nested too deeply") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from None
    return arrays.read(path)


def _from_json(value: Any, spec: Mapping[str, Any]) -> np.ndarray:
    """Returns a value of JSON as an array of an input's type.

    Raises:
        ValueError, TypeError, OverflowError: it does not fit the type, or has arrays of several sizes.
    """
    given = np.array(value, object)
    if spec["datatype"] == _STRINGS:
        if not all(isinstance(element, str) for element in given.ravel()):
            raise ValueError(f"input {spec['name']} must have strings, in arrays of one size")
        _check_texts(given.ravel(), spec)
        return given
    if any(element is None for element in given.ravel()):  # NumPy makes NaN or false of it
        raise ValueError(f"input {spec['name']} must have values of {spec['datatype']}, not null")
    array = np.array(value, DTYPES[spec["datatype"]])
    if array.dtype.kind in "iub" and not np.array_equal(array, np.array(value)):
        raise ValueError(f"input {spec['name']} must have values of {spec['datatype']}")
    return array


def _check_texts(texts: Iterable[str | bytes], spec: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` for half of a surrogate pair, which JSON and arguments can have, and UTF-8 has not."""
    for text in texts:
        if isinstance(text, str) and any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError(f"input {spec['name']} must have text that UTF-8 can encode, got {text!a}")


def _shaped(elements: Sequence[str | bytes], spec: Mapping[str, Any]) -> np.ndarray:
    """Returns elements in the shape of an input: its first open size is as large as they need, others are 1."""
    _check_texts(elements, spec)
    sizes: list[int] = []
    for size in spec["shape"]:
        sizes.append(1 if size < 0 and -1 in sizes else size)
    try:
        return np.array(elements, object).reshape(sizes)
    except ValueError:
        shape = ", ".join(map(str, spec["shape"]))
        raise ValueError(
            f"input {spec['name']} has the shape [{shape}], which {len(elements)} strings do not fit"
        ) from None
