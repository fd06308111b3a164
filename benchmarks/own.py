"""Our kernels as a contender."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import kernels
from compiler.schedule import Schedule
from compiler.target import Target
from compiler.workload import Workload

Inputs = Mapping[str, np.ndarray]


class OwnLayer:
    """A layer of ours with a schedule, or with the one that the kernel takes by itself.

    Raises:
        TypeError, ValueError: there is no kernel for the workload, or not on this CPU.
    """

    def __init__(
        self, workload: Workload, inputs: Inputs, out: np.ndarray, target: Target, schedule: Schedule | None = None
    ) -> None:
        if workload.op not in _OPERATORS:
            raise ValueError(f"there is no kernel for {workload.op}")
        self._made_of = (workload, inputs, out, target, schedule)
        common = {"isa": target.isa, "threads": target.num_cores, "schedule": schedule}
        self._operator = _OPERATORS[workload.op](workload, inputs, common)
        self._x, self._out, self._residual = inputs["x"], out, inputs.get("residual")
        self.run()  # packs the weights, where the operator has not yet
        sizes = inputs["x"].shape[:-1]  # the last is that of the weights
        values = dict(schedule.values) if schedule else self._operator.schedule(*sizes)
        self.implementation = " ".join(f"{name}={value}" for name, value in values.items())
        self.algorithm = str(values.get("algorithm", "direct"))

    def run(self) -> np.ndarray:
        return self._operator(self._x, self._out, self._residual)

    def time(self, number: int, repeat: int) -> list[float]:
        in_place = None if self._residual is None else self._out
        return self._operator.time(self._x, self._out, in_place, number, repeat)

    def copy(self) -> OwnLayer:
        return OwnLayer(*self._made_of)


def _dense(workload: Workload, inputs: Inputs, common: Mapping[str, Any]) -> kernels.Dense:
    return kernels.Dense(inputs["weight"], inputs.get("bias"), activation=workload.activation, **common)


def _conv2d(workload: Workload, inputs: Inputs, common: Mapping[str, Any]) -> kernels.Conv2d:
    s = workload.sizes
    return kernels.Conv2d(
        inputs["weight"],
        inputs.get("bias"),
        stride=(s["stride_h"], s["stride_w"]),
        padding=(s["pad_top"], s["pad_left"], s["pad_bottom"], s["pad_right"]),
        dilation=(s["dilation_h"], s["dilation_w"]),
        groups=s["groups"],
        activation=workload.activation,
        **common,
    )


_OPERATORS: Mapping[str, Callable[[Workload, Inputs, Mapping[str, Any]], Any]] = {"dense": _dense, "conv2d": _conv2d}
