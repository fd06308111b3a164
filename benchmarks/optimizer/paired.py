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

    Images are paired and seeds are strata: the variance is that of the differences within each seed (McNemar's test
    with an interval; Agresti: Categorical Data Analysis, 3rd edition, section 11.1).
    """
    differences = [first.astype(float) - second.astype(float) for first, second in pairs]
    mean = float(np.mean([each.mean() for each in differences]))
    variance = sum(float(each.var(ddof=1)) / len(each) for each in differences) / len(differences) ** 2
    width = _NORMAL * float(np.sqrt(variance))
    return Difference(100 * mean, 100 * (mean - width), 100 * (mean + width))
