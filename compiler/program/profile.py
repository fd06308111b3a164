"""Profiles of compiled models: the time of each call and its share of the roofline."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from compiler.measure.roofline import Rooflines
from compiler.program.segment import Segment
from compiler.workloads.layer import Layer
from compiler.workloads.schedule import Schedule

SEGMENT = "loopwright.segment"  # the function that runs segments


class CallTimes(NamedTuple):
    """One call of a model's program, over several runs.

    Attributes:
        function: the name of the called function.
        layer: the index of the layer or of the segment that it computes, None for generated code.
        secs: the seconds of the call in each run.
        regions: its parallel regions in one run, if they are simulated (:mod:`kernels.simulation`).
    """

    function: str
    layer: int | None
    secs: tuple[float, ...]
    regions: int = 0


@dataclass(frozen=True)
class ProfileRow:
    """The time of one call of a model's program.

    Attributes:
        layer: the name of the node, or of the generated function.
        op: the operator and its sizes if a kernel computes it; the operators of a segment.
        backend: ``"kernel"``; ``"user"`` for an operator of a user; ``"tvm"`` for generated code; ``"onnxruntime"`` for
            segments; ``"vm"`` for the virtual machine itself.
        schedule: the kernel's schedule, None if it has none.
        seconds: median over the runs.
        gflops: 10^9 floating-point operations per second, None for generated code and for kernels that only move data.
        roofline: achieved share of the roofline's speed, None for generated code and operators of users.
    """

    layer: str
    op: str
    backend: str
    schedule: Schedule | None
    seconds: float
    gflops: float | None
    roofline: float | None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(dataclasses.replace(self, schedule=None)) | {
            "schedule": self.schedule.to_json() if self.schedule else None
        }


def profile_rows(
    calls: Iterable[CallTimes],
    layers: Sequence[Layer],
    schedules: Sequence[Schedule | None],
    segments: Sequence[Segment],
    isa: str,
) -> list[ProfileRow]:
    """Returns one row per kernel, generated function and segment, and a last row for the virtual machine's own calls.

    Measures the peaks and bandwidths of the rooflines, which takes some seconds. Their weights come from the nearest
    level that holds the weights of all layers; see :mod:`compiler.measure.roofline`.
    """
    rooflines = Rooflines(isa, layers)
    rows, machine_secs = [], 0.0
    for call in calls:
        seconds = median(call.secs)
        if call.function == SEGMENT and call.layer is not None:
            name, operators = f"segment {call.layer}", str(segments[call.layer])
            rows.append(ProfileRow(name, operators, "onnxruntime", None, seconds, None, None))
        elif call.layer is not None:
            rows.append(_kernel_row(layers[call.layer], schedules[call.layer], seconds, rooflines))
        elif call.function.startswith("vm.builtin."):
            machine_secs += seconds
        else:
            rows.append(ProfileRow(call.function, "", "tvm", None, seconds, None, None))
    return [*rows, ProfileRow("(virtual machine)", "", "vm", None, machine_secs, None, None)]


def _kernel_row(layer: Layer, schedule: Schedule | None, seconds: float, rooflines: Rooflines) -> ProfileRow:
    if not layer.workloads:
        return ProfileRow(layer.name, _op(layer), "user", None, seconds, None, None)
    least = sum(roofline.secs for roofline in rooflines.of(layer, layer.threads))
    flops = sum(workload.flops for workload in layer.workloads)
    gflops = flops / seconds / 1e9 if flops else None
    return ProfileRow(layer.name, _op(layer), "kernel", schedule, seconds, gflops, least / seconds)


def _op(layer: Layer) -> str:
    if not layer.workloads:
        return f"{layer.attributes['domain']}::{layer.attributes['operator']}"
    if len(layer.workloads) == 1:
        return str(layer.workloads[0])
    first, last = layer.stages[0].input_shapes["x"], layer.stages[-1].output_shape
    ends = " -> ".join("x".join(map(str, shape)) for shape in (first, last))
    return f"{layer.op} {ends}, {len(layer.stages)} convolutions"
