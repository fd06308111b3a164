"""Arrays in and out of commands: .npy files, random ones, summaries."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compiler.commands.options import InputFile
from compiler.program.tensor_spec import TensorSpec, checked

TOP = 5


def inputs(given: Sequence[InputFile], specs: Sequence[TensorSpec]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of a model's inputs, and the names of those that are random, since no file is given for them.

    Raises:
        ValueError: an unknown name, no .npy file, or an array that does not fit.
        OSError: a file that cannot be read.
    """
    names = [spec.name for spec in specs]
    arrays: dict[str, np.ndarray] = {}
    for name, path in given:
        name = name or _only(names)
        if name not in names:
            raise ValueError(f"argument --input: there is no input {name!r}; the model has {', '.join(names)}")
        if name in arrays:
            raise ValueError(f"argument --input gives {name} twice")
        arrays[name] = _read(path)
    left = [spec for spec in specs if spec.name not in arrays]
    if left:
        from compiler.runtimes.inputs import random_inputs

        arrays |= random_inputs([(spec.name, spec.shape, spec.dtype) for spec in left])
    try:
        checked(arrays, specs)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return arrays, [spec.name for spec in left]


def said_of_random(random: Sequence[str]) -> list[str]:
    """A line that names the inputs that are random, if any are."""
    return [f"Random inputs (seed 0): {', '.join(random)}"] if random else []


def summary(name: str, array: np.ndarray) -> dict[str, Any]:
    """As JSON has it: ``min``, ``max`` and ``mean`` are None where they are not finite; ``top`` is of :func:`top`."""
    numbers = array.astype(np.float64) if array.size else np.full(1, math.nan)
    with np.errstate(invalid="ignore"):
        values = {"min": numbers.min(), "max": numbers.max(), "mean": numbers.mean()}
    return {
        "name": name,
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        **{key: float(value) if math.isfinite(value) else None for key, value in values.items()},
        "top": top(array),
    }


def top(array: np.ndarray) -> list[tuple[int, float]] | None:
    """The largest elements, with their places, of what may be the scores of classes: one vector of floats."""
    if array.ndim == 0 or array.size <= TOP or array.size != array.shape[-1]:
        return None
    scores = array.reshape(-1)
    if array.dtype.kind != "f" or not np.isfinite(scores).all():
        return None
    return [(int(place), float(scores[place])) for place in np.argsort(-scores, kind="stable")[:TOP]]


def is_archive(path: Path) -> bool:
    return path.suffix == ".npz"


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> list[Path]:
    """Writes an .npz file, or a folder of .npy files; returns what was written.

    Raises:
        OSError: it cannot be written.
    """
    if is_archive(path):
        with zipfile.ZipFile(path, "w") as archive:  # numpy.savez would take some names for its own arguments
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        return [path]
    path.mkdir(parents=True, exist_ok=True)
    files = [path / f"{stem}.npy" for stem in _file_names(list(arrays))]
    for file, array in zip(files, arrays.values(), strict=True):
        np.save(file, array, allow_pickle=False)
    return files


def _file_names(names: Sequence[str]) -> list[str]:
    """Without what a folder or a shell takes for its own; distinct."""
    stems: list[str] = []
    for name in names:
        stem = base = re.sub(r"[^\w.-]|^\.", "_", name)[:200] or "_"
        number = 1
        while stem in stems:
            number += 1
            stem = f"{base}-{number}"
        stems.append(stem)
    return stems


def _only(names: Sequence[str]) -> str:
    if len(names) != 1:
        raise ValueError(f"argument --input: say which input; the model has {', '.join(names) or 'none'}")
    return names[0]


def _read(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise type(error)(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npy file of numbers: {error}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} is no .npy file, but an archive of them")
    return array
