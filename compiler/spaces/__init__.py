"""The schedule spaces of our own kernels, one file per operator that has a schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from compiler.spaces import attention, conv2d, dense
from compiler.spaces.base import KernelSpace
from compiler.spaces.fixed import FixedKernelSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

# By the name that definitions give as their space.
_SPACES: Mapping[str, Callable[[Workload, Target, bool], KernelSpace]] = {
    "attention": attention.space,
    "conv2d": conv2d.space,
    "dense": dense.space,
}


def space(workload: Workload, target: Target, fast_algorithms: bool = True) -> KernelSpace:
    """Returns the schedule space of our kernel for a workload.

    Args:
        fast_algorithms: whether schedules may use Winograd's and Strassen's algorithms, which round more than a plain
            sum.

    Raises:
        ValueError: the target has no microkernel for the workload's data type.
    """
    name = workload.operator.space
    return FixedKernelSpace(workload, target) if name is None else _SPACES[name](workload, target, fast_algorithms)
