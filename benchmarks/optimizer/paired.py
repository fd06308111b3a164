"""The difference of two accuracies on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Quantiles of a 95 % interval by Student's t, by the least degrees of freedom for which they hold.
_T = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
    10: 2.228,
    15: 2.131,
    30: 2.042,
    100: 1.984,
    500: 1.965,
    1000: 1.962,
}


@dataclass(frozen=True)
class Difference:
    """How much more accurate the first of two models is, in percentage points, with a 95 % interval."""

    value: float
    low: float
    high: float


def difference(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Difference:
    """Returns the mean difference over seeds; each pair has whether each image is right, of both models of a seed.

    Images are paired: each has its mean difference over the seeds. With several seeds, the variance of their
    differences counts, too, because another training gives another network. The degrees of freedom of the sum are those
    of Welch and Satterthwaite.
    """
    differences = np.array([first.astype(float) - second.astype(float) for first, second in pairs])
    of_images, of_seeds = differences.mean(0), differences.mean(1)
    parts = [(float(each.var(ddof=1)) / len(each), len(each) - 1) for each in (of_images, of_seeds) if len(each) > 1]
    variance = sum(part for part, _ in parts)
    spread = sum(part**2 / freedom for part, freedom in parts)
    quantile = _quantile(variance**2 / spread) if spread > 0 else 0.0
    mean, width = float(of_images.mean()), quantile * float(np.sqrt(variance))
    return Difference(100 * mean, 100 * (mean - width), 100 * (mean + width))


def _quantile(freedom: float) -> float:
    return _T[max(least for least in _T if least <= max(1.0, freedom))]
