"""Our row kernels as contenders: functions without a schedule and without weights to pack."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import kernels
from benchmarks.layers.rowwise import EPSILON, RowWorkload
from compiler.workloads.target import Target

Inputs = Mapping[str, np.ndarray]


class OwnRows:
    """A row kernel. It is called from Python, which costs it half a microsecond a run that the peers do not pay."""

    algorithm = "direct"

    def __init__(self, workload: RowWorkload, inputs: Inputs, out: np.ndarray, target: Target) -> None:
        self._made_of = (workload, inputs, out, target)
        self._call = _FUNCTIONS[workload.op](
            workload.sizes, inputs, {"out": out, "isa": target.isa, "threads": target.num_cores}
        )
        self._out = out
        self.implementation = f"kernels, {workload.op}"

    def run(self) -> np.ndarray:
        self._call()
        return self._out

    def time(self, number: int, repeat: int) -> list[float]:
        samples = []
        for _ in range(repeat):
            start = time.perf_counter()
            for _ in range(number):
                self._call()
            samples.append((time.perf_counter() - start) / number)
        return samples

    def copy(self) -> OwnRows:
        return OwnRows(*self._made_of)


_FUNCTIONS: Mapping[str, Callable[[Mapping[str, int], Inputs, Mapping[str, Any]], Callable[[], Any]]] = {
    "softmax": lambda _, x, common: lambda: kernels.softmax(x["x"], **common),
    "layer_norm": lambda _, x, common: lambda: kernels.layer_norm(x["x"], x["gamma"], x["beta"], EPSILON, **common),
    "add": lambda _, x, common: lambda: kernels.add(x["a"], x["b"], **common),
    "max_pool": lambda s, x, common: (
        lambda: kernels.max_pool2d(x["x"], s["kernel"], s["stride"], s["padding"], **common)
    ),
    "global_avg_pool": lambda _, x, common: lambda: kernels.global_avg_pool2d(x["x"], **common),
}
