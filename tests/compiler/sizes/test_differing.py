"""The points at which a model is lowered, and the merging of what is found there."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.sizes.differing import DifferentPrograms, Witnesses
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
    assert all(point[size.name] in size.values for point in points for size in sizes)
    assert len({tuple(point.items()) for point in points}) == len(points) <= 4 + 7 * len(sizes)
    assert dict(points[-1]) == {size.name: size.largest for size in sizes}
    for size in sizes:
        seen = {point[size.name] for point in points}
        assert len(seen) >= min(len(size.values), 2)
        usable = [value for value in size.values if value > 1]
        assert usable[0] in seen, "what depends on a limit shows at small sizes"
        for modulus in (2, 3, 4):
            if len({value % modulus for value in usable}) > 1 and len(usable) > 1:
                assert len({value % modulus for value in seen}) > 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (range(1, 3), {1, 2}),
        (range(2, 4), {2, 3}),
        (range(1, 62, 60), {1, 61}),
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
    with pytest.raises(DifferentPrograms, match=r"because of the pool \(at .*\); give smaller ranges, or numbers$"):
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
