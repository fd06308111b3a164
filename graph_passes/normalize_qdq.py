"""Brings quantized models of other tools into the form that ONNX Runtime and OpenVINO fuse.

::

    x8 ── DequantizeLinear ── Conv(DequantizeLinear(QuantizeLinear(w)), b) ── Clip ── QuantizeLinear ── y8

    x8 ── DequantizeLinear ── Conv(DequantizeLinear(w8), DequantizeLinear(b32)) ── QuantizeLinear ── y8

- Constants of nodes become initializers; some fusions read no others.
- A QuantizeLinear of a constant is computed.
- A constant bias in floating point becomes integers of 32 bits with the scale x_scale * w_scale, in whose steps the sum
  of the layer is. It moves by up to half a step.
- A Relu or Clip whose limits are at least as wide as those of the QuantizeLinear behind it is removed: saturation does
  the same.

Such models come from NNCF, among others. Our lowering reads both forms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graph_passes.base import Pass, Remark, described, every_node, too_old
from graph_passes.lazy import ir
from graph_passes.patterns.conversions import Conversion
from graph_passes.patterns.integer_weight import are_scales
from graph_passes.values import (
    bypass,
    constant,
    data_input,
    graph_of,
    is_op,
    new_constant,
    new_node,
    producer,
    required,
)

OLDEST_OPSET = 13  # the first with a scale per channel
_LAYERS = ("Conv", "ConvTranspose", "Gemm")
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class NormalizeQdq(Pass):
    name: ClassVar[str] = "normalize_qdq"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        from onnx_ir.passes import common

        if not any(is_op(node, "DequantizeLinear") for node in every_node(model)):
            return
        remark = too_old(model, OLDEST_OPSET)
        if remark is not None:
            yield remark
            return
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        for node in list(every_node(model)):
            if is_op(node, "QuantizeLinear"):
                _fold(node)
        for node in list(every_node(model)):
            if is_op(node, *_LAYERS):
                reason = _quantize_bias(node)
                if reason is not None:
                    yield Remark(described(node), reason)
            elif is_op(node, "Clip", "Relu"):
                _absorb(node)


def _fold(node: ir.Node) -> None:
    """Computes a QuantizeLinear of a constant to 8 bits."""
    x, scale, integers = constant(node.inputs[0]), constant(node.inputs[1]), node.outputs[0].dtype
    if x is None or scale is None or integers not in (ir.DataType.INT8, ir.DataType.UINT8):
        return
    zero = np.zeros((), integers.numpy()) if data_input(node, 2) is None else constant(node.inputs[2])
    if zero is None or node.attributes.get_int("precision", 0):
        return
    if x.dtype != np.float32 or not are_scales(scale) or node.attributes.get_int("block_size", 0):
        return
    if scale.size > 1:
        axis = node.attributes.get_int("axis", 1) % x.ndim
        shape = [-1 if place == axis else 1 for place in range(x.ndim)]
        if scale.size != x.shape[axis] or zero.size not in (1, scale.size):
            return
        scale, zero = scale.reshape(shape), zero.reshape(shape if zero.size > 1 else ())
    else:
        scale, zero = scale.reshape(()), zero.reshape(())
    limits = np.iinfo(zero.dtype)
    steps = np.clip(np.rint(x / scale) + zero.astype(np.float32), limits.min, limits.max)
    name = f"{required(node.inputs[0]).name}_quantized"
    bypass(node, new_constant(graph_of(node), name, steps.astype(zero.dtype)))


def _quantize_bias(node: ir.Node) -> str | None:
    """Makes the bias of a quantized layer one of integers; returns the reason if it stays in floating point."""
    value = data_input(node, 2)
    bias = constant(value)
    x = Conversion.of(producer(node.inputs[0]))
    weight = producer(node.inputs[1])
    if value is None or bias is None or x is None or weight is None or not is_op(weight, "DequantizeLinear"):
        return None
    scales = constant(weight.inputs[1])
    if bias.ndim != 1 or bias.dtype != np.float32 or constant(weight.inputs[0]) is None:
        return None
    if is_op(node, "Gemm") and (node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0)) != (
        1,
        1,
    ):
        return "its bias stays in floating point: the layer has factors"
    if scales is None or scales.size not in (1, bias.size) or not are_scales(scales):
        return "its bias stays in floating point: the scales of its weight are not those of its output channels"
    with np.errstate(under="ignore"):
        steps = (x.scale * scales.reshape(-1)).astype(np.float32)
    if not are_scales(steps) or np.abs(bias / steps).max(initial=0) > _INT32.max:
        return "its bias stays in floating point: it exceeds 32 bits in steps of its sum"
    graph, name = graph_of(node), value.name
    integers = np.rint(bias.astype(np.float64) / steps).astype(np.int32)
    operands = [
        new_constant(graph, f"{name}_quantized", integers),
        new_constant(graph, f"{name}_scale", steps if steps.size > 1 else steps.reshape(())),
        new_constant(
            graph, f"{name}_zero_point", np.zeros_like(integers if steps.size > 1 else integers[:1].reshape(()))
        ),
    ]
    new = new_node("DequantizeLinear", operands, {"axis": 0} if steps.size > 1 else {}, like=value)
    graph.insert_before(node, new)
    node.replace_input_with(2, new.outputs[0])
    return None


def _absorb(node: ir.Node) -> None:
    """Removes a Relu or Clip if all that reads it saturates at its limits, or within them."""
    limits = _limits(node)
    output = node.outputs[0]
    if limits is None or output.is_graph_output():
        return
    readers = [Conversion.of(use.node) for use in output.uses()]
    if readers and all(reader is not None and reader.quantizes and _within(reader, limits) for reader in readers):
        bypass(node, required(node.inputs[0]))


def _limits(node: ir.Node) -> tuple[float, float] | None:
    """Returns the limits of a Relu or Clip; None if they are not constant."""
    if is_op(node, "Relu"):
        return 0.0, np.inf
    found = []
    for place, default in ((1, -np.inf), (2, np.inf)):
        given = data_input(node, place)
        limit = np.array(default) if given is None else constant(given)
        if limit is None or limit.size != 1:
            return None
        found.append(float(limit.reshape(())))
    return found[0], found[1]


def _within(conversion: Conversion, limits: tuple[float, float]) -> bool:
    """Whether numbers beyond these limits become the lowest and the highest integer in any case."""
    integers, scale, zero = np.iinfo(conversion.zero.dtype), float(conversion.scale), int(conversion.zero)
    low, high = (np.rint(np.float32(limit) / np.float32(scale)) + zero for limit in limits)
    return bool(low <= integers.min and high >= integers.max)
