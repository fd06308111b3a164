"""Brings quantized models of other tools into the form that ONNX Runtime and OpenVINO fuse.

::

    x8 ── DequantizeLinear ── Conv(DequantizeLinear(QuantizeLinear(w)), b) ── Clip ── QuantizeLinear ── y8

    x8 ── DequantizeLinear ── Conv(DequantizeLinear(w8), DequantizeLinear(b32)) ── QuantizeLinear ── y8

- Constants of nodes become initializers; some fusions read no others.
- A QuantizeLinear of a constant is computed.
- A constant bias in floating point becomes integers of 32 bits with the scale x_scale * w_scale, in whose steps the sum
  of the layer is. It moves by up to half a step.
- The image of a depthwise convolution that is quantized per channel gets one scale (patterns/channel_scales.py).
- Activations of int8 become the same steps in uint8, since ONNX Runtime on x86 leaves some layers of int8 in floating
  point.
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
from graph_passes.patterns.channel_scales import limits_of, saturates_within, unify_channel_scales
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
            if is_op(node, "QuantizeLinear"):
                reason = unify_channel_scales(node)
                if reason is not None:
                    yield Remark(described(node), reason)
                _make_unsigned(node)
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
    if x is None or scale is None or integers is None or integers not in (ir.DataType.INT8, ir.DataType.UINT8):
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
    limits = limits_of(node)
    output = node.outputs[0]
    if limits is None or output.is_graph_output():
        return
    for use in output.uses():
        reader = Conversion.of(use.node)
        if reader is None or not reader.quantizes or not saturates_within(limits, reader.scale, reader.zero):
            return
    if output.uses():
        bypass(node, required(node.inputs[0]))


def _make_unsigned(node: ir.Node) -> None:
    """Gives a QuantizeLinear to int8, and all that reads it, the same steps in uint8."""
    image, integers = Conversion.of(node), node.outputs[0]
    if image is None or image.zero.dtype != np.int8 or integers.is_graph_output():
        return
    conversions = [image]
    for use in integers.uses():
        reader = Conversion.of(use.node)
        if reader is None or reader.quantizes or reader.zero != image.zero:
            return
        conversions.append(reader)
    steps = (image.zero.astype(np.int16) - np.iinfo(np.int8).min).astype(np.uint8)
    zero = new_constant(graph_of(node), f"{integers.name}_zero_point", steps)
    integers.dtype = ir.DataType.UINT8
    for conversion in conversions:
        conversion.node.resize_inputs(3)
        conversion.node.replace_input_with(2, zero)
    node.attributes.pop("output_dtype", None)
