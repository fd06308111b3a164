"""elpv-dataset 1.0.0.post1 (CC-BY-NC-SA 4.0), from the package index: 2,624 grey photos of solar cells, 300 x 300.

Buerhop-Lutz et al., A Benchmark for Visual Identification of Defective Solar Cells, PVSC 2018. Experts gave each cell a
probability of a defect: 0, 1/3, 2/3 or 1. Here a cell is defective if it is above 1/2.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.optimizer.datasets.normalized import divided, normalized

FOLDER = Path("build/datasets")
INSTALL = "make datasets"
_ROOT = "elpv_dataset/data"
_SIDE = 60  # pixels; each is the mean of 5 x 5


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the samples to train on, and a fifth to test on; see :class:`benchmarks.optimizer.datasets.Dataset`.

    Raises:
        ValueError: a file is damaged; the message is one line.
        OSError: a file is missing.
    """
    root = folder / _ROOT
    try:
        lines = (root / "labels.csv").read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {root / 'labels.csv'}: {INSTALL}, or give --data DIR") from None
    rows = [line.split() for line in lines if line]
    if not rows or any(len(row) != 3 or Path(row[0]).is_absolute() or ".." in Path(row[0]).parts for row in rows):
        raise ValueError(f"{root / 'labels.csv'} is damaged")
    images = np.stack([_image(root / row[0]) for row in rows])
    try:
        labels = np.array([float(row[1]) > 0.5 for row in rows])
    except ValueError as error:
        raise ValueError(f"{root / 'labels.csv'} is damaged: {error}") from None
    train, test = divided(len(labels))
    mean, deviation = float(images[train].mean()) / 255, float(images[train].std()) / 255
    return (
        normalized(images[train], labels[train], mean, deviation),
        normalized(images[test], labels[test], mean, deviation),
    )


def _image(path: Path) -> np.ndarray:
    from PIL.Image import Resampling

    from benchmarks.optimizer.datasets.pictures import opened

    return np.asarray(opened(path, "L").resize((_SIDE, _SIDE), Resampling.BOX))
