"""Creates the convolutions of workloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import kernels
from compiler.workloads.workload import Workload


def layer(
    workload: Workload, inputs: Mapping[str, np.ndarray], isa: str, threads: int = 1, schedule: Any = None
) -> kernels.Conv2d:
    s = workload.sizes
    return kernels.Conv2d(
        inputs["weight"],
        inputs.get("bias"),
        (s["stride_h"], s["stride_w"]),
        (s["pad_top"], s["pad_left"], s["pad_bottom"], s["pad_right"]),
        (s["dilation_h"], s["dilation_w"]),
        s["groups"],
        workload.activation,
        isa,
        threads,
        schedule,
        slopes=inputs.get("slopes"),
    )
