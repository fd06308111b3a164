"""Sizes with a range of values."""

from __future__ import annotations

import re
from typing import Any

import pytest

from compiler.sizes.size import Size


def test_the_values() -> None:
    size = Size("length", range(32, 321, 32))
    assert (size.largest, str(size)) == (320, "32 to 320 in steps of 32")
    assert size.typical in size.values
    assert str(Size("length", range(1, 513))) == "1 to 512"
    assert Size.from_json(size.to_json()) == size


@pytest.mark.parametrize(
    "values", [range(0), range(3, 4), range(5), range(-3, 5), range(5, 1), range(5, 1, -1), range(1, 9, 8)], ids=str
)
def test_invalid_ranges(values: range) -> None:
    reason = "size length: a range must have at least two values, ascending from 1 or more"
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        Size("length", values)


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3},
        {"values": [1, 2]},
        {"values": [1, 9, 0]},
        {"values": [1, 9, 1.0]},
        {"values": [1, 9, True]},
        {"values": ["1", "9", "1"]},
        {"values": "1:9"},
        {"values": [9, 1, 1]},
    ],
    ids=str,
)
def test_json_from_elsewhere(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^.*size.*$"):
        Size.from_json(Size("length", range(1, 9)).to_json() | change)
