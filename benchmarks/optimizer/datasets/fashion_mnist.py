"""Fashion-MNIST in the files of Debian's package dataset-fashion-mnist (Xiao et al., 2017; MIT license).

70,000 grey images of clothes, 28 x 28 pixels, in 10 classes.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from benchmarks.optimizer.datasets.normalized import normalized

FOLDER = Path("/usr/share/datasets/fashion-mnist")
INSTALL = "apt-get install dataset-fashion-mnist"
MEAN, DEVIATION = 0.2860, 0.3530  # of the pixels of the training images, from 0 to 1
_IMAGES, _LABELS = 2051, 2049  # the first numbers of the files
_LARGEST = 2**28  # bytes


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the samples to train on, and those to test on; see :class:`benchmarks.optimizer.datasets.Dataset`.

    Raises:
        ValueError: a file is damaged; the message is one line.
        OSError: a file is missing.
    """
    return _part(folder, "train"), _part(folder, "t10k")


def _part(folder: Path, name: str) -> dict[str, np.ndarray]:
    pixels = _read(folder / f"{name}-images-idx3-ubyte.gz", _IMAGES, 3)
    labels = _read(folder / f"{name}-labels-idx1-ubyte.gz", _LABELS, 1)
    return normalized(pixels, labels, MEAN, DEVIATION)


def _read(path: Path, kind: int, axes: int) -> np.ndarray:
    """Reads an IDX file: the kind and the sizes as big-endian numbers of 32 bits, then bytes."""
    try:
        with gzip.open(path) as file:
            content = file.read(_LARGEST)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {path}: {INSTALL}, or give --data DIR") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    head = 4 * (axes + 1)
    if len(content) < head:
        raise ValueError(f"{path} is damaged: it is too short")
    found, *sizes = struct.unpack(f">{axes + 1}I", content[:head])
    if found != kind or len(content) - head != int(np.prod(sizes)):
        raise ValueError(f"{path} is damaged: its sizes do not fit its content")
    return np.frombuffer(content, np.uint8, offset=head).reshape(sizes)
