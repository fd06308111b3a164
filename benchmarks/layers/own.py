"""Our kernels as implementations of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import kernels
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
        self._kernel = definition.kernel(workload, inputs, isa=target.isa, threads=target.num_cores, schedule=chosen)
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


def default_values(
    workload: Workload, target: Target, machine: kernels.MachineModel | None = None
) -> dict[str, Any] | None:
    """Returns the default schedule of a layer in a build, where fast algorithms are allowed.

    None if the kernel's own default is the same, or if there is nothing to decide.

    Args:
        machine: the machine model that it follows from; None: that of this CPU.
    """
    s, isa, threads, dtype = workload.sizes, target.isa, target.num_cores, workload.dtype
    if isa == "reference":
        return None
    if workload.op == "dense":
        return kernels.default_dense_schedule(s["m"], s["n"], s["k"], isa, threads, dtype, True, machine)
    if workload.op != "conv2d":
        return None
    n, h, w, c = workload.input_shapes["x"]
    return kernels.default_conv2d_schedule(
        (n, h, w, c),
        workload.input_shapes["weight"],
        (s["stride_h"], s["stride_w"]),
        (s["pad_top"], s["pad_left"], s["pad_bottom"], s["pad_right"]),
        (s["dilation_h"], s["dilation_w"]),
        s["groups"],
        isa=isa,
        threads=threads,
        dtype=dtype,
        machine=machine,
    )
