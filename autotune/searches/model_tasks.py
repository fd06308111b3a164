"""A model as the tasks of a search: its distinct workloads, and how often each occurs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autotune.commands.result import Limits
from autotune.commands.shapes import shape_text
from compiler.spaces.conv2d import is_pointwise
from compiler.workloads.target import Target
from compiler.workloads.winograd import ALGORITHMS
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from compiler.workloads.layer import Layer


@dataclass(frozen=True)
class Task:
    """Layers that one schedule serves.

    Attributes:
        workload: what they compute.
        target: the model's, with the number of threads that these layers run on, and measured figures.
        layers: their names, in the model's order.
    """

    workload: Workload
    target: Target
    layers: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.layers)


def tasks_of(layers: Iterable[Layer], targets: Mapping[int, Target]) -> list[Task]:
    """The tasks of a model, in the order in which their first layers come.

    Args:
        layers: of the model; those without a workload have nothing to search for.
        targets: by number of threads.
    """
    names: dict[tuple[Workload, int], list[str]] = {}
    for layer in layers:
        if layer.workload is not None:
            names.setdefault((layer.workload, layer.threads), []).extend([layer.name] * layer.calls)
    return [Task(workload, targets[threads], tuple(same)) for (workload, threads), same in names.items()]


def described(workload: Workload) -> str:
    """In a word or few, as tables have it."""
    return " ".join([workload.op, shape_text(workload), *workload.epilogue])


def least_secs(workload: Workload, limits: Limits, fast_algorithms: bool = True) -> float:
    """Seconds that no schedule of ours can beat: the roofline, with the fewest multiplications of any algorithm."""
    flops = workload.flops / (_saving(workload) if fast_algorithms else 1.0)
    return max(flops / (limits.peak_gflops * 1e9), workload.bytes / (limits.bandwidth_gbs * 1e9))


def _saving(workload: Workload) -> float:
    """How many times fewer multiplications an output takes by Winograd's or Strassen's algorithm than by definition."""
    if workload.op == "dense" or (workload.op == "conv2d" and is_pointwise(workload)):
        return 8 / 7 if workload.dtype == "float32" else 1.0
    if workload.op != "conv2d":
        return 1.0
    offered = [algorithm for algorithm in ALGORITHMS.values() if algorithm.applies(workload)]
    savings = [(a.kernel * a.outputs) ** 2 / (a.stride * a.size) ** 2 for a in offered]
    return max(savings, default=1.0)
