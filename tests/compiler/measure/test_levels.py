"""Which level of the memory holds data, and the working sets with which the bandwidths are measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from compiler.measure import levels
from compiler.measure.levels import LEVELS, Caches, Level, capacity, holder, working_set

KIB, MIB = 1 << 10, 1 << 20
ZEN5: Caches = (48 * KIB, MIB, 32 * MIB)
CACHES = st.tuples(st.integers(1, 64), st.integers(65, 4096), st.integers(4097, 1 << 16)).map(
    lambda sizes: (sizes[0] * KIB, sizes[1] * KIB, sizes[2] * KIB)
)


@pytest.mark.parametrize(
    ("size", "threads", "nearest", "expected"),
    [
        (48 * KIB, 1, "L1", "L1"),
        (48 * KIB, 1, "L2", "L2"),
        (48 * KIB + 1, 1, "L1", "L2"),
        (96 * KIB, 2, "L1", "L1"),  # each of two cores has one half
        (3 * MIB // 2, 1, "L1", "L3"),
        (3 * MIB // 2, 2, "L1", "L2"),
        (8 * MIB, 1, "L1", "L3"),
        (32 * MIB + 1, 1, "L1", "memory"),
        (32 * MIB + 1, 2, "L1", "memory"),  # both cores share L3
        (33 * MIB, 64, "L1", "L2"),  # on 64 cores
        (1, 1, "memory", "memory"),
    ],
)
def test_the_nearest_level_with_enough_room_holds_data(
    size: int, threads: int, nearest: Level, expected: Level
) -> None:
    assert holder(size, threads, ZEN5, nearest) == expected


def test_a_level_of_unknown_size_holds_nothing() -> None:
    caches: Caches = (32 * KIB, 256 * KIB, 0)
    assert holder(257 * KIB, 1, caches) == "memory"
    with pytest.raises(ValueError, match=r"^this CPU reports no L3 cache; it has: L1, L2$"):
        working_set("L3", 1, caches)


@given(size=st.integers(0, 1 << 28), more=st.integers(0, 1 << 28), threads=st.integers(1, 64), caches=CACHES)
def test_more_data_is_never_in_a_nearer_level(size: int, more: int, threads: int, caches: Caches) -> None:
    assert LEVELS.index(holder(size, threads, caches)) <= LEVELS.index(holder(size + more, threads, caches))


@given(threads=st.integers(1, 64), caches=CACHES)
def test_the_working_set_of_a_level_is_held_by_it(threads: int, caches: Caches) -> None:
    """Where L3 has less room than all L2 together, nothing is in L3, and nobody measures it."""
    for level in LEVELS[:3]:
        size = working_set(level, threads, caches)
        assert size is not None
        if level != "L3" or capacity("L2", threads, caches) < capacity("L3", threads, caches):
            assert holder(size, threads, caches) == level
    assert working_set("memory", threads, caches) is None


def test_each_bandwidth_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[object, ...]] = []
    monkeypatch.setattr(kernels, "cache_bytes", lambda: ZEN5)
    monkeypatch.setattr(kernels, "memory_bandwidth", lambda *limits: measured.append(limits) or 10.0)
    levels.bandwidth.cache_clear()
    try:
        for _ in range(2):
            assert levels.bandwidth("L1", 2) == levels.bandwidth("memory", 1) == 10.0
        assert measured == [(2, 48 * KIB), (1, None)]
        levels.measured_bandwidth("L1", 2)
        assert len(measured) == 3
    finally:
        levels.bandwidth.cache_clear()
