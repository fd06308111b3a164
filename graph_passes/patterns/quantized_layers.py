"""Layers whose input and weight are quantized with constant scales, as static quantizers write them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.integer_weight import LONGEST_SUM, are_scales, signed_weight
from graph_passes.patterns.layers import FusedLayer, call
from graph_passes.patterns.window import explicit_attributes
from graph_passes.values import (
    constant,
    data_input,
    graph_of,
    is_op,
    new_constant,
    producer,
    required,
    static_shape,
    supplant,
)

_IMAGE_AXES = 2
_OTHER_FORMS = ("block_size", "precision")  # attributes of conversions that the layers do not have
_LEAST_CHANNELS = 8  # of the output of each group


@dataclass(frozen=True)
class QuantizedLayer:
    """A Conv, Gemm or MatMul of dequantized numbers, and what becomes of it.

    Attributes:
        layer, attributes: of the function that replaces it.
        quantized, dequantized: the nodes that round its input.
        scale, zero: of its input, scalars.
        weight: as the layer has it.
        scales: (channels,) of float32.
    """

    node: ir.Node
    layer: FusedLayer
    attributes: list[ir.Attr]
    quantized: ir.Node
    dequantized: ir.Node
    scale: np.ndarray
    zero: np.ndarray
    weight: np.ndarray
    scales: np.ndarray

    @classmethod
    def of(cls, node: ir.Node) -> QuantizedLayer | None:
        """Returns the layer of a node.

        None unless its input comes from a QuantizeLinear with the same scale, and the weight is a constant of 8-bit
        integers with the zero point in their middle and a scale, or one for each output channel.
        """
        dequantized = producer(node.inputs[0])
        quantized = None if dequantized is None else producer(dequantized.inputs[0])
        if dequantized is None or quantized is None or not is_op(dequantized, "DequantizeLinear"):
            return None
        steps = _shared(quantized, dequantized) if is_op(quantized, "QuantizeLinear") else None
        layer, attributes, transposed = _layer(node)
        weight = _weight(node, 0 if is_op(node, "Conv") or transposed else -1)
        if steps is None or layer is None or attributes is None or weight is None:
            return None
        (scale, zero), (integers, scales) = steps, weight
        if integers.size > len(scales) * LONGEST_SUM or not are_scales(scale * scales):
            return None
        weight_of_layer = integers.T if transposed else integers
        return cls(node, layer, attributes, quantized, dequantized, scale, zero, weight_of_layer, scales)

    def write(self, model: ir.Model) -> None:
        node = self.node
        graph, x, name = graph_of(node), required(node.inputs[0]).name, required(node.inputs[1]).name
        inputs: list[ir.Value | None] = [
            required(self.quantized.inputs[0]),
            new_constant(graph, f"{name}_signed", self.weight),
            new_constant(graph, f"{name}_scales", self.scales),
            new_constant(graph, f"{x}_scale", self.scale),
            new_constant(graph, f"{x}_zero", self.zero),
        ]
        if self.layer.bias:
            inputs.append(required(node.inputs[2]))
        new = call(model, self.layer, inputs, self.attributes)
        new.name = node.name
        supplant([node], [new])
        for unused in (self.dequantized, self.quantized):
            if not unused.outputs[0].uses() and not unused.outputs[0].is_graph_output():
                graph_of(unused).remove(unused, safe=True)


def _layer(node: ir.Node) -> tuple[FusedLayer | None, list[ir.Attr] | None, bool]:
    """Returns the layer of a node, its attributes, and whether its weight is (n, k); None if there is no such layer."""
    bias = data_input(node, 2) is not None
    if is_op(node, "Conv"):
        shape, groups = static_shape(node.inputs[1]), node.attributes.get_int("group", 1)
        # The sums of a few channels use a part of a vector; depthwise convolutions have better kernels in float32.
        if shape is None or len(shape) != 2 + _IMAGE_AXES or (groups > 1 and shape[0] // groups < _LEAST_CHANNELS):
            return None, None, False
        return FusedLayer("QuantizedConv", bias), explicit_attributes(node), False
    if is_op(node, "MatMul"):
        return FusedLayer("QuantizedMatMul"), [], False
    get = node.attributes
    plain = get.get_float("alpha", 1.0) == get.get_float("beta", 1.0) == 1 and not get.get_int("transA", 0)
    # A bias of another shape would be broadcast along the rows.
    vector = bias and len(static_shape(node.inputs[2]) or ()) == 1
    if not is_op(node, "Gemm") or not plain or (bias and not vector):
        return None, None, False
    return FusedLayer("QuantizedMatMul", bias), [], bool(get.get_int("transB", 0))


def _shared(quantized: ir.Node, dequantized: ir.Node) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the scale and the zero point, both scalars, with which both convert from and to float32.

    None unless both have the same single ones.
    """
    floats = (required(quantized.inputs[0]), dequantized.outputs[0])
    if any(value.dtype not in (None, ir.DataType.FLOAT) for value in floats):
        return None
    if any(node.attributes.get_int(name, 0) for node in (quantized, dequantized) for name in _OTHER_FORMS):
        return None
    scale, other_scale = constant(quantized.inputs[1]), constant(dequantized.inputs[1])
    zero, other_zero = _zero_point(quantized), _zero_point(dequantized)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    if not are_scales(scale) or not _same(scale, other_scale) or not _same(zero, other_zero):
        return None
    return scale.reshape(()), zero.reshape(())


def _same(number: np.ndarray, other: np.ndarray | None) -> bool:
    return other is not None and other.dtype == number.dtype and other.size == 1 and bool((other == number).all())


def _zero_point(node: ir.Node) -> np.ndarray | None:
    """Returns the zero point of a conversion from or to 8-bit integers; None for another one."""
    given = data_input(node, 2)
    integers = node.outputs[0] if is_op(node, "QuantizeLinear") else required(node.inputs[0])
    if given is None:
        dtype = integers.dtype
        known = dtype in (ir.DataType.INT8, ir.DataType.UINT8)
        return np.zeros((), dtype.numpy()) if known and dtype is not None else None
    zero = constant(given)
    return zero if zero is not None and zero.dtype.name in ("int8", "uint8") else None


def _weight(node: ir.Node, axis: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the integers of a weight and a scale for each output channel; None if it has another form."""
    dequantized = producer(node.inputs[1])
    if dequantized is None or not is_op(dequantized, "DequantizeLinear"):
        return None
    scales, zero = constant(dequantized.inputs[1]), data_input(dequantized, 2)
    zeros = np.zeros((), np.int8) if zero is None else constant(zero)
    integers = signed_weight(constant(dequantized.inputs[0]), zeros)
    if integers is None or scales is None:
        return None
    if integers.ndim < 2 or (integers.ndim > 2 and not is_op(node, "Conv")):
        return None
    if not are_scales(scales) or dequantized.attributes.get_int("block_size", 0):
        return None
    channels = integers.shape[axis]
    if scales.size == 1:
        return integers, np.full(channels, scales.reshape(-1)[0], np.float32)
    along = dequantized.attributes.get_int("axis", 1) % integers.ndim
    if scales.shape != (channels,) or along != axis % integers.ndim:
        return None
    return integers, scales
