"""Expressions found from their values at the witnesses hold in the whole ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, islice, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.sizes.differing import Witnesses
from compiler.sizes.expression import Expression
from compiler.sizes.fit import fitted
from compiler.sizes.size import Size

NAMES = ("batch", "length", "width")
RANGES = st.builds(
    lambda first, count, step: range(first, first + count * step, step),
    st.integers(1, 40),
    st.integers(2, 40),
    st.sampled_from([1, 1, 1, 2, 8, 32]),
)
SIZES = st.lists(RANGES, min_size=1, max_size=3).map(
    lambda ranges: tuple(Size(name, values) for name, values in zip(NAMES, ranges, strict=False))
)


def points(sizes: Sequence[Size]) -> Iterator[dict[str, int]]:
    """Yields all points of the ranges, at most 3,000, from both ends."""
    names = [size.name for size in sizes]
    for ordered in ([size.values for size in sizes], [size.values[::-1] for size in sizes]):
        for values in islice(product(*ordered), 1500):
            yield dict(zip(names, values, strict=True))


def found(function: Callable[[Mapping[str, int]], int], sizes: Sequence[Size]) -> int | Expression | None:
    witnesses = Witnesses.of(sizes).points
    return fitted([function(point) for point in witnesses], witnesses, sizes)


def value(expression: int | Expression, point: Mapping[str, int]) -> int:
    return expression if isinstance(expression, int) else expression.at(point)


def products(names: Sequence[str]) -> list[tuple[str, ...]]:
    every = (names_of for count in (1, 2, 3, 4) for names_of in combinations_with_replacement(names, count))
    return [names_of for names_of in every if all(names_of.count(name) <= 2 for name in names_of)]


@settings(deadline=None, max_examples=40)
@given(SIZES, st.data())
def test_expressions_are_found(sizes: tuple[Size, ...], data: st.DataObject) -> None:
    chosen = data.draw(
        st.lists(st.sampled_from(products([size.name for size in sizes])), min_size=1, max_size=2, unique=True)
    )
    coefficients = [data.draw(st.integers(-9, 9).filter(bool)) for _ in chosen]
    original = Expression(tuple(zip(coefficients, chosen, strict=True)), data.draw(st.integers(-5, 40)))
    fit = found(original.at, sizes)
    if fit is None:  # not from few values of a size; those of many must be enough
        assert any(len(size.values) < 7 for size in sizes)
        return
    for point in points(sizes):
        assert value(fit, point) == original.at(point)


@settings(deadline=None, max_examples=20)
@given(SIZES, st.integers(2, 8), st.integers(1, 9))
def test_quotients_leave_no_remainder(sizes: tuple[Size, ...], divisor: int, coefficient: int) -> None:
    """A quotient is found if it is exact in the whole range; one that is rounded is not taken for another one."""
    size = sizes[0]
    fit = found(lambda point: coefficient * point[size.name] // divisor, sizes)
    if fit is not None:
        for point in points(sizes):
            assert value(fit, point) == coefficient * point[size.name] // divisor
    elif all(coefficient * value % divisor == 0 for value in size.values):
        assert len(size.values) < 7


LIMITS = st.integers(1, 100)
OTHERS: dict[str, Callable[[int, int], int]] = {
    "minimum": lambda n, k: min(n, k),
    "maximum": lambda n, k: max(n, k),
    "remainder": lambda n, k: n % min(k, 4),
    "rounded up": lambda n, _k: -(-n // 8) * 8,
    "rounded down": lambda n, _k: n // 2 * 2,
    "half, rounded up": lambda n, _k: (n + 1) // 2,
    "cube": lambda n, _k: n**3,
    "power": lambda n, _k: 2 ** min(n, 60),
    "is above": lambda n, k: int(n > k),
}


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(OTHERS)), LIMITS, SIZES)
def test_other_functions_are_not_taken_for_expressions(kind: str, limit: int, sizes: tuple[Size, ...]) -> None:
    """Except those that depend on sizes of 1 alone: no program is lowered there, because 1 means a broadcast."""
    size = sizes[0]
    fit = found(lambda point: OTHERS[kind](point[size.name], limit), sizes)
    if fit is not None:
        for point in points(sizes):
            if point[size.name] > 1:
                assert value(fit, point) == OTHERS[kind](point[size.name], limit)


@pytest.mark.parametrize("kind", ["minimum", "remainder", "rounded up", "rounded down", "half, rounded up", "is above"])
@pytest.mark.parametrize("values", [range(1, 512), range(1, 513), range(1, 2049), range(2, 100), range(7, 70)], ids=str)
def test_other_functions_of_one_length(kind: str, values: range) -> None:
    assert found(lambda point: OTHERS[kind](point["length"], 9), [Size("length", values)]) is None


def test_the_simplest_expression() -> None:
    sizes = [Size("batch", range(1, 9)), Size("length", range(1, 513))]
    cases: dict[Callable[[Mapping[str, int]], int], str] = {
        lambda _p: 12: "12",
        lambda p: p["length"]: "length",
        lambda p: p["batch"] * p["length"]: "batch*length",
        lambda p: p["batch"] + p["length"]: "batch + length",
        lambda p: 12 * p["batch"] * p["length"] ** 2 + 3: "12*batch*length*length + 3",
        lambda p: -p["length"] + 512: "-1*length + 512",
    }
    for function, text in cases.items():
        assert str(found(function, sizes)) == text
    stepped = [Size("height", range(32, 321, 32)), Size("width", range(32, 321, 32))]
    assert str(found(lambda p: p["height"] // 32 * (p["width"] // 16), stepped)) == "(height*width) // 512"


def test_short_ranges() -> None:
    """2 and 3 are the only values above 1, where n · n and 5 · n - 6 are equal."""
    assert str(found(lambda point: point["n"] ** 2, [Size("n", range(1, 4))])) == "n*n"
    assert str(found(lambda point: 3 * point["n"] ** 2 - 7, [Size("n", range(1, 4))])) == "3*n*n + -7"
