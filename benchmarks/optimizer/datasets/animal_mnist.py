"""animal-mnist 0.4 (MIT license), from the package index.

10,000 grey silhouettes of animals, 28 x 28 pixels, in 10 classes.

Its files are pickles of arrays. The operations of a pickle are read, not executed: the pixels are the longest bytes.
"""

from __future__ import annotations

import gzip
import pickletools
import zlib
from pathlib import Path

import numpy as np

from benchmarks.optimizer.datasets.normalized import divided, normalized

FOLDER = Path("build/datasets")
INSTALL = "make datasets"
_FILES = "animal_mnist/data/Animal_MNIST/animal_{}_version_3.gz"
_SIDE, _CLASSES = 28, 10
_LARGEST = 2**26  # bytes


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the samples to train on, and a fifth to test on; see :class:`benchmarks.optimizer.datasets.Dataset`.

    Raises:
        ValueError: a file is damaged; the message is one line.
        OSError: a file is missing.
    """
    pixels = _longest(folder / _FILES.format("data"), "u1")
    labels = _longest(folder / _FILES.format("label"), "<i8")
    if pixels.size != len(labels) * _SIDE**2 or not labels.size or labels.min() < 0 or labels.max() >= _CLASSES:
        raise ValueError(f"{folder} is damaged: its labels do not fit its images")
    _, first = np.unique(pixels.reshape(len(labels), -1), axis=0, return_index=True)  # some images are there twice
    first.sort()
    images, labels = pixels.reshape(-1, _SIDE, _SIDE)[first], labels[first]
    train, test = divided(len(labels))
    mean, deviation = float(images[train].mean()) / 255, float(images[train].std()) / 255
    return (
        normalized(images[train], labels[train], mean, deviation),
        normalized(images[test], labels[test], mean, deviation),
    )


def _longest(path: Path, dtype: str) -> np.ndarray:
    """Returns the longest bytes in a pickle as numbers."""
    try:
        with gzip.open(path) as file:
            content = file.read(_LARGEST)
        found = (arg for _, arg, _ in pickletools.genops(content) if isinstance(arg, bytes))
        return np.frombuffer(max(found, key=len), dtype)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {path}: {INSTALL}, or give --data DIR") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
