"""Our kernels as implementations of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import kernels
from benchmarks.layers import integers
from compiler.spaces.default_conv2d import default_conv2d_schedule
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

Inputs = Mapping[str, np.ndarray]


class OwnLayer:
    """Our kernel of a workload, with a schedule or with the one that a build takes without records.

    Raises:
        TypeError, ValueError: the kernel does not support the workload, or not on this CPU.
    """

    def __init__(
        self, workload: Workload, inputs: Inputs, out: np.ndarray, target: Target, schedule: Schedule | None = None
    ) -> None:
        self._arguments = (workload, inputs, out, target, schedule)
        definition, sizes = workload.operator, workload.sizes
        chosen = default_values(workload, target) if schedule is None else schedule
        kernel = integers.kernel if workload.dtype == integers.INT8 else definition.kernel
        self._kernel = kernel(workload, inputs, isa=target.isa, threads=target.num_cores, schedule=chosen)
        residual = ("residual",) if "residual" in inputs else ()
        self._tensors = {name: inputs[name] for name in (*definition.arguments, *residual)}
        self._out = out
        self.run()  # packs the weights if the kernel has not done so yet
        in_use = (sizes[name] for name in definition.schedule_sizes)
        values = dict(schedule.values) if schedule else self._kernel.schedule(*in_use)
        self.description = " ".join(f"{name}={value}" for name, value in values.items()) or f"kernels, {workload.op}"
        self.algorithm = str(values.get("algorithm", "direct"))

    def run(self) -> np.ndarray:
        self._kernel(**self._tensors, out=self._out)
        return self._out

    def time(self, number: int, repeat: int) -> list[float]:
        """Returns samples as ``Implementation.time``. A residual is the output buffer, so no other data is read."""
        residual = {"residual": self._out} if "residual" in self._tensors else {}
        return self._kernel.time(**{**self._tensors, **residual}, out=self._out, number=number, repeat=repeat)

    def copy(self) -> OwnLayer:
        return OwnLayer(*self._arguments)


def default_values(workload: Workload, target: Target) -> dict[str, Any] | None:
    """Returns the default schedule of a layer in a build, where fast algorithms are allowed, by the target's machine.

    None if the kernel's own default is the same, or if there is nothing to decide.
    """
    s = workload.sizes
    if target.isa == "reference":
        return None
    if workload.op == "dense":
        return kernels.default_dense_schedule(
            s["m"], s["n"], s["k"], target.isa, target.num_cores, workload.dtype, True, target.machine
        )
    return default_conv2d_schedule(workload, target, True) if workload.op == "conv2d" else None
