"""Layers with cold weights: copies that run in turn."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.layers.layer import CACHES, MAX_COPIES, MAX_COPIES_BYTES, ColdLayer, copies_needed

MIB = 1 << 20


class Counting:
    """Returns n seconds per run from its n-th copy."""

    description, algorithm = "counting", "direct"

    def __init__(self, made: list[Counting]) -> None:
        made.append(self)
        self._made, self._secs = made, float(len(made))

    def run(self) -> np.ndarray:
        return np.array([self._secs])

    def time(self, number: int, repeat: int) -> list[float]:
        assert number == repeat == 1
        return [self._secs]

    def copy(self) -> Counting:
        return Counting(self._made)


def test_copies_run_in_turn_and_a_sample_is_their_mean() -> None:
    made: list[Counting] = []
    cold = ColdLayer(Counting(made), copies=3)
    assert len(made) == 3
    assert cold.time(number=3, repeat=1) == [2]
    assert cold.time(number=2, repeat=3) == [1.5, 2, 2.5]  # 1 2, 3 1, 2 3


@pytest.mark.parametrize(
    ("weights", "cache", "copies"),
    [
        (9 * MIB, 32 * MIB, 8),
        (100 * MIB, 32 * MIB, 2),  # one other is enough to evict it
        (16 * MIB, 512 * MIB, MAX_COPIES_BYTES // (16 * MIB)),
        (100, 32 * MIB, MAX_COPIES),
    ],
)
def test_copies_exceed_the_cache_within_bounds(weights: int, cache: int, copies: int) -> None:
    assert copies_needed(weights, cache) == copies
    assert copies * weights > CACHES * cache or copies == MAX_COPIES or copies * weights == MAX_COPIES_BYTES
