"""How many threads a workload is worth."""

from __future__ import annotations

import kernels
from compiler.workloads.machines import L3, peak_flops
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

# Operators whose schedules have the parts of rows and columns.
_DIVIDED = frozenset({"dense", "conv2d"})


def threads_for(workload: Workload | None, target: Target) -> int:
    """Returns 1 for a workload that threads would not make faster, otherwise the target's number of cores.

    Threads save at least what the other cores take over of the arithmetic at the peak, or of loads from L3. They cost a
    parallel region. Kernels of ``_DIVIDED`` then choose how many of the cores they use; the others use all.
    """
    cores = target.num_cores
    if workload is None or cores == 1:
        return cores
    arithmetic = workload.flops / peak_flops(target, workload.dtype)
    loads = workload.bytes / (target.model.bandwidth_gbs(L3) * 1e9)
    busy = max(arithmetic, loads)
    counts = {m * n for m, n in kernels.thread_splits(cores)} if workload.op in _DIVIDED else {cores}
    gains = any(used > 1 and busy * (1 - 1 / used) >= target.model.fork_join_secs(used) for used in counts)
    return cores if gains else 1
