"""The default schedule of ``kernels.Conv2d`` for a workload on a target."""

from __future__ import annotations

from typing import Any

import kernels
from compiler.workloads.operators.windows import pads
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload


def default_conv2d_schedule(workload: Workload, target: Target, fast_algorithms: bool) -> dict[str, Any]:
    """Returns the kernel's default, by the costs of the target's machine.

    Args:
        fast_algorithms: whether it may use the algorithms of Winograd and Strassen.
    """
    return kernels.default_conv2d_schedule(**_arguments(workload, target, fast_algorithms))


def default_convolution_cycles(workload: Workload, target: Target, fast_algorithms: bool) -> float:
    """Returns the cycles of the default that the target's machine model predicts, for a convolution with windows."""
    return kernels.default_convolution_cycles(**_arguments(workload, target, fast_algorithms))


def _arguments(workload: Workload, target: Target, fast_algorithms: bool) -> dict[str, Any]:
    s = workload.sizes
    return {
        "images": (s["n"], s["h"], s["w"], s["c"]),
        "weight_shape": (s["o"], s["c"] // s["groups"], s["kh"], s["kw"]),
        "stride": (s["stride_h"], s["stride_w"]),
        "padding": pads(s),
        "dilation": (s["dilation_h"], s["dilation_w"]),
        "groups": s["groups"],
        "isa": target.isa,
        "threads": target.num_cores,
        "dtype": workload.dtype,
        "fast": fast_algorithms,
        "machine": target.machine,
    }
