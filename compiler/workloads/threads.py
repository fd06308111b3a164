"""How many threads a workload is worth."""

from __future__ import annotations

from compiler.workloads.workload import Workload

# Waking a second thread costs about as long as a core takes for this many operations (2 µs). Layers that take not much
# longer run on one thread.
_FLOPS_WORTH_A_THREAD = 400_000


def threads_for(workload: Workload | None, cores: int) -> int:
    """Returns 1 for a workload that threads would not make faster, otherwise the number of cores."""
    return 1 if workload is not None and workload.flops < _FLOPS_WORTH_A_THREAD * cores else cores
