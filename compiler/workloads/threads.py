"""How many threads a workload is worth."""

from __future__ import annotations

from compiler.workloads.machines import L3, peak_flops
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload


def threads_for(workload: Workload | None, target: Target) -> int:
    """Returns 1 for a workload that threads would not make faster, otherwise the target's number of cores.

    Threads save at least what the other cores take over of the arithmetic at the peak, or of loads from L3. They cost a
    parallel region.
    """
    cores = target.num_cores
    if workload is None or cores == 1:
        return cores
    arithmetic = workload.flops / peak_flops(target, workload.dtype)
    loads = workload.bytes / (target.model.bandwidth_gbs(L3) * 1e9)
    saved = max(arithmetic, loads) * (1 - 1 / cores)
    return cores if saved >= target.model.fork_join_secs(cores) else 1
