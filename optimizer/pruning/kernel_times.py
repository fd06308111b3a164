"""Seconds of layers in our kernels.

The lowered model says which kernel computes each layer, and with which epilogue. A kernel is measured alone, with its
default schedule, and with cold weights where the definition of its operator says so. The times of a chain, whose
convolutions run as one kernel, are those of its parts; what the chain saves shows in the correction. The time of an
attention is in proportion to its heads, which compute the same.

A table of single layers is not the model: caches, chains and code between the layers differ. So each table is scaled
to what the layer takes in the compiled model, at the widths that this model has. The rest of the model's
time (generated code, pools, and what lies between integers and numbers in floating point) is a constant, and the same
for each quantized layer, until the next correction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import prod
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from optimizer.pruning.costs import Cost, Term, Value
from optimizer.pruning.time_table import TimeTable, measured_widths
from optimizer.pruning.widths import LAYERS, Layer, Product, Width

if TYPE_CHECKING:
    from compiler import CompiledModel, Target, Workload
    from compiler.spaces.base import KernelSpace
    from compiler.workloads.schedule import Schedule

RUNS = 20  # of the compiled model, for the seconds of its layers
FLOAT_BITS, INTEGER_BITS = 32, 8
_STEP = 16  # between measured widths: whole vectors of all instruction sets


class KernelTimes:
    """Predicts the latency of a compiled model at other widths, as a share of that of the original.

    Args:
        layers: the convolutions and products of the model.
        narrowest, widest: the numbers of channels of the groups at both ends, and what else is chosen.
        precisions: by the name of a layer's node, its bits as a function of what is chosen; of layers that may be
            quantized. All others are in floating point.
        products: the products of two tensors, as in attention.
        records: a records file that keeps the times of kernels; None keeps nothing.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        narrowest: Sequence[int],
        widest: Sequence[int],
        precisions: Mapping[str, Width] | None = None,
        products: Sequence[Product] = (),
        records: Path | None = None,
    ) -> None:
        self._records = records
        self._layers, self._narrowest, self._widest = layers, narrowest, widest
        self._precisions, self._products = precisions or {}, products
        self._tables: dict[tuple[str, int], TimeTable] = {}  # by the name of the layer's node, and bits
        self._scales: dict[tuple[str, int], float] = {}
        self._products_scales: dict[str, float] = {}  # by the name of the product's node: the share of one of its parts
        self._rest = 0.0
        self._rest_of_integers = 0.0  # what each quantized layer adds to the rest
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
            by_bits = {
                bits: _seconds_of(layer, self._tables[key], self._scales[key])
                for bits in (FLOAT_BITS, INTEGER_BITS)
                if (key := (layer.node, bits)) in self._scales
            }
            if layer.node in self._precisions:
                precision = self._precisions[layer.node]
                terms.append(_term_of_precisions(layer, precision, by_bits, self._rest_of_integers))
            elif FLOAT_BITS in by_bits:
                terms.append(Term(_sizes(layer), by_bits[FLOAT_BITS]))
        terms += [
            Term((product.parts,), partial(mul, self._products_scales[product.node]))
            for product in self._products
            if product.node in self._products_scales
        ]
        return Cost("share", tuple(terms))

    def correct(self, model: onnx.ModelProto, compiled: CompiledModel, kept: Sequence[int], share: float) -> None:
        """Scales the tables to what a compiled model takes, and makes them at the first time.

        Args:
            model: the model that was compiled.
            compiled: the compiled model.
            kept: the number of channels of each group in it, and what else is chosen.
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
        for place, call in enumerate(compiled.layers):
            if call.workload is None or call.workload.op != "attention" or place not in by_layer:
                continue
            # Equal attentions are one layer, which runs several times.
            macs = _multiply_adds(call.workload)
            equal = [each for each in self._products if each.macs and each.macs * each.parts(kept) == macs]
            for each in equal:
                self._products_scales[each.node] = by_layer[place] / total * share / len(equal) / each.parts(kept)
        keys = {layer.node: (layer.node, self._bits(layer.node, kept)) for layer in self._layers}
        for place, stages in self._stages(model, compiled):
            if place not in by_layer:
                continue
            for layer, workload in stages:
                if keys[layer.node] not in self._tables:
                    self._tables[keys[layer.node]] = self._table(layer, workload, compiled.target)
            alone = sum(self._tables[keys[layer.node]](layer.reads(kept), layer.writes(kept)) for layer, _ in stages)
            for layer, _ in stages:
                self._scales[keys[layer.node]] = by_layer[place] / total * share / alone
        explained = sum(
            self._scales[key] * self._tables[key](layer.reads(kept), layer.writes(kept))
            for layer in self._layers
            if (key := keys[layer.node]) in self._scales
        )
        explained += sum(
            self._products_scales.get(product.node, 0.0) * product.parts(kept) for product in self._products
        )
        rest = max(0.0, share - explained)
        integers = sum(bits == INTEGER_BITS for _, bits in keys.values())
        if integers:
            self._rest_of_integers = (rest - self._rest) / integers
        else:
            self._rest = rest

    def _bits(self, node: str, kept: Sequence[int]) -> int:
        return self._precisions[node](kept) if node in self._precisions else FLOAT_BITS

    def _stages(
        self, model: onnx.ModelProto, compiled: CompiledModel
    ) -> Iterator[tuple[int, list[tuple[Layer, Workload]]]]:
        """Yields the calls of kernels, by their place in the program, with the layers that they compute.

        Passes rename nodes and transpose weights, so a layer is found by its weight: the size, and the sum of the
        absolute values.
        """
        arrays = _weights(model)
        by_weight = {_key(arrays[layer.node]): layer for layer in self._layers if layer.node in arrays}
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
        step = math.lcm(_STEP, layer.groups or 1)
        reads, writes = (self._points(width, step) for width in (layer.reads, layer.writes))
        if layer.reads == layer.writes:
            return TimeTable.measured(lambda _, size: self._seconds(workload, size, size, target), (1,), writes)
        return TimeTable.measured(lambda read, written: self._seconds(workload, read, written, target), reads, writes)

    def _points(self, width: Width, step: int) -> tuple[int, ...]:
        return measured_widths(width(self._narrowest), width(self._widest), step)

    def _seconds(self, workload: Workload, read: int, written: int, target: Target) -> float:
        sized = _resized(workload, read, written)
        if sized not in self._secs:
            self._secs[sized] = seconds(sized, target, self._records)
        return self._secs[sized]


def seconds(workload: Workload, target: Target, records: Path | None = None) -> float:
    """Returns the least seconds of our kernel for a workload, with its default schedule.

    Args:
        records: a records file that keeps what was measured, for the next time; None keeps nothing.

    Raises:
        ValueError: the file is not a records file, or cannot be read and written.
    """
    from compiler.spaces import space
    from compiler.workloads.database import Records
    from compiler.workloads.records import Measurement, Record

    kernel = space(workload, target)
    schedule = kernel.default()
    if records is None:
        return min(_samples(kernel, schedule))
    with Records(records) as kept:
        same = [each for each in kept.query(workload, target, schedule.backend) if each.schedule == schedule]
        found = [secs for each in same for secs in each.measurement.run_secs]
        if not found:
            found = _samples(kernel, schedule)
            kept.add(Record(workload, target, schedule, Measurement(tuple(found))))
        return min(found)


def _samples(kernel: KernelSpace, schedule: Schedule) -> list[float]:
    from compiler.measure.budgeted import Timing, sample
    from compiler.workloads.reference import make_inputs

    program = kernel.build(schedule)
    program.load(make_inputs(kernel.workload))
    program.run()
    return sample(program.time, Timing(sample_secs=3e-4, samples=5, budget_secs=0.01), None)


def _multiply_adds(attention: Workload) -> int:
    """Returns the multiply-adds of each of its two products."""
    sizes = attention.sizes
    return prod(sizes[name] for name in ("batch", "heads", "queries", "keys", "head_dim"))


def _sizes(layer: Layer) -> tuple[Width, ...]:
    return (layer.writes,) if layer.reads == layer.writes else (layer.reads, layer.writes)


def _seconds_of(layer: Layer, table: TimeTable, scale: float) -> Value:
    """Returns the scaled seconds as a function of :func:`_sizes`."""
    if layer.reads == layer.writes:
        return lambda size: scale * table(1, size)
    return lambda read, written: scale * table(read, written)


def _term_of_precisions(layer: Layer, precision: Width, by_bits: Mapping[int, Value], rest: float) -> Term:
    """Returns the term of a layer that may be quantized. It stays in floating point if integers were not measured."""

    def value(bits: int, *sizes: int) -> float:
        if bits not in by_bits:
            return 0.0 if bits == FLOAT_BITS else math.inf  # the rest has what no kernel was found for
        return by_bits[bits](*sizes) + (rest if bits == INTEGER_BITS else 0.0)

    return Term((precision, *_sizes(layer)), value)


def _weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Returns the constant weights of layers by the names of their nodes; of quantized layers, integers."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    integers = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    found = {}
    for node in model.graph.node:
        if node.op_type in LAYERS and len(node.input) > 1:
            name = integers.get(node.input[1], node.input[1])
            if name in tensors:
                found[node.name] = numpy_helper.to_array(tensors[name])
    return found


def _resizable(workload: Workload) -> bool:
    return workload.op in ("conv2d", "conv_transpose2d", "dense")


def _resized(workload: Workload, read: int, written: int) -> Workload:
    """Returns the workload with other numbers of channels; a depthwise one stays depthwise."""
    from compiler.workloads.workload import Workload as Made

    sizes = workload.sizes
    if workload.op == "dense":
        sizes |= {"k": read, "n": written}
    else:
        if sizes["groups"] == sizes["c"] > 1:
            read = written * sizes["c"] // sizes["o"]
            sizes["groups"] = read
        sizes |= {"c": read, "o": written}
    return Made(workload.op, tuple(sizes[name] for name in workload.operator.dims), workload.dtype, workload.epilogue)


def _key(weight: np.ndarray) -> tuple[int, str]:
    return weight.size, f"{np.sort(np.abs(weight.astype(np.float64)), axis=None).sum():.9e}"
