"""The points at which a model is lowered, and the merging of what is found there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.sizes.differing import DifferentPrograms, Undetermined, Witnesses
from compiler.sizes.expression import Expression
from compiler.sizes.size import Size

RANGES = st.builds(
    lambda first, count, step: range(first, first + count * step, step),
    st.integers(1, 3000),
    st.integers(2, 3000),
    st.integers(1, 40),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(RANGES, min_size=1, max_size=4))
def test_points(ranges: list[range]) -> None:
    sizes = [Size(f"s{place}", values) for place, values in enumerate(ranges)]
    points = Witnesses.of(sizes).points
    for size in sizes:  # a short range has larger points, and 1 is never one
        values = {point[size.name] for point in points}
        assert 1 not in values
        assert len(values) >= 4
        assert len(size.values) < 5 or values <= set(size.values)
    distinct = {tuple(point.items()) for point in points}
    assert len(distinct) == len(points) - (points[0] == points[-1])  # the base may be the largest point, too
    assert len(points) <= 4 + 7 * len(sizes)
    assert dict(points[-1]) == {size.name: max(point[size.name] for point in points) for size in sizes}
    assert all(points[-1][size.name] >= size.largest for size in sizes)
    for size in sizes:
        seen = {point[size.name] for point in points}
        usable = [value for value in size.values if value > 1]
        assert usable[0] in seen, "what depends on a limit shows at small sizes"
        for modulus in (2, 3, 4):
            if len({value % modulus for value in usable}) > 1 and len(usable) > 1:
                assert len({value % modulus for value in seen}) > 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (range(1, 3), {2, 3}),
        (range(2, 4), {2, 3}),
        (range(1, 62, 60), {61, 121}),
        (range(32, 321, 32), {32, 320}),
        (range(1, 10**9), {2, 10**9 - 1}),
    ],
    ids=str,
)
def test_points_of_extreme_ranges(values: range, expected: set[int]) -> None:
    assert {point["n"] for point in Witnesses.of([Size("n", values)]).points} >= expected


@pytest.fixture
def two() -> Witnesses:
    return Witnesses.of([Size("batch", range(1, 9)), Size("length", range(1, 129))])


def determined(function: Callable[[Mapping[str, int]], int], sizes: list[Size]) -> int | Expression:
    """Returns the expression of a function, with further points as long as these are needed."""
    witnesses = Witnesses.of(sizes)
    for _attempt in range(40):
        point, found = attempt(function, witnesses)
        if point is None:
            return found
        assert all(point[size.name] in size.values for size in sizes)
        witnesses = witnesses.with_point(point)
    raise AssertionError("more than 40 points")


def attempt(function: Callable[[Mapping[str, int]], int], witnesses: Witnesses) -> tuple[Any, Any]:
    """Returns the further point that is needed, or the expression."""
    try:
        return None, witnesses.expression([function(point) for point in witnesses.points], "a size")
    except Undetermined as undetermined:
        return undetermined.point, None


@settings(deadline=None, max_examples=25)
@given(st.integers(8, 40), st.integers(-3, 7), st.integers(2, 8), st.integers(1, 20))
def test_quotients(first: int, offset: int, divisor: int, coefficient: int) -> None:
    """The sizes of images after convolutions with strides, which round."""
    first = max(first, divisor - offset)  # no image is empty
    height, width = Size("height", range(first, 225)), Size("width", range(first, 129))

    def pixels(point: Mapping[str, int]) -> int:
        return coefficient * ((point["height"] + offset) // divisor) * ((point["width"] + offset) // divisor)

    found = determined(pixels, [height, width])
    assert isinstance(found, Expression)
    for point in ({"height": h, "width": w} for h in height.values[::3] for w in width.values[::5]):
        assert found.at(point) == pixels(point)


@pytest.mark.parametrize("limit", [9, 40, 64, 100])
def test_limits_are_not_taken_for_quotients(limit: int) -> None:
    for function in (min, max):
        with pytest.raises(
            DifferentPrograms, match=r"^one program cannot serve all of these sizes, because of a size.*$"
        ):
            determined(lambda point, of=function: of(point["length"], limit), [Size("length", range(1, 513))])


def test_merged(two: Witnesses) -> None:
    values = [
        {
            "name": "x",
            "shape": [point["batch"], 4, point["length"]],
            "flat": (point["batch"] * point["length"], None, 1.5),
            "op": {"axis": -1, "keep": True},
        }
        for point in two.points
    ]
    merged = two.merged(values, "the layer")
    batch, length = Expression(((1, ("batch",)),)), Expression(((1, ("length",)),))
    assert merged["shape"] == [batch, 4, length]
    assert merged["flat"] == [Expression(((1, ("batch", "length")),)), None, 1.5]
    assert (merged["name"], merged["op"]) == ("x", {"axis": -1, "keep": True})


@pytest.mark.parametrize("pair", [("a", "b"), (1.5, 2.5), (True, False), (1, 1.0), (1, None), ([1], [1, 2])], ids=str)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_is_not_a_size_must_be_equal(two: Witnesses, pair: tuple[object, object], wrapped: bool) -> None:
    values = [pair[0], *[pair[1]] * (len(two.points) - 1)]
    given_values = [{"field": [value]} for value in values] if wrapped else values
    with pytest.raises(
        DifferentPrograms, match=r"^one program cannot serve all of these sizes, because of the pool.*$"
    ):
        two.merged(given_values, "the pool")


def test_other_keys(two: Witnesses) -> None:
    with pytest.raises(DifferentPrograms, match=r"because of the pool; give smaller ranges, or numbers$"):
        two.merged([{"a": 1}, *[{"b": 1}] * (len(two.points) - 1)], "the pool")


def test_leading_parts(two: Witnesses) -> None:
    shapes = [(3, 5), (1, 5), (4, 2), (4, 6)]
    whole = np.arange(prod(shapes[-1]), dtype=np.int32).reshape(shapes[-1])
    parts = [whole[:rows, :columns] for rows, columns in shapes]
    assert two.is_leading(parts)
    assert two.is_leading([np.full((0, 6), 1, np.int32), whole])
    other = parts[0].copy()
    other[-1, -1] += 1
    for wrong in (other, parts[0].astype(np.int64), parts[0][None], np.zeros((5, 6), np.int32), whole[1:3]):
        assert not two.is_leading([wrong, *parts[1:]])
