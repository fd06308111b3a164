"""Sizes of a model's inputs that each run chooses within a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Size:
    """A size that varies from run to run.

    Attributes:
        name: an identifier, unique within the model.
        values: the values that it may have, ascending.

    Raises:
        ValueError: there are fewer than two values, or the values are not ascending from 1 or more.
    """

    name: str
    values: range

    def __post_init__(self) -> None:
        if self.values.step < 1 or self.values.start < 1 or len(self.values) < 2:
            raise ValueError(f"size {self.name}: a range must have at least two values, ascending from 1 or more")

    @property
    def largest(self) -> int:
        return self.values[-1]

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
