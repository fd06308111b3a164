"""Choices as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compiler.program.choice import COMPILED, Choice

CHOICE = Choice("b", {COMPILED: 1.0, "b": 0.5}, {"b": (2.0, 1.5, 2.5)}, {"c": "no reason"})


def test_json_keeps_everything() -> None:
    assert Choice.from_json(json.loads(json.dumps(CHOICE.to_json()))) == CHOICE


@pytest.mark.parametrize(
    "changed",
    [
        {"chosen": "c"},
        {"chosen": None},
        {"seconds": []},
        {"seconds": {COMPILED: "slow", "b": 1}},
        {"speedups": {"b": [1.0]}},
        {"speedups": {"b": 1.0}},
        {"left_out": None},
    ],
)
def test_invalid_entries(changed: dict[str, Any]) -> None:
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        Choice.from_json(CHOICE.to_json() | changed)
