"""Threads are worth it where the arithmetic that other cores take over takes longer than a parallel region."""

from __future__ import annotations

from dataclasses import replace

import pytest

import kernels
from compiler.workloads.target import Target
from compiler.workloads.threads import threads_for
from compiler.workloads.workload import Workload
from tests.kernels.machine_models import with_lines

ISA = kernels.available_isas()[0]
FORK_JOIN = 3000.0
TARGET = replace(
    Target.from_host(num_cores=1),
    num_cores=2,
    machine=with_lines({"fork_join": f"0,{FORK_JOIN}", "ghz": "2", "bandwidth,l3": "1e9,1e9"}),
)


def flops_per_cycle() -> float:
    """The best of all tiles, over a sum so long that its start does not count."""
    best = 4.0 * TARGET.lanes
    if tiles := kernels.register_tiles(ISA):
        k = 10**9
        best = max(2 * mr * nr * k / TARGET.model.tile_cycles(ISA, "float32", mr, nr, k, 0) for mr, nr in tiles)
    return best


@pytest.mark.parametrize(("share", "threads"), [(0.9, 1), (1.1, 2)])
def test_two_threads_save_half(share: float, threads: int) -> None:
    """One core saves as many cycles as the other one takes over."""
    flops = share * 2 * FORK_JOIN * flops_per_cycle()
    workload = Workload.dense(round(flops / (2 * 64 * 64)), 64, 64)
    assert workload.flops == pytest.approx(flops, rel=0.05)
    assert threads_for(workload, TARGET) == threads


def test_dear_threads_are_not_worth_it() -> None:
    workload = Workload.dense(512, 512, 512)
    assert threads_for(workload, TARGET) == 2
    assert threads_for(workload, replace(TARGET, machine=with_lines({"fork_join": "0,1e9"}))) == 1


def test_layers_bound_by_loads_are_shared() -> None:
    """A few bytes take thousands of cycles at 0.01 bytes per cycle, and a parallel region takes 1,000."""
    workload = Workload.dense(1, 8, 8)
    slow = with_lines({"fork_join": "0,1000", "bandwidth,l3": "0.01,0.01"})
    fast = with_lines({"fork_join": "0,1000", "bandwidth,l3": "1e9,1e9"})
    assert threads_for(workload, replace(TARGET, machine=slow)) == 2
    assert threads_for(workload, replace(TARGET, machine=fast)) == 1


def test_one_core_and_no_workload() -> None:
    assert threads_for(Workload.dense(512, 512, 512), replace(TARGET, num_cores=1)) == 1
    assert threads_for(None, TARGET) == 2
