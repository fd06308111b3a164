"""The error bound of a float32 matrix product by Strassen's algorithm in Winograd's form.

Strassen, Gaussian Elimination is not Optimal (1969); kernels/cpp/dense/strassen.cc has its seven products. The error is
bounded by norms and not per element (Higham, Accuracy and Stability of Numerical Algorithms, 23.2.2): it depends on the
magnitude of the sums of quarters, which cancel.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.workloads.operators.operator import Instance

_UNIT = float(np.finfo(np.float32).eps) / 2
_DEVIATIONS = 6
_SUMS = 10  # additions that a product takes part in: three of quarters on each side, and four of products


def error_bound(x: np.ndarray, weight: np.ndarray) -> float:
    """Returns a bound on the float32 error that about one output in 10⁹ exceeds: x (m, k), weight (n, k), k even.

    As in :func:`compiler.workloads.winograd.error_bound`, roundings and the signs of products are assumed to be
    independent, so variances add up. Sums of quarters are bounded by magnitudes. The kernel chooses the rows and
    columns that are added, so each is bounded by the largest of all rows or columns, per element of k.
    """
    half = x.shape[1] // 2
    left, right = np.split(np.abs(x).astype(np.float64).max(axis=0), [half])
    upper, lower = np.split(np.abs(weight).astype(np.float64).max(axis=0), [half])
    # A11 and A21 are bounded by `left`, A12 and A22 by `right`; B11 and B12 by `upper`, B21 and B22 by `lower`.
    s1, s3, t1, t3 = left + right, 2 * left, 2 * upper, 2 * lower
    s2, t2 = s1 + left, lower + t1
    s4, t4 = right + s2, t2 + lower
    p1, p2, p3, p4, p5, p6, p7 = (
        float(np.sum((s * t) ** 2))
        for s, t in ((left, upper), (right, lower), (s4, lower), (right, t4), (s1, t1), (s2, t2), (s3, t3))
    )
    variance = max(p1 + p2, p1 + p6 + p5 + p3, p1 + p6 + p7 + p4, p1 + p6 + p7 + p5)
    return _DEVIATIONS * _UNIT * sqrt((half + _SUMS) * variance)


def saving(workload: Instance) -> float:
    """Returns how many times fewer multiplications a matrix product needs by Strassen's algorithm: 7 of 8."""
    return 8 / 7 if workload.dtype == "float32" else 1.0
