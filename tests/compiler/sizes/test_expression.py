"""Expressions of sizes: their values, and their JSON, which may come from elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.sizes.expression import Expression, Quotient, evaluated, read, written

NAMES = ("batch", "length", "width")
FACTOR = st.sampled_from(NAMES) | st.builds(Quotient, st.sampled_from(NAMES), st.integers(-9, 9), st.integers(1, 64))
TERM = st.tuples(st.integers(-50, 50), st.lists(FACTOR, min_size=1, max_size=4).map(tuple))
EXPRESSION = st.builds(
    Expression, st.lists(TERM, max_size=3).map(tuple), st.integers(-(10**6), 10**6), st.integers(1, 64)
)


def test_the_value() -> None:
    expression = Expression(((3, ("batch", "length", "length")), (-2, ("batch",))), 7, 2)
    assert expression.at({"batch": 5, "length": 4}) == (3 * 5 * 4 * 4 - 2 * 5 + 7) // 2
    assert str(expression) == "(3*batch*length*length + -2*batch + 7) // 2"
    assert str(Expression(((1, ("length",)),))) == "length"
    rounded = Expression(((8, ("batch", Quotient("length", -1, 2))),))
    assert [rounded.at({"batch": 3, "length": length}) for length in (1, 2, 3, 4)] == [0, 0, 24, 24]
    assert str(rounded) == "8*batch*((length - 1) // 2)"


@given(EXPRESSION, st.fixed_dictionaries({name: st.integers(1, 10_000) for name in NAMES}))
def test_json_of_every_expression(expression: Expression, sizes: dict[str, int]) -> None:
    value = {"shape": [4, expression, [expression]], "name": "x", "axis": None}
    back = read(json.loads(json.dumps(written(value))), NAMES)
    assert back == value
    number = expression.at(sizes)
    assert evaluated(back, sizes) == {"shape": [4, number, [number]], "name": "x", "axis": None}


@pytest.mark.parametrize(
    "change",
    [
        {"terms": None},
        {"terms": 3},
        {"terms": [3]},
        {"terms": [[1]]},
        {"terms": [["many", ["batch"]]]},
        {"terms": [[1, ["other"]]]},
        {"terms": [[1, [["batch"]]]]},
        {"constant": None},
        {"constant": "x"},
        {"divisor": 0},
        {"divisor": -2},
        {"divisor": []},
        {"divisor": float("inf")},
        {"constant": float("nan")},
        {"constant": 1.5},
        {"constant": 10**30},
        {"terms": [[True, ["batch"]]]},
        {"terms": "ab"},
        {"terms": [[1, [["batch", 1]]]]},
        {"terms": [[1, [["batch", 1, 0]]]]},
        {"terms": [[1, [["batch", 1, 2.0]]]]},
        {"terms": [[1, [["batch", None, 2]]]]},
        {"terms": [[1, [["other", 1, 2]]]]},
        {"terms": [[1, [3]]]},
    ],
    ids=str,
)
def test_json_from_elsewhere(change: dict[str, Any]) -> None:
    fields = Expression(((1, ("batch",)),)).to_json()
    with pytest.raises(ValueError, match=r"^an expression of sizes is .*$"):
        Expression.from_json(fields | change, NAMES)
    for missing in fields:
        with pytest.raises(ValueError, match=r"^an expression of sizes is .*$"):
            Expression.from_json({k: v for k, v in fields.items() if k != missing}, NAMES)


@pytest.mark.parametrize("value", [None, 3, "text", [1, 2], [[]]])
def test_json_of_another_type(value: Any) -> None:
    (key,) = written(Expression(()))
    with pytest.raises(ValueError, match=r"^an expression of sizes is .*$"):
        read({key: value}, NAMES)
