"""Which layers have bits that depend on the number of threads, and that no bit depends on anything else.

``FIXED`` have the same bits on any number of threads. ``BY_THREADS`` may round differently: a split of their rows
changes the heights of register tiles, and tiles of few rows add in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import kernels

THREADS = (1, 2, 3, 5, 8, 16)
RNG = np.random.default_rng(0)


def random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


def with_split(schedule: Mapping[str, Any], m: int, n: int) -> dict[str, Any]:
    return {**schedule, "threads": (m, n)}


ISA = kernels.detect_isa()
pytestmark = pytest.mark.skipif(ISA == "reference", reason="the reference kernels have no schedules")
ROWS, WEIGHT = random(67, 301), random(93, 301)
IMAGE, FILTERS, DEPTHWISE = random(1, 15, 17, 24), random(40, 24, 3, 3), random(24, 1, 3, 3)
TRANSPOSED = random(24, 16, 3, 3)
QUERIES = random(2, 37, 4, 16)
GATES, RECURRENT, STEPS = random(1, 4 * 32, 24) / 8, random(1, 4 * 32, 32) / 8, random(5, 3, 24)
DENSE = kernels.default_dense_schedule(67, 93, 301, ISA)
CONV = kernels.default_conv2d_schedule((1, 15, 17, 24), (40, 24, 3, 3), padding=1, isa=ISA)


def dense(m: int, n: int) -> np.ndarray:
    return kernels.Dense(WEIGHT, isa=ISA, threads=m * n, schedule=with_split(DENSE, m, n))(ROWS)


def conv(algorithm: str, m: int, n: int) -> np.ndarray:
    schedule = with_split({**CONV, "algorithm": algorithm, "rows": 3}, m, n)
    return kernels.Conv2d(FILTERS, padding=1, isa=ISA, threads=m * n, schedule=schedule)(IMAGE)


FIXED: dict[str, Callable[[int], Any]] = {
    "columns of a dense layer": lambda t: dense(1, t),
    "rows of a direct convolution": lambda t: conv("direct", t, 1),
    "columns of a direct convolution": lambda t: conv("direct", 1, t),
    "columns of winograd2": lambda t: conv("winograd2", 1, t),
    "columns of winograd4": lambda t: conv("winograd4", 1, t),
    "depthwise": lambda t: kernels.Conv2d(DEPTHWISE, padding=1, groups=24, isa=ISA, threads=t)(IMAGE),
    "max_pool2d": lambda t: kernels.max_pool2d(IMAGE, 3, threads=t),
    "global_avg_pool2d": lambda t: kernels.global_avg_pool2d(IMAGE, threads=t),
    "softmax": lambda t: kernels.softmax(ROWS, threads=t),
}
BY_THREADS: dict[str, Callable[[int], Any]] = {
    "rows of a dense layer": lambda t: dense(t, 1),
    "tiles of winograd2": lambda t: conv("winograd2", t, 1),
    "tiles of winograd4": lambda t: conv("winograd4", t, 1),
    "lstm": lambda t: kernels.Recurrent("lstm", GATES, RECURRENT, isa=ISA, threads=t)(STEPS),
    "attention": lambda t: kernels.Attention(4, 16, isa=ISA, threads=t)(QUERIES, QUERIES, QUERIES),
    "conv_transpose2d": lambda t: kernels.ConvTranspose2d(TRANSPOSED, isa=ISA, threads=t)(IMAGE),
}


def same(left: Any, right: Any) -> bool:
    if isinstance(left, tuple):
        return all(map(same, left, right))
    return np.array_equal(left, right)


@pytest.mark.parametrize("name", FIXED)
def test_the_same_bits_on_any_number_of_threads(name: str) -> None:
    wanted = FIXED[name](1)
    for threads in THREADS[1:]:
        assert same(FIXED[name](threads), wanted), threads


@pytest.mark.parametrize("name", BY_THREADS)
def test_the_same_bits_on_the_same_number_of_threads(name: str) -> None:
    for threads in THREADS:
        wanted = BY_THREADS[name](threads)
        assert all(same(BY_THREADS[name](threads), wanted) for _ in range(5)), threads
