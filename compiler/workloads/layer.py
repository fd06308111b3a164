"""A layer of a compiled model that one of our kernels computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compiler.workloads.operators import LAYER_SCHEMAS
from compiler.workloads.schedule import Schedule
from compiler.workloads.workload import Workload

# The ONNX domain of kernel calls in a lowered graph. Attribute "place" of such a node is the index of its layer.
DOMAIN = "loopwright.kernels"
# The end of names of attributes: an If whose branches have calls of kernels also has the branches without them, which
# ONNX Runtime runs if the If cannot be compiled.
WITHOUT_KERNELS = "_without_kernels"
# Entries of every layer's description, in addition to the attributes of its schema.
_COMMON = frozenset({"name", "op", "output_shape", "weights", "workload", "workloads", "threads", "schedule", "calls"})


@dataclass(frozen=True)
class Layer:
    """One call of a kernel, without the tensors that come with each run.

    Attributes:
        name: name of the node in the optimized model.
        op: the kind of layer: a key of ``compiler.workloads.operators.LAYER_SCHEMAS``.
        output_shape: of the first output, as the program has it.
        attributes: sizes, paddings and so on, in JSON types; the schema lists them.
        weights: arrays by name, of float32, of int8, or of the bits of bfloat16 in uint16; the schema lists them.
        workload: the key of schedules and records; None if there is nothing to schedule.
        stages: if there is nothing to schedule, the workloads that a run computes one after the other.
        threads: the number of threads of the pool that may take part.
        schedule: None uses the kernel's default.
        calls: the number of calls in each run.

    Raises:
        ValueError: an attribute or a weight is not in the schema or is missing, or there is no workload.
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

    def __post_init__(self) -> None:
        if self.op not in LAYER_SCHEMAS:
            raise ValueError(f"layer {self.name}: unknown kind {self.op!r}; choose from: {', '.join(LAYER_SCHEMAS)}")
        if not self.workloads and LAYER_SCHEMAS[self.op].has_workload:
            raise ValueError(f"layer {self.name}: it has neither a workload nor stages")
        object.__setattr__(self, "attributes", LAYER_SCHEMAS[self.op].complete(self.attributes))
        try:
            LAYER_SCHEMAS[self.op].check(self.attributes, list(self.weights))
        except ValueError as error:
            raise ValueError(f"layer {self.name}: {error}") from None

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Everything that a run computes, one after the other; nothing for an operator of a user."""
        return self.stages if self.workload is None else (self.workload,)

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of all outputs, as the program has them."""
        return LAYER_SCHEMAS[self.op].outputs(self.attributes, self.output_shape)

    @property
    def dtype(self) -> str:
        """The data type of the weights, in which the products are computed; of a chain, the narrowest."""
        stages = [stage.get("dtype") for stage in self.attributes.get("stages", ())]
        return self.attributes.get("dtype") or next(filter(None, stages), "float32")

    @property
    def output_dtypes(self) -> tuple[str, ...]:
        """The data types of all outputs."""
        dtypes = LAYER_SCHEMAS[self.op].dtypes
        if dtypes is not None:
            return dtypes(self.attributes)
        return (self.attributes.get("out_dtype") or "float32",) * len(self.output_shapes)

    @property
    def function(self) -> str:
        """The name of the function that the program calls."""
        return f"loopwright.{self.op}"

    def scheduled(self, schedule: Schedule | None) -> Layer:
        return dataclasses.replace(self, schedule=schedule)

    def to_json(self, places: Mapping[str, int]) -> dict[str, Any]:
        """Returns the layer's description.

        Args:
            places: for each weight by name, its index among all weights of the model.
        """
        return {
            "name": self.name,
            "op": self.op,
            "output_shape": list(self.output_shape),
            **self.attributes,
            "weights": dict(places),
            "workload": self.workload.to_json() if self.workload else None,
            "workloads": [workload.to_json() for workload in self.stages],
            "threads": self.threads,
            "calls": self.calls,
            "schedule": None if self.schedule is None else _plain(self.schedule.values),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Layer:
        """The inverse of :meth:`to_json`; ``weights`` are the layer's own, by name.

        Raises:
            ValueError: an entry is missing or unknown.
        """
        if missing := _COMMON - fields.keys():
            raise ValueError(f"a layer lacks {', '.join(sorted(missing))}")
        return cls(
            name=fields["name"],
            op=fields["op"],
            output_shape=tuple(fields["output_shape"]),
            attributes={key: value for key, value in fields.items() if key not in _COMMON},
            weights=weights,
            workload=None if fields["workload"] is None else Workload.from_json(fields["workload"]),
            stages=tuple(map(Workload.from_json, fields["workloads"])),
            threads=fields["threads"],
            schedule=None if fields["schedule"] is None else Schedule("kernel", fields["schedule"]),
            calls=fields["calls"],
        )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flags as numbers, which is how the kernels read them."""
    return {key: int(value) if isinstance(value, bool) else value for key, value in values.items()}
