"""Predictions follow their formula: numbers computed by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scaling.predict import (
    Costs,
    costs_of,
    largest_error,
    predict,
    predicted_secs,
    with_fork_join,
    within,
)
from benchmarks.scaling.simulated import Call, busy
from kernels import MachineModel

COSTS = Costs("costs", lambda threads: 0.5 if threads > 1 else 0.0, lambda threads: float(threads))
TWO_REGIONS = Call("a", "conv2d", 1.0, ((2.0, 3.0), (4.0, 1.0)))


def test_the_longest_share_of_each_region_counts() -> None:
    assert TWO_REGIONS.work_secs == 11
    assert TWO_REGIONS.longest_secs == 1 + 3 + 4
    assert TWO_REGIONS.imbalance == pytest.approx(7 / 5)
    assert predicted_secs(TWO_REGIONS, COSTS) == 8 + 2 * 0.5


def test_a_call_without_regions_is_serial() -> None:
    call = Call("a", "softmax", 2.0)
    assert (call.threads, call.imbalance, predicted_secs(call, COSTS)) == (1, 1.0, 2.0)


def test_memory_is_a_limit() -> None:
    """40e9 bytes at 2e9 bytes per second."""
    call = Call("a", "dense", 0.0, ((1.0, 1.0),), {"L2": 10**12, "memory": 40 * 10**9})
    assert predicted_secs(call, COSTS) == 20.5


def test_a_program_is_the_sum_of_its_calls() -> None:
    one = [Call("a", "conv2d", 10.0), Call("b", "softmax", 2.0)]
    found = predict(one, [TWO_REGIONS, Call("b", "softmax", 2.0)], 2, COSTS)
    assert (found.one_secs, found.work_secs, found.longest_secs, found.serial_secs) == (12, 13, 10, 3)
    assert (found.join_secs, found.secs, found.regions) == (1, 11, 2)
    assert found.speedup == pytest.approx(12 / 11)
    assert found.inflation == pytest.approx(13 / 12)


def test_shares_without_work_are_not_threads() -> None:
    call = Call("a", "conv2d", 0.0, ((1.0, 0.9, 1e-4, 0.0),))
    assert call.threads == 2
    assert call.imbalance == pytest.approx(1 / 0.95)


@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=8).map(tuple))
def test_imbalance_is_between_1_and_the_number_of_threads(shares: tuple[float, ...]) -> None:
    call = Call("a", "conv2d", 0.0, (shares,))
    assert set(busy(shares)) <= set(shares)
    assert 1 - 1e-9 <= call.imbalance <= call.threads + 1e-9
    assert call.longest_secs <= call.work_secs * (1 + 1e-9)


@pytest.mark.parametrize(
    ("shares", "one", "expected"),
    [
        ((1.0, 1.0), 2.0, True),
        ((1.1, 1.1), 2.0, False),  # more work
        ((1.3, 0.7), 2.0, False),  # not balanced
        ((1.3, 0.7, 0.0, 0.0), 2.0, True),  # uses fewer threads
        ((1.1, 1.1), None, True),  # not in the one-thread program
    ],
)
def test_targets(shares: tuple[float, ...], one: float | None, expected: bool) -> None:
    assert within(Call("a", "conv2d", 0.0, (shares,)), one, len(shares)) is expected


def test_costs_of_a_machine_and_assumed_ones() -> None:
    machine = MachineModel.interpolated(4)
    costs = costs_of(machine)
    assert "interpolated, not measured" in costs.about
    assert costs.fork_join_secs(4) == machine.fork_join_secs(4)
    assumed = with_fork_join(costs, 10e-6, 2e-6)
    assert [assumed.fork_join_secs(threads) for threads in (1, 2, 4)] == pytest.approx([0, 10e-6, 14e-6])
    assert assumed.memory_gbs(4) == costs.memory_gbs(4)
    assert "10 µs for two threads and 2 µs" in assumed.about


def test_the_largest_error_is_over_common_numbers_of_threads() -> None:
    assert largest_error({1: 1, 2: 1.8, 8: 4.4}, {1: 1, 2: 2, 4: 3, 8: 4}) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="no number of threads that was simulated"):
        largest_error({1: 1, 2: 2}, {1: 1, 4: 3})
