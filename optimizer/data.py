"""Reads arrays by name, from an .npz file or a folder of .npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compiler.commands.arrays import read_archive
from optimizer.messages import one_line

LABELS = "labels"  # the name of the array with the class of each sample


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file, or of a folder with NAME.npy for each name, mapped from disk.

    Raises:
        ValueError: there is no such file, or one has Python objects; the message is one line.
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        return read_archive(path)
    found = {file.stem: _mapped(file) for file in sorted(path.glob("*.npy"))}
    if not found:
        raise ValueError(f"the folder {path} has no .npy file")
    return found


def _mapped(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise type(error)(f"cannot read {file}: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} is not an .npy file: {one_line(error)}") from None
