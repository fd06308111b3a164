"""Expressions of sizes: sums of products of sizes, divided by a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any


@dataclass(frozen=True)
class Expression:
    """``(sum of coefficient · product of sizes + constant) // divisor``.

    Attributes:
        terms: for each term its coefficient and the sizes that it multiplies, by name; a size may occur twice.
    """

    terms: tuple[tuple[int, tuple[str, ...]], ...]
    constant: int = 0
    divisor: int = 1

    def at(self, sizes: Mapping[str, int]) -> int:
        """Returns the value for given sizes."""
        total = sum(coefficient * prod(sizes[name] for name in names) for coefficient, names in self.terms)
        return (total + self.constant) // self.divisor

    def to_json(self) -> dict[str, Any]:
        terms = [[coefficient, list(names)] for coefficient, names in self.terms]
        return {"terms": terms, "constant": self.constant, "divisor": self.divisor}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], names: Sequence[str]) -> Expression:
        """The inverse of :meth:`to_json` for an expression of the sizes ``names``.

        Raises:
            ValueError: an entry is missing or has another type, or a name is unknown.
        """
        try:
            terms = tuple((int(coefficient), tuple(map(str, used))) for coefficient, used in fields["terms"])
            expression = cls(terms, int(fields["constant"]), int(fields["divisor"]))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"an expression of sizes is {fields!r}") from None
        if expression.divisor < 1 or not {name for _c, used in terms for name in used} <= set(names):
            raise ValueError(f"an expression of sizes is {fields!r}; the sizes are {', '.join(names)}")
        return expression

    def __str__(self) -> str:
        terms = ["*".join([*([str(c)] if c != 1 else []), *names]) for c, names in self.terms]
        text = " + ".join([*terms, *([str(self.constant)] if self.constant else [])])
        return text if self.divisor == 1 else f"({text}) // {self.divisor}"


_EXPRESSION = "expression"  # the key of an expression in JSON


def evaluated(value: Any, sizes: Mapping[str, int]) -> Any:
    """Returns a JSON value with its expressions replaced by numbers."""
    if isinstance(value, Expression):
        return value.at(sizes)
    if isinstance(value, Mapping):
        return {key: evaluated(entry, sizes) for key, entry in value.items()}
    return [evaluated(entry, sizes) for entry in value] if isinstance(value, list) else value


def written(value: Any) -> Any:
    """Returns a JSON value with its expressions written as JSON."""
    if isinstance(value, Expression):
        return {_EXPRESSION: value.to_json()}
    if isinstance(value, Mapping):
        return {key: written(entry) for key, entry in value.items()}
    return [written(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def read(value: Any, names: Sequence[str]) -> Any:
    """The inverse of :func:`written`, for expressions of the sizes ``names``.

    Raises:
        ValueError: an expression is not valid.
    """
    if isinstance(value, Mapping):
        if list(value) == [_EXPRESSION]:
            return Expression.from_json(value[_EXPRESSION], names)
        return {key: read(entry, names) for key, entry in value.items()}
    return [read(entry, names) for entry in value] if isinstance(value, list) else value
