"""The tasks of a model's search: its distinct workloads and how often each occurs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compiler.measure.levels import Level
from compiler.measure.roofline import Roofline
from compiler.workloads.target import Target
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


def weights_level(workload: Workload) -> Level | None:
    """Returns the level that the weights come from when a runner times a workload; None: the same as all other data."""
    return "memory" if workload.operator.cold_weights else None


def least_secs(workload: Workload, roofline: Roofline, fast_algorithms: bool = True) -> float:
    """Returns a lower bound of the seconds of any schedule: the roofline of the algorithm that multiplies least."""
    flops = workload.flops / (workload.operator.saving(workload) if fast_algorithms else 1.0)
    return replace(roofline, flops=flops).secs
