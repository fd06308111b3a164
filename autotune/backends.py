"""The schedule spaces of workloads, by backend."""

from __future__ import annotations

from compiler.workloads.schedule import ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

BACKENDS = ("kernel", "tvm")


def space(backend: str, workload: Workload, target: Target, fast_algorithms: bool = True) -> ScheduleSpace:
    """Returns the schedule space of a workload on a target. Imports TVM only for the backend ``"tvm"``.

    Args:
        fast_algorithms: whether schedules may use Winograd's and Strassen's algorithms, which round more than a sum.

    Raises:
        ValueError: no such backend, or it has no space for this operator or data type, or the target lacks the type.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; choose from: {', '.join(BACKENDS)}")
    if backend not in (possible := backends(workload)):
        what = f"no {backend} space for {workload.op} in {workload.dtype}"
        raise ValueError(f"{what}; choose from: {', '.join(possible)}" if possible else what)
    if backend == "kernel":
        from compiler import spaces

        return spaces.space(workload, target, fast_algorithms)
    from compiler.tvm_backend.space import TvmSpace

    return TvmSpace(workload, target)


def backends(workload: Workload) -> tuple[str, ...]:
    """Returns those of ``BACKENDS`` that have schedules for the workload's operator and data type."""
    dtypes = {"kernel": workload.operator.dtypes, "tvm": workload.operator.tvm_dtypes}
    return tuple(backend for backend in BACKENDS if workload.dtype in dtypes[backend])
