"""The ticks of the picture of a group of layers."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.layers.chart import RATIO_TICKS, TICK_WIDTH, ratio_ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.9, 6.36, [1, 1.5, 2, 3, 4, 6]), (0.9, 3.1, [1, 1.2, 1.5, 2, 3]), (0.77, 1.36, [0.85, 1, 1.2])],
)
def test_labels_do_not_touch(low: float, high: float, expected: list[float]) -> None:
    assert ratio_ticks(low, high) == expected


@given(st.floats(0.05, 0.9), st.floats(1.1, 20))
def test_every_range_has_1_and_room_between_ticks(low: float, high: float) -> None:
    ticks = ratio_ticks(low, high)
    assert 1 in ticks
    assert set(ticks) <= set(RATIO_TICKS)
    places = [math.log(tick / low) / math.log(high / low) for tick in ticks]
    assert all(0 <= place <= 1 for place in places)
    assert all(b - a >= TICK_WIDTH - 1e-9 for a, b in itertools.pairwise(places))
