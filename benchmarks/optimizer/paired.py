"""The difference of two accuracies on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NORMAL = 1.96  # the quantile of a 95 % interval


@dataclass(frozen=True)
class Difference:
    """How much more accurate the first of two models is, in percentage points, with a 95 % interval."""

    value: float
    low: float
    high: float


def difference(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Difference:
    """Returns the mean difference over seeds; each pair has whether each image is right, of both models of a seed.

    Images are paired: each has its mean difference over the seeds. With several seeds, the variance of their
    differences counts, too, because another training gives another network.
    """
    differences = np.array([first.astype(float) - second.astype(float) for first, second in pairs])
    of_images, of_seeds = differences.mean(0), differences.mean(1)
    variance = float(of_images.var(ddof=1)) / len(of_images)
    if len(of_seeds) > 1:
        variance += float(of_seeds.var(ddof=1)) / len(of_seeds)
    mean, width = float(of_images.mean()), _NORMAL * float(np.sqrt(variance))
    return Difference(100 * mean, 100 * (mean - width), 100 * (mean + width))
