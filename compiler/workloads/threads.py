"""How many threads a workload is worth."""

from __future__ import annotations

from compiler.workloads.machines import L3, peak_flops
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload


def threads_for(workload: Workload | None, target: Target) -> int:
    """Returns 1 for a workload that threads would not make faster, otherwise the target's number of cores.

    Threads save at least the part of the arithmetic at the peak that the other cores take over. They cost a parallel
    region, and input and output pass between the L2 of different cores, which is as slow as L3.
    """
    cores = target.num_cores
    if workload is None or cores == 1:
        return cores
    saved = workload.flops / peak_flops(target, workload.dtype) * (1 - 1 / cores)
    passed = (workload.bytes - workload.weight_bytes) / (target.model.bandwidth_gbs(L3) * 1e9)
    return cores if saved >= target.model.fork_join_secs(cores) + passed else 1
