"""Sizes of a model's inputs that each run chooses within a range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LIMIT = 2**31


@dataclass(frozen=True)
class Size:
    """A size that varies from run to run.

    Attributes:
        name: an identifier, unique within the model.
        values: the values that it may have, ascending.

    Raises:
        ValueError: the name is not an identifier, there are fewer than two values, they do not ascend from 1 or more,
            or they exceed 2^31.
    """

    name: str
    values: range

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"a size has name {self.name!r}; it must be an identifier")
        if self.values.stop > _LIMIT:
            raise ValueError(f"size {self.name}: a range must end below 2^31")
        if self.values.step < 1 or self.values.start < 1 or len(self.values) < 2:
            raise ValueError(f"size {self.name}: a range must have at least two values, ascending from 1 or more")

    @property
    def largest(self) -> int:
        return self.values[-1]

    def at_least(self, least: int) -> int:
        """Returns the smallest value that is not below a number; the largest value if all are."""
        index = max(0, -((self.values.start - least) // self.values.step))
        return self.values[min(index, len(self.values) - 1)]

    @property
    def typical(self) -> int:
        """A value for decisions that hold for all."""
        return self.values[len(self.values) // 2]

    def __str__(self) -> str:
        step = f" in steps of {self.values.step}" if self.values.step > 1 else ""
        return f"{self.values[0]} to {self.largest}{step}"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "values": [self.values.start, self.values.stop, self.values.step]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Size:
        name, bounds = fields["name"], fields["values"]
        if type(name) is not str or len(bounds) != 3 or not all(type(n) is int for n in bounds) or bounds[2] == 0:
            raise ValueError(f"a size has name {name!r} and values {bounds!r}")
        return cls(name, range(*bounds))


def growing(sizes: Sequence[Size]) -> Iterator[dict[str, int]]:
    """Yields values of all sizes from the smallest to the largest, in steps of about two."""
    least = 1
    while True:
        point = {size.name: size.at_least(least) for size in sizes}
        yield point
        if all(size.largest == point[size.name] for size in sizes):
            return
        least *= 2
