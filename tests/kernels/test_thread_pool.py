"""What a thread is worth by the machine model: bandwidth against the cost of a parallel region."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from kernels import MachineModel
from tests.kernels.machine_models import with_lines

FLOAT_BYTES = 4
# L1, L2 and L3 of 32 KiB, 1 MiB and 16 MiB; a quarter of each is left to other data.
LINES = {
    "caches": "32768,1048576,16777216",
    "bandwidth,l2": "40,80",
    "bandwidth,l3": "20,40",
    "bandwidth,memory": "10,15",
}


def model(fork_join: float, more: Mapping[str, str] | None = None) -> MachineModel:
    return with_lines({**LINES, "fork_join": f"0,{fork_join:.5g}", **(more or {})})


@pytest.mark.parametrize(
    ("fork_join", "bytes_per_cycle"),
    [(100, 40), (2000, 40), (15_000, 40), (40_000, 20), (500_000, 20), (2_000_000, 10)],
)
def test_a_thread_is_worth_as_many_floats_as_it_loads_in_a_parallel_region(
    fork_join: float, bytes_per_cycle: float
) -> None:
    found = model(fork_join).floats_worth_a_thread()
    assert found == pytest.approx(fork_join * bytes_per_cycle / FLOAT_BYTES, rel=1e-4, abs=1)


def test_l1_does_not_count() -> None:
    """The previous operator has just written the data, more than L1 holds."""
    assert model(100, {"bandwidth,l1": "4000,8000"}).floats_worth_a_thread() == 1000


def test_one_core_needs_no_threads() -> None:
    assert MachineModel.interpolated(1).floats_worth_a_thread() == 2**63 - 1


def test_at_least_a_cache_line() -> None:
    assert model(0).floats_worth_a_thread() == 16
