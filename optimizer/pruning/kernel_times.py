"""Seconds of layers in our kernels.

The lowered model says which kernel computes each layer, and with which epilogue. A kernel is measured alone, with its
default schedule, and with cold weights where the definition of its operator says so. The times of a chain, whose
convolutions run as one kernel, are those of its parts; what the chain saves shows in the correction.

A table of single layers is not the model: caches, chains and code between the layers differ. So each table is scaled
to what the layer takes in the compiled model, at the widths that this model has. The rest of the model's
time (generated code, pools) is a constant until the next correction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from optimizer.pruning.costs import Cost, Term
from optimizer.pruning.time_table import TimeTable, measured_widths
from optimizer.pruning.widths import Layer, Width

if TYPE_CHECKING:
    from compiler import CompiledModel, Target, Workload

RUNS = 20  # of the compiled model, for the seconds of its layers
_STEP = 16  # between measured widths: whole vectors of all instruction sets


class KernelTimes:
    """Predicts the latency of a compiled model at other widths, as a share of that of the original.

    Args:
        layers: the convolutions and products of the model.
        narrowest, widest: the numbers of channels of the groups at both ends.
    """

    def __init__(self, layers: Sequence[Layer], narrowest: Sequence[int], widest: Sequence[int]) -> None:
        self._layers, self._narrowest, self._widest = layers, narrowest, widest
        self._tables: dict[str, TimeTable] = {}  # by the name of the layer's node
        self._scales: dict[str, float] = {}
        self._rest = 0.0
        self._secs: dict[Workload, float] = {}

    def cost(self) -> Cost:
        """Returns the predicted share.

        Raises:
            RuntimeError: :meth:`correct` has not run.
        """
        if not self._tables:
            raise RuntimeError("no compiled model has been measured")
        terms = [Term((), lambda rest=self._rest: rest)]
        for layer in self._layers:
            table, scale = self._tables.get(layer.node), self._scales.get(layer.node, 0.0)
            if table is not None and scale:
                terms.append(_term(layer, table, scale))
        return Cost("share", tuple(terms))

    def correct(self, model: onnx.ModelProto, compiled: CompiledModel, kept: Sequence[int], share: float) -> None:
        """Scales the tables to what a compiled model takes, and makes them at the first time.

        Args:
            model: the model that was compiled.
            compiled: the compiled model.
            kept: the number of channels of each group in it.
            share: its latency over that of the original.
        """
        from compiler.program.profile import SEGMENT
        from compiler.program.random_inputs import random_inputs

        calls = compiled.call_secs(random_inputs(compiled.inputs), RUNS)
        total = sum(min(call.secs) for call in calls)  # what else the machine does only adds time
        by_layer: dict[int, float] = {}
        for call in calls:
            if call.layer is not None and call.function != SEGMENT:
                by_layer[call.layer] = by_layer.get(call.layer, 0.0) + min(call.secs)
        self._scales.clear()
        explained = 0.0
        for place, stages in self._stages(model, compiled):
            if place not in by_layer:
                continue
            for layer, workload in stages:
                if layer.node not in self._tables:
                    self._tables[layer.node] = self._table(layer, workload, compiled.target)
            alone = sum(self._tables[layer.node](layer.reads(kept), layer.writes(kept)) for layer, _ in stages)
            measured = by_layer[place] / total * share
            explained += measured
            for layer, _ in stages:
                self._scales[layer.node] = measured / alone
        self._rest = max(0.0, share - explained)

    def _stages(
        self, model: onnx.ModelProto, compiled: CompiledModel
    ) -> Iterator[tuple[int, list[tuple[Layer, Workload]]]]:
        """Yields the calls of kernels, by their place in the program, with the layers that they compute.

        Passes rename nodes and transpose weights, so a layer is found by its weight: the size, and the sum of the
        absolute values.
        """
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        by_weight = {_key(numpy_helper.to_array(tensors[layer.weight.name])): layer for layer in self._layers}
        for place, call in enumerate(compiled.layers):
            names = ["weight"] if call.workload is not None else [f"weight{n}" for n in range(len(call.stages))]
            found = [
                (by_weight.get(_key(call.weights[name])), workload)
                for name, workload in zip(names, call.workloads, strict=True)
                if name in call.weights
            ]
            known = [(layer, workload) for layer, workload in found if layer is not None and _resizable(workload)]
            if known and len(known) == len(call.workloads):
                yield place, known

    def _table(self, layer: Layer, workload: Workload, target: Target) -> TimeTable:
        reads, writes = map(self._points, (layer.reads, layer.writes))
        if layer.reads == layer.writes:
            return TimeTable.measured(lambda _, size: self._seconds(workload, size, size, target), (1,), writes)
        return TimeTable.measured(lambda read, written: self._seconds(workload, read, written, target), reads, writes)

    def _points(self, width: Width) -> tuple[int, ...]:
        return measured_widths(width(self._narrowest), width(self._widest), _STEP)

    def _seconds(self, workload: Workload, read: int, written: int, target: Target) -> float:
        sized = _resized(workload, read, written)
        if sized not in self._secs:
            self._secs[sized] = seconds(sized, target)
        return self._secs[sized]


def seconds(workload: Workload, target: Target) -> float:
    """Returns the least seconds of our kernel for a workload, with its default schedule."""
    from compiler.measure.budgeted import Timing, sample
    from compiler.spaces import space
    from compiler.workloads.reference import make_inputs

    kernel = space(workload, target)
    program = kernel.build(kernel.default())
    program.load(make_inputs(workload))
    program.run()
    return min(sample(program.time, Timing(sample_secs=3e-4, samples=5, budget_secs=0.01), None))


def _term(layer: Layer, table: TimeTable, scale: float) -> Term:
    if layer.reads == layer.writes:
        return Term((layer.writes,), lambda size: scale * table(1, size))
    return Term((layer.reads, layer.writes), lambda read, written: scale * table(read, written))


def _resizable(workload: Workload) -> bool:
    return workload.op in ("conv2d", "conv_transpose2d", "dense")


def _resized(workload: Workload, read: int, written: int) -> Workload:
    """Returns the workload with other numbers of channels; a depthwise one stays depthwise."""
    from compiler.workloads.workload import Workload as Made

    sizes = workload.sizes
    if workload.op == "dense":
        sizes |= {"k": read, "n": written}
    else:
        depthwise = sizes["groups"] > 1
        sizes |= {"c": written if depthwise else read, "o": written, "groups": written if depthwise else 1}
    return Made(workload.op, tuple(sizes[name] for name in workload.operator.dims), workload.dtype, workload.epilogue)


def _key(weight: np.ndarray) -> tuple[int, str]:
    return weight.size, f"{np.sort(np.abs(weight), axis=None).sum(dtype=np.float64):.9e}"
