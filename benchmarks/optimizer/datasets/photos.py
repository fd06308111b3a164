"""The 20 photos of ImageNet in foolbox 3.3.4 (MIT license), from the package index: too few for an accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDER = Path("build/datasets")
INSTALL = "make datasets"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of torchvision's networks
SIDE, RESIZED = 224, 256
CALIBRATION = 6  # photos


def load(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns crops, (crops, 3, 224, 224): four of each of the first 6 photos to calibrate, and ten of each of
    the other 14 to compare. The ten are the corners and the center, and their mirror images.

    Raises:
        ValueError: a file is damaged; the message is one line.
        OSError: a file is missing.
    """
    paths = sorted((folder / "foolbox/data").glob("imagenet_*.jpg"))
    if len(paths) <= CALIBRATION:
        raise FileNotFoundError(f"there are no photos in {folder / 'foolbox/data'}: {INSTALL}")
    crops = [_crops(path) for path in paths]
    return np.concatenate([each[:4] for each in crops[:CALIBRATION]]), np.concatenate(crops[CALIBRATION:])


def _crops(path: Path) -> np.ndarray:
    from PIL.Image import Resampling

    from benchmarks.optimizer.datasets.pictures import opened

    image = opened(path, "RGB")
    scale = RESIZED / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    pixels = np.asarray(image.resize(size, Resampling.BILINEAR), np.float32)
    values = ((pixels / 255 - MEAN) / DEVIATION).astype(np.float32).transpose(2, 0, 1)
    down, right = values.shape[1] - SIDE, values.shape[2] - SIDE
    corners = ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2))
    found = np.stack([values[:, top : top + SIDE, left : left + SIDE] for top, left in corners])
    return np.ascontiguousarray(np.concatenate([found, found[..., ::-1]]))
