"""The arrays of commands: .npy files, random inputs, summaries."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compiler.commands.options import InputFile
from compiler.program.random_inputs import random_inputs
from compiler.program.tensor_spec import OPAQUE, TensorSpec, checked

TOP = 5
SMALL = 8  # elements of an array whose values are printed


def inputs(given: Sequence[InputFile], specs: Sequence[TensorSpec]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the arrays of a model's inputs, and the names of the random ones, for which no file is given.

    Raises:
        ValueError: an unknown name, a file that is not an .npy file, or an array that does not fit.
        OSError: a file cannot be read.
    """
    return completed([(name, read(path)) for name, path in given], specs)


def completed(
    given: Sequence[tuple[str, np.ndarray]], specs: Sequence[TensorSpec]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the arrays of a model's inputs, and the names of the random ones, which are not given.

    Raises:
        ValueError: an unknown name, or an array that does not fit.
    """
    names = [spec.name for spec in specs]
    arrays: dict[str, np.ndarray] = {}
    for name, array in given:
        name = name or only(names)
        if name not in names:
            raise ValueError(f"argument --input: there is no input {name!r}; the model has {', '.join(names)}")
        if name in arrays:
            raise ValueError(f"argument --input gives {name} twice")
        arrays[name] = array
    left = [spec for spec in specs if spec.name not in arrays]
    for spec in left:
        if spec.dtype == OPAQUE:
            about = "has no random values; give a file (strings: an array of NumPy's type str)"
            raise ValueError(f"input {spec.name} is not a tensor of numbers and {about}")
    if left:
        arrays |= random_inputs(left)
    try:
        checked(arrays, specs)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return arrays, [spec.name for spec in left]


def archived(path: Path, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file, which are all inputs of a model by name.

    Raises:
        ValueError: not an .npz file, or arrays that do not fit.
        OSError: the file cannot be read.
    """
    arrays = read_archive(path)
    try:
        checked(arrays, specs)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    return arrays


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file by name.

    Raises:
        ValueError: it is not an .npz file, or has an array of Python objects.
        OSError: the file cannot be read.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it has a single array")
        with archive:
            return dict(archive)
    except OSError as error:
        raise type(error)(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an .npz file of inputs: {_fault(path, error)}") from None


def about_random(random: Sequence[str]) -> list[str]:
    """Returns a line with the names of the random inputs, if there are any."""
    return [f"Random inputs (seed 0): {', '.join(random)}"] if random else []


def summary(name: str, array: Any) -> dict[str, Any]:
    """Returns an array's type, shape and statistics, and the values of a small one, for JSON.

    Values that are not finite are None. Strings, and sequences of arrays, have no statistics.
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        kind = "string" if isinstance(array, np.ndarray) else "sequence"
        shape = list(array.shape) if isinstance(array, np.ndarray) else [len(array or ())]
        none = dict.fromkeys(("min", "max", "mean", "top"))
        return {"name": name, "dtype": kind, "shape": shape, **none, "values": values(array)}
    numbers = array.astype(np.float64) if array.size else np.full(1, math.nan)
    with np.errstate(invalid="ignore"):
        statistics = {"min": numbers.min(), "max": numbers.max(), "mean": numbers.mean()}
    return {
        "name": name,
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        **{key: float(value) if math.isfinite(value) else None for key, value in statistics.items()},
        "top": top(array),
        "values": values(array),
    }


def values(array: Any) -> list[Any] | None:
    """Returns the elements of an array, row by row, for JSON; None: it has more than ``SMALL``, or is a sequence."""
    if not isinstance(array, np.ndarray) or array.size > SMALL:
        return None
    if array.dtype.kind in "iub":
        return array.ravel().tolist()
    if array.dtype.kind == "f":
        return [value if math.isfinite(value) else None for value in array.ravel().tolist()]
    return [str(value) for value in array.ravel().tolist()]


def top(array: np.ndarray) -> list[tuple[int, float]] | None:
    """Returns the indices and values of the largest elements of a float vector, such as the scores of classes."""
    if array.ndim == 0 or array.size <= TOP or array.size != array.shape[-1]:
        return None
    scores = array.reshape(-1)
    if array.dtype.kind != "f" or not np.isfinite(scores).all():
        return None
    return [(int(place), float(scores[place])) for place in np.argsort(-scores, kind="stable")[:TOP]]


def is_archive(path: Path) -> bool:
    return path.suffix == ".npz"


def save(path: Path, outputs: Mapping[str, Any]) -> list[Path]:
    """Writes an .npz file or a folder of .npy files, and returns the paths of the files.

    Strings become arrays of NumPy's type ``str``. The arrays of a sequence are written one by one: NAME.0, NAME.1, ...

    Raises:
        OSError: a file cannot be written.
        ValueError: an output does not consist of arrays. Nothing is written.
    """
    arrays = dict(_entries(outputs))
    if is_archive(path):
        with zipfile.ZipFile(path, "w") as archive:  # numpy.savez reserves some names
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        return [path]
    path.mkdir(parents=True, exist_ok=True)
    files = [path / f"{stem}.npy" for stem in _file_names(list(arrays))]
    for file, array in zip(files, arrays.values(), strict=True):
        np.save(file, array, allow_pickle=False)
    return files


def _entries(outputs: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in outputs.items():
        if isinstance(value, np.ndarray):
            yield name, value.astype(str) if value.dtype == object else value
        elif isinstance(value, list):
            yield from _entries({f"{name}.{place}": element for place, element in enumerate(value)})
        elif value is not None:  # an optional value that is absent
            raise ValueError(f"argument --output: {name} is a {type(value).__name__}, which no .npy file holds")


def _file_names(names: Sequence[str]) -> list[str]:
    """Returns distinct names without characters that are special in paths or shells."""
    stems: list[str] = []
    for name in names:
        stem = base = re.sub(r"[^\w.-]|^\.", "_", name)[:200] or "_"
        number = 1
        while stem in stems:
            number += 1
            stem = f"{base}-{number}"
        stems.append(stem)
    return stems


def only(names: Sequence[str]) -> str:
    """Returns the only name.

    Raises:
        ValueError: there are others, or none.
    """
    if len(names) != 1:
        raise ValueError(f"argument --input: name the input; the model has {', '.join(names) or 'none'}")
    return names[0]


def read(path: Path) -> np.ndarray:
    """Returns the array of an .npy file.

    Raises:
        ValueError: it is not an .npy file, or has an array of Python objects.
        OSError: the file cannot be read.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise type(error)(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an .npy file of numbers or strings: {_fault(path, error)}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} is an archive of .npy files; give a single one")
    return array


def _fault(path: Path, error: Exception) -> str:
    """Returns what is wrong with a file that NumPy does not read. NumPy takes any other file for pickled objects."""
    with path.open("rb") as file:
        start = file.read(len(np.lib.format.MAGIC_PREFIX))
    if not start.startswith((np.lib.format.MAGIC_PREFIX, b"PK")):
        return "it is of another kind" if start else "it is empty"
    if "Object arrays" in str(error):
        return "it has objects of Python, which are not loaded; save strings as array.astype(str)"
    return str(error)
