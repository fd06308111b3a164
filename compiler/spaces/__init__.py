"""The parameters of our own kernels, one file an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from compiler.spaces.attention import AttentionKernelSpace
from compiler.spaces.base import KernelSpace
from compiler.spaces.conv2d import ConvKernelSpace, PointwiseKernelSpace, is_pointwise
from compiler.spaces.dense import DenseKernelSpace
from compiler.spaces.depthwise import DepthwiseKernelSpace, is_depthwise
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload


def _dense(workload: Workload, target: Target, fast_algorithms: bool) -> KernelSpace:
    return DenseKernelSpace(workload, target, fast_algorithms)


def _attention(workload: Workload, target: Target, _fast_algorithms: bool) -> KernelSpace:
    return AttentionKernelSpace(workload, target)


def _conv2d(workload: Workload, target: Target, fast_algorithms: bool) -> KernelSpace:
    if is_pointwise(workload):
        return PointwiseKernelSpace(workload, target, fast_algorithms)
    if is_depthwise(workload):
        return DepthwiseKernelSpace(workload, target)
    return ConvKernelSpace(workload, target, fast_algorithms)


# One line an operator: its space for a workload, a target, and whether Winograd's and Strassen's algorithms may be
# used.
KERNEL_SPACES: Mapping[str, Callable[[Workload, Target, bool], KernelSpace]] = {
    "dense": _dense,
    "conv2d": _conv2d,
    "attention": _attention,
}
