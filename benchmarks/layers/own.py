"""Our kernels as a contender."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import kernels
from benchmarks.layers.layer import Layer
from benchmarks.layers.own_rows import OwnRows
from benchmarks.layers.rowwise import AnyWorkload, RowWorkload
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

Inputs = Mapping[str, np.ndarray]


def own_layer(
    workload: AnyWorkload, inputs: Inputs, out: np.ndarray, target: Target, schedule: Schedule | None = None
) -> Layer:
    """Our contender for any workload, as :class:`OwnLayer` says, or without schedule."""
    if isinstance(workload, RowWorkload):
        return OwnRows(workload, inputs, out, target)
    return OwnLayer(workload, inputs, out, target, schedule)


class OwnLayer:
    """A layer of ours with a schedule, or with the one that the kernel takes by itself.

    Raises:
        TypeError, ValueError: the kernel cannot compute the workload, or not on this CPU.
    """

    def __init__(
        self, workload: Workload, inputs: Inputs, out: np.ndarray, target: Target, schedule: Schedule | None = None
    ) -> None:
        self._made_of = (workload, inputs, out, target, schedule)
        common = {"isa": target.isa, "threads": target.num_cores, "schedule": schedule}
        self._bound = _OPERATORS[workload.op](workload, inputs, common)
        self._out = out
        self.run()  # packs the weights, where the operator has not yet
        values = dict(schedule.values) if schedule else self._bound.operator.schedule(*self._bound.sizes)
        self.implementation = " ".join(f"{name}={value}" for name, value in values.items())
        self.algorithm = str(values.get("algorithm", "direct"))

    def run(self) -> np.ndarray:
        self._bound.operator(**self._bound.tensors, out=self._out)
        return self._out

    def time(self, number: int, repeat: int) -> list[float]:
        tensors = dict(self._bound.tensors)
        if tensors.get("residual") is not None:
            tensors["residual"] = self._out
        return self._bound.operator.time(**tensors, out=self._out, number=number, repeat=repeat)

    def copy(self) -> OwnLayer:
        return OwnLayer(*self._made_of)


@dataclass(frozen=True)
class _Bound:
    """An operator of ours, the tensors that a call takes, and the sizes that its schedule depends on."""

    operator: Any
    tensors: Mapping[str, np.ndarray | None]
    sizes: tuple[int, ...]


def _dense(workload: Workload, inputs: Inputs, common: Mapping[str, Any]) -> _Bound:
    operator = kernels.Dense(inputs["weight"], inputs.get("bias"), activation=workload.activation, **common)
    return _Bound(operator, _activations(inputs), inputs["x"].shape[:1])


def _conv2d(workload: Workload, inputs: Inputs, common: Mapping[str, Any]) -> _Bound:
    s = workload.sizes
    operator = kernels.Conv2d(
        inputs["weight"],
        inputs.get("bias"),
        stride=(s["stride_h"], s["stride_w"]),
        padding=(s["pad_top"], s["pad_left"], s["pad_bottom"], s["pad_right"]),
        dilation=(s["dilation_h"], s["dilation_w"]),
        groups=s["groups"],
        activation=workload.activation,
        **common,
    )
    return _Bound(operator, _activations(inputs), inputs["x"].shape[:3])


def _activations(inputs: Inputs) -> dict[str, np.ndarray | None]:
    return {"x": inputs["x"], "residual": inputs.get("residual")}


def _attention(workload: Workload, inputs: Inputs, common: Mapping[str, Any]) -> _Bound:
    s = workload.sizes
    operator = kernels.Attention(s["heads"], s["head_dim"], **common)
    return _Bound(operator, {name: inputs[name] for name in ("q", "k", "v")}, (s["batch"], s["queries"], s["keys"]))


_OPERATORS: Mapping[str, Callable[[Workload, Inputs, Mapping[str, Any]], _Bound]] = {
    "dense": _dense,
    "conv2d": _conv2d,
    "attention": _attention,
}
