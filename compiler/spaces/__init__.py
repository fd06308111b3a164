"""Schedule spaces, one file a backend."""

from __future__ import annotations

from compiler.schedule import ScheduleSpace
from compiler.target import Target
from compiler.workload import Workload

BACKENDS = ("kernel", "tvm")


def space(backend: str, workload: Workload, target: Target) -> ScheduleSpace:
    """The space of ``backend`` for one workload on one target; imports TVM only where asked for.

    Raises:
        ValueError: no such backend.
    """
    if backend == "kernel":
        from compiler.spaces.kernel import KERNEL_SPACES

        return KERNEL_SPACES[workload.op](workload, target)
    if backend == "tvm":
        from compiler.spaces.tvm import TvmSpace

        return TvmSpace(workload, target)
    raise ValueError(f"unknown backend {backend!r}; choose from: {', '.join(BACKENDS)}")
