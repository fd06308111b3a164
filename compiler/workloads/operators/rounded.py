"""Numbers in float64 with the standard deviation that float32 arithmetic gives them.

Roundings count as independent and of mean zero (Higham and Mary: A New Approach to Probabilistic Rounding Error
Analysis, 2019), so variances add up. Worst-case bounds of recurrences grow with every step and soon exclude nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compiler.workloads.operators.bounds import UNIT
from compiler.workloads.operators.operator import Array

# Deviations beyond which an error is not one of rounding. A sum's deviation is an upper bound already.
DEVIATIONS = 8


@dataclass(frozen=True)
class Rounded:
    """An array and the variance of each element."""

    value: Array
    variance: Array

    @classmethod
    def exact(cls, value: Array) -> Rounded:
        return cls(value, np.zeros(value.shape))

    def __add__(self, other: Rounded) -> Rounded:
        return _rounded(self.value + other.value, self.variance + other.variance)

    def __mul__(self, other: Rounded) -> Rounded:
        variance = self.value**2 * other.variance + other.value**2 * self.variance + self.variance * other.variance
        return _rounded(self.value * other.value, variance)

    def from_one(self) -> Rounded:
        """1 - self"""
        return _rounded(1 - self.value, self.variance)

    def times(self, matrix: Array) -> Rounded:
        """The product of rows (..., k) with the rows of a matrix (n, k)."""
        magnitude = np.abs(self.value) @ np.abs(matrix).T
        own = matrix.shape[1] * (UNIT * magnitude) ** 2
        return Rounded(self.value @ matrix.T, self.variance @ (matrix**2).T + own)

    def applied(self, function: Callable[[Array], Array], slope: float | Array) -> Rounded:
        """An activation of at most this slope. Kernels compute it with an error of 8 units of max(1, |x|)."""
        own = (8 * UNIT * np.maximum(1, np.abs(self.value))) ** 2
        return Rounded(function(self.value), np.square(slope) * self.variance + own)

    def split(self, parts: int) -> list[Rounded]:
        """Equal parts of the last axis."""
        return list(map(Rounded, np.split(self.value, parts, -1), np.split(self.variance, parts, -1)))

    @property
    def tolerance(self) -> Array:
        """The largest error of a correct float32 computation."""
        return DEVIATIONS * np.sqrt(self.variance)


def _rounded(value: Array, variance: Array) -> Rounded:
    return Rounded(value, variance + np.square(UNIT * value))
