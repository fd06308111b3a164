"""Finds products of quotients of sizes, such as the number of pixels after convolutions with strides.

Each factor depends on one size: it is the size, its square, or a quotient. Points that differ in one size only give the
candidates for its factor. A few points leave several quotients, which further points distinguish.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import gcd, prod
from typing import Any

import numpy as np

from compiler.sizes.expression import Expression, Factor, Quotient
from compiler.sizes.size import Size

_MOST_CANDIDATES = 100_000
_MOST_VALUES = 4096  # of a range
_SHARED = 4  # the largest factor that all values of a quotient may share by chance

Points = Sequence[Mapping[str, int]]


def products(values: Sequence[int], points: Points, sizes: Sequence[Size]) -> list[Expression]:
    """Returns the products with these values at the points that differ in the ranges; the first point is the base."""
    if min(values) < 1:
        return []
    choices = [list(_factors(values, points, size)) for size in sizes]
    if not all(choices) or prod(map(len, choices)) > _MOST_CANDIDATES:
        return []
    return [
        Expression(((coefficient, factors),))
        for chosen in product(*choices)
        if any(isinstance(factor, Quotient) for factors in chosen for factor in factors)
        for factors in [tuple(factor for factors in chosen for factor in factors)]
        for coefficient in [values[0] // max(1, Expression(((1, factors),)).at(points[0]))]
        if all(
            Expression(((coefficient, factors),)).at(point) == value
            for point, value in zip(points, values, strict=True)
        )
    ]


def separating(
    candidates: Sequence[Expression], base: Mapping[str, int], sizes: Sequence[Size]
) -> dict[str, int] | None:
    """Returns a point within the ranges that divides the candidates into halves; None if all are equal."""
    reference = candidates[len(candidates) // 2]
    best, most = None, 0
    for size in sizes:
        line: Any = {**base, size.name: np.array(size.values[-_MOST_VALUES:], np.int64)}
        expected, nothing = reference.at(line), np.zeros(len(line[size.name]), int)
        differing = sum(np.not_equal(candidate.at(line), expected).astype(int) for candidate in candidates) + nothing
        score = np.minimum(differing, len(candidates) - differing)
        if score.max() > most:
            most, best = score.max(), {**base, size.name: size.values[-_MOST_VALUES:][int(score.argmax())]}
    return best


def _factors(values: Sequence[int], points: Points, size: Size) -> Iterator[tuple[Factor, ...]]:
    """Yields the factors of one size that are possible."""
    base, name = points[0], size.name
    line = {
        point[name]: value
        for point, value in zip(points, values, strict=True)
        if all(point[other] == base[other] for other in base if other != name)
    }
    at, along = list(line), list(line.values())
    for count in range(3):
        if all(value * at[0] ** count == along[0] * x**count for x, value in line.items()):
            yield (name,) * count
            return
    common = gcd(*along)
    for shared in range(1, _SHARED + 1):
        if common % shared == 0:
            yield from ((quotient,) for quotient in _quotients(name, at, [v // (common // shared) for v in along]))


def _quotients(name: str, at: Sequence[int], values: Sequence[int]) -> Iterator[Quotient]:
    """Yields ``(x + offset) // divisor`` with these values."""
    step, rise = max(at) - min(at), max(values) - min(values)
    for divisor in range(step // (rise + 1) + 1, (step // (rise - 1) if rise > 1 else max(at)) + 1):
        if divisor < 2:
            continue
        first = max(divisor * value - x for x, value in zip(at, values, strict=True))
        last = min(divisor * value + divisor - 1 - x for x, value in zip(at, values, strict=True))
        yield from (Quotient(name, offset, divisor) for offset in range(first, last + 1))
