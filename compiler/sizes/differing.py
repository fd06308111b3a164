"""What differs between the programs of a model at several sizes, as expressions of the sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from compiler.sizes.expression import Expression
from compiler.sizes.fit import fitted
from compiler.sizes.quotients import products, separating
from compiler.sizes.size import Size

_POINTS = 4  # on the line of each size
_MODULI = (2, 3, 4)
_MOST_VALUES = 4096  # of a range, from which points are chosen


class DifferentPrograms(ValueError):
    """The program depends on the sizes in a way that one program for all of them cannot have."""


class Undetermined(Exception):
    """The points do not determine an expression. ``point`` is a further one that does, or brings it closer."""

    def __init__(self, point: Mapping[str, int]) -> None:
        super().__init__(f"one more point is needed: {point}")
        self.point = point


@dataclass(frozen=True)
class Witnesses:
    """Sizes at which a model is lowered, in order to find how its program depends on them.

    Attributes:
        sizes: the sizes that vary.
        points: values of the sizes by name. The first point is on the line of each size, the last one has the largest
            ones. Some may exceed a short range.
        found: the expressions that are known already, by their values at the points; None if no expression has these.
    """

    sizes: tuple[Size, ...]
    points: tuple[Mapping[str, int], ...]
    found: dict[tuple[int, ...], int | Expression | None] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, sizes: Sequence[Size]) -> Witnesses:
        """Chooses points: two lines for each size, some points in addition to them, and the largest sizes."""
        few = {size.name: _spread(size.values) for size in sizes}
        base = {name: values[0] for name, values in few.items()}
        points = [base]
        for name, values in few.items():
            points += [base | {name: value} for value in values[1:]]
        for turn in (1, 2):
            points.append(
                {name: values[(turn + place) % len(values)] for place, (name, values) in enumerate(few.items())}
            )
        last = {size.name: max(size.largest, *few[size.name]) for size in sizes}
        distinct = {tuple(point.values()): point for point in points if point != last or point is base}
        return cls(tuple(sizes), (*distinct.values(), last))

    def with_point(self, point: Mapping[str, int]) -> Witnesses:
        """Returns these witnesses with another point, before the last one."""
        return replace(self, points=(*self.points[:-1], point, self.points[-1]), found={})

    def merged(self, values: Sequence[Any], what: str) -> Any:
        """Merges JSON values, one per point: integers that differ become expressions.

        Raises:
            DifferentPrograms: the values differ in another way.
        """
        first = values[0]
        if all(type(value) is type(first) for value in values):
            if isinstance(first, dict) and all(value.keys() == first.keys() for value in values):
                return {key: self.merged([value[key] for value in values], f"{what}, {key}") for key in first}
            if isinstance(first, (list, tuple)) and all(len(value) == len(first) for value in values):
                return [self.merged(parts, what) for parts in zip(*values, strict=True)]
            if all(value == first for value in values):
                return first
            if type(first) is int:
                return self.expression(values, what)
        raise self.error(what)

    def expression(self, values: Sequence[int], what: str) -> int | Expression:
        """Returns the number or the expression that has these values at the points.

        Raises:
            DifferentPrograms: no expression has these values.
            Undetermined: several have, which differ elsewhere.
        """
        key = tuple(values)
        if key not in self.found:
            self.found[key] = self._expression(key)
        found = self.found[key]
        if found is None:
            raise self.error(what, values)
        return found

    def _expression(self, values: Sequence[int]) -> int | Expression | None:
        found = fitted(values, self.points, self.sizes)
        if found is not None:
            return found
        candidates = products(values, self.points, self.sizes)
        if not candidates:
            return None
        point = separating(candidates, self.points[0], self.sizes)
        if point is not None:
            raise Undetermined(point)
        return candidates[0]

    def is_leading(self, parts: Sequence[np.ndarray]) -> bool:
        """Whether each array is a leading part of the last one, along every axis."""
        whole = parts[-1]
        return all(
            part.ndim == whole.ndim
            and part.dtype == whole.dtype
            and all(a <= b for a, b in zip(part.shape, whole.shape, strict=True))
            and part.tobytes() == whole[tuple(map(slice, part.shape))].tobytes()
            for part in parts
        )

    def error(self, what: str, values: Sequence[int] = ()) -> DifferentPrograms:
        """Returns an error that names what differs, and two different values of it."""
        place = next((place for place, value in enumerate(values) if value != values[0]), 0)
        listed = ""
        if place:
            at = [", ".join(f"{name} {value}" for name, value in self.points[index].items()) for index in (0, place)]
            listed = f" ({values[0]} at {at[0]}; {values[place]} at {at[1]})"
        return DifferentPrograms(
            f"one program cannot serve all of these sizes, because of {what}{listed}; give smaller ranges, or numbers"
        )


def _spread(values: range) -> list[int]:
    """Returns a few values, none of which is 1, at which dimensions are broadcast.

    The first four are large, descending and prime if possible, unlike the constant sizes of most models. If the range
    has too few values, larger ones are added. Others follow that show what depends on remainders or on a limit:
    minimum(length, 64) is the same for all large lengths.
    """
    usable = [value for value in values[-_MOST_VALUES:] if value > 1]
    while len(usable) < _POINTS:
        usable.append((usable[-1] if usable else values[-1]) + values.step)
    usable.sort(key=_rank, reverse=True)
    best = sorted(usable[: max(_POINTS, len(usable) // 8)], reverse=True)
    count = min(_POINTS, len(best))
    chosen = [best[(len(best) - 1) * index // max(1, count - 1)] for index in range(count)]
    smallest = next((value for value in values[:2] if value > 1), chosen[-1])
    return list(dict.fromkeys([*chosen, *_of_other_remainders(chosen, values), smallest]))


def _of_other_remainders(chosen: Sequence[int], values: range) -> list[int]:
    """Returns values such that the remainders modulo 2, 3 and 4 differ among all points, as far as the range allows."""
    found: list[int] = []
    for modulus in _MODULI:
        others = [v for v in values[-_MOST_VALUES:] if v > 1 and v % modulus != chosen[0] % modulus]
        if others and all(value % modulus == chosen[0] % modulus for value in (*chosen, *found)):
            found.append(max(others, key=_rank))
    return found


def _rank(n: int) -> tuple[float, int]:
    return _largest_factor(n), n


def _largest_factor(n: int) -> float:
    """The largest prime factor, as a share of the number for numbers of the same order."""
    factor, rest = 2, n
    largest = 1
    while factor * factor <= rest:
        if rest % factor:
            factor += 1
        else:
            rest //= factor
            largest = factor
    return max(largest, rest) / n if n > 1 else 0
