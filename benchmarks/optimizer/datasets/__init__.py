"""The data sets of the experiment, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.optimizer.datasets import animal_mnist, elpv, fashion_mnist

Part = dict[str, np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """Images with labels.

    Attributes:
        load: returns the samples to train on, and those to test on, from a folder: ``x`` (samples, 1, height, width)
            and ``labels``.
        folder: where they are by default.
    """

    load: Callable[[Path], tuple[Part, Part]]
    folder: Path


DATASETS: Mapping[str, Dataset] = {
    "fashion-mnist": Dataset(fashion_mnist.load, fashion_mnist.FOLDER),
    "animal-mnist": Dataset(animal_mnist.load, animal_mnist.FOLDER),
    "elpv": Dataset(elpv.load, elpv.FOLDER),
}
