"""The tasks of a model's search: its distinct workloads and how often each occurs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compiler.measure.roofline import Roofline
from compiler.spaces.conv2d import is_pointwise
from compiler.workloads.target import Target
from compiler.workloads.winograd import ALGORITHMS
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from compiler.workloads.layer import Layer


@dataclass(frozen=True)
class Task:
    """Layers that share one schedule.

    Attributes:
        workload: what they compute.
        target: the model's target, with the number of threads of these layers and measured figures.
        layers: the names of the layers, in the model's order.
    """

    workload: Workload
    target: Target
    layers: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.layers)


def tasks_of(layers: Iterable[Layer], targets: Mapping[int, Target]) -> list[Task]:
    """Returns the tasks of a model, in the order of their first layers.

    Args:
        layers: the layers of the model. Those without a workload have no schedule to search for.
        targets: the targets by number of threads.
    """
    names: dict[tuple[Workload, int], list[str]] = {}
    for layer in layers:
        if layer.workload is not None:
            names.setdefault((layer.workload, layer.threads), []).extend([layer.name] * layer.calls)
    return [Task(workload, targets[threads], tuple(same)) for (workload, threads), same in names.items()]


def least_secs(workload: Workload, roofline: Roofline, fast_algorithms: bool = True) -> float:
    """Returns a lower bound of the seconds of any schedule: the roofline of the algorithm that multiplies least."""
    flops = workload.flops / (_saving(workload) if fast_algorithms else 1.0)
    return replace(roofline, flops=flops).secs


def _saving(workload: Workload) -> float:
    """Returns by what factor Winograd's or Strassen's algorithm reduces the multiplications per output element."""
    if workload.op == "dense" or (workload.op == "conv2d" and is_pointwise(workload)):
        return 8 / 7 if workload.dtype == "float32" else 1.0
    if workload.op != "conv2d":
        return 1.0
    offered = [algorithm for algorithm in ALGORITHMS.values() if algorithm.applies(workload)]
    savings = [(a.kernel * a.outputs) ** 2 / (a.stride * a.size) ** 2 for a in offered]
    return max(savings, default=1.0)
