"""A layer of a compiled model that one of our kernels computes: what C++ makes an operator of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compiler.workloads.schedule import Schedule
from compiler.workloads.workload import Workload

# The ONNX domain of kernel calls in a lowered graph. Attribute "place" of such a node is the index of its layer.
DOMAIN = "loopwright.kernels"


@dataclass(frozen=True)
class Layer:
    """Everything about one call of a kernel but the tensors that come with each run.

    Attributes:
        name: of the node in the optimized model.
        op: which kernel: a key of the table in ``compiler/cpp/layer.cc``, where the attributes of each are read.
        output_shape: as the program sees it.
        attributes: sizes, paddings and the like, as JSON has them.
        weights: float32 arrays by the attribute that refers to them.
        workload: what schedules are looked up and recorded by; None where there is nothing to schedule.
        stages: the workloads that a chain runs one after the other, for reports; its own is None.
        threads: how many threads of the pool may take part.
        schedule: None takes the kernel's default.
        calls: how often a run calls it.
    """

    name: str
    op: str
    output_shape: tuple[int, ...]
    attributes: Mapping[str, Any]
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    workload: Workload | None = None
    stages: tuple[Workload, ...] = ()
    threads: int = 1
    schedule: Schedule | None = None
    calls: int = 1

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """All that a run of it computes, one after the other; empty where operations are not counted."""
        return self.stages if self.workload is None else (self.workload,)

    @property
    def function(self) -> str:
        """What the program calls."""
        return f"loopwright.{self.op}"

    def scheduled(self, schedule: Schedule | None) -> Layer:
        return dataclasses.replace(self, schedule=schedule)

    def to_json(self, places: Mapping[str, int]) -> dict[str, Any]:
        """The layer's description; ``places`` tells where each of its weights is among all weights."""
        return {
            "name": self.name,
            "op": self.op,
            "output_shape": list(self.output_shape),
            **self.attributes,
            **places,
            "workload": self.workload.to_json() if self.workload else None,
            "workloads": [workload.to_json() for workload in self.stages],
            "threads": self.threads,
            "calls": self.calls,
            "schedule": None if self.schedule is None else _plain(self.schedule.values),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Layer:
        own = {"name", "op", "output_shape", "workload", "workloads", "threads", "schedule", "calls", *weights}
        return cls(
            name=fields["name"],
            op=fields["op"],
            output_shape=tuple(fields["output_shape"]),
            attributes={key: value for key, value in fields.items() if key not in own},
            weights=weights,
            workload=Workload.from_json(fields["workload"]) if fields["workload"] else None,
            stages=tuple(map(Workload.from_json, fields["workloads"])),
            threads=fields["threads"],
            schedule=Schedule("kernel", fields["schedule"]) if fields["schedule"] else None,
            calls=fields["calls"],
        )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """With flags as numbers, which is how the kernels read them."""
    return {key: int(value) if isinstance(value, bool) else value for key, value in values.items()}
