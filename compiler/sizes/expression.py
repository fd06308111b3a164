"""Expressions of sizes: sums of products of sizes, divided by a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

_LARGEST = 2**53  # number that JSON keeps everywhere


@dataclass(frozen=True)
class Quotient:
    """``(size + offset) // divisor``, such as the width of an image after a convolution with a stride."""

    size: str
    offset: int
    divisor: int

    def __str__(self) -> str:
        offset = f" {'-' if self.offset < 0 else '+'} {abs(self.offset)}" if self.offset else ""
        return f"(({self.size}{offset}) // {self.divisor})"


Factor: TypeAlias = str | Quotient


@dataclass(frozen=True)
class Expression:
    """``(sum of coefficient · product of factors + constant) // divisor``.

    Attributes:
        terms: for each term its coefficient and its factors: sizes by name, and quotients of sizes. A factor may occur
            twice.
    """

    terms: tuple[tuple[int, tuple[Factor, ...]], ...]
    constant: int = 0
    divisor: int = 1

    def at(self, sizes: Mapping[str, int]) -> int:
        """Returns the value for given sizes."""
        total = sum(
            coefficient * prod(_value(factor, sizes) for factor in factors) for coefficient, factors in self.terms
        )
        return (total + self.constant) // self.divisor

    @property
    def sizes(self) -> set[str]:
        """Names of the sizes that it uses."""
        return {factor if isinstance(factor, str) else factor.size for _c, factors in self.terms for factor in factors}

    def to_json(self) -> dict[str, Any]:
        terms = [[c, [f if isinstance(f, str) else [f.size, f.offset, f.divisor] for f in fs]] for c, fs in self.terms]
        return {"terms": terms, "constant": self.constant, "divisor": self.divisor}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], names: Sequence[str]) -> Expression:
        """The inverse of :meth:`to_json` for an expression of the sizes ``names``.

        Raises:
            ValueError: an entry is missing or has another type, or a name is unknown.
        """
        try:
            terms = tuple((_number(c), tuple(_factor(factor) for factor in factors)) for c, factors in fields["terms"])
            expression = cls(terms, _number(fields["constant"]), _number(fields["divisor"]))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"an expression of sizes is {fields!r}") from None
        divisors = [factor.divisor for _c, factors in terms for factor in factors if isinstance(factor, Quotient)]
        if min(expression.divisor, *divisors, 1) < 1 or not expression.sizes <= set(names):
            raise ValueError(f"an expression of sizes is {fields!r}; the sizes are {', '.join(names)}")
        return expression

    def __str__(self) -> str:
        terms = ["*".join([*([str(c)] if c != 1 else []), *map(str, factors)]) for c, factors in self.terms]
        text = " + ".join([*terms, *([str(self.constant)] if self.constant else [])])
        return text if self.divisor == 1 else f"({text}) // {self.divisor}"


def _value(factor: Factor, sizes: Mapping[str, int]) -> int:
    return sizes[factor] if isinstance(factor, str) else (sizes[factor.size] + factor.offset) // factor.divisor


def _factor(fields: Any) -> Factor:
    if isinstance(fields, str):
        return fields
    size, offset, divisor = fields
    return Quotient(str(size), _number(offset), _number(divisor))


def _number(value: Any) -> int:
    if type(value) is not int or abs(value) > _LARGEST:
        raise ValueError(f"{value!r} is not a number of an expression")
    return value


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
