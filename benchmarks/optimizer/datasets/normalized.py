"""Pixels as samples of a training."""

from __future__ import annotations

import numpy as np

TEST_SHARE = 0.2  # of data sets that come without a division


def normalized(pixels: np.ndarray, labels: np.ndarray, mean: float, deviation: float) -> dict[str, np.ndarray]:
    """Returns ``x`` (samples, 1, height, width) of pixels from 0 to 255, and ``labels``."""
    images = ((pixels.astype(np.float32) / 255 - mean) / deviation).astype(np.float32)
    return {"x": images[:, None], "labels": labels.astype(np.int64)}


def divided(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of samples to train on, and to test on: always the same."""
    order = np.random.default_rng(0).permutation(count)
    tested = round(count * TEST_SHARE)
    return np.sort(order[tested:]), np.sort(order[:tested])
