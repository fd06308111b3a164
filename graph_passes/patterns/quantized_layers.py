"""Layers whose input and weight are quantized with constant scales, as static quantizers write them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.conversions import Conversion
from graph_passes.patterns.integer_weight import LONGEST_SUM, are_scales, has_integer_kernel, signed_weight
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


@dataclass(frozen=True)
class QuantizedLayer:
    """A Conv, Gemm or MatMul of dequantized numbers, and what becomes of it.

    Attributes:
        layer, attributes: of the function that replaces it.
        x: the conversion of its input.
        weight: as the layer has it.
        scales: (channels,) of float32.
    """

    node: ir.Node
    layer: FusedLayer
    attributes: list[ir.Attr]
    x: Conversion
    weight: np.ndarray
    scales: np.ndarray

    @classmethod
    def of(cls, node: ir.Node) -> QuantizedLayer | str | None:
        """Returns the layer of a node; the reason if it is quantized in a form that layers do not have.

        None unless it is a layer whose input and weight are dequantized.
        """
        if not is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
            return None
        sources = [producer(value) for value in node.inputs[:2]]
        dequantized = [source for source in sources if source is not None and is_op(source, "DequantizeLinear")]
        if len(dequantized) < 2:
            return None
        if constant(dequantized[1].inputs[0]) is None:
            return "its second factor is not constant"
        x = Conversion.of(dequantized[0])
        if x is None:
            return "its input does not have 8 bits and one constant scale"
        found = _layer(node)
        if isinstance(found, str):
            return found
        layer, attributes, transposed = found
        weight = _weight(dequantized[1], 0 if is_op(node, "Conv") or transposed else -1)
        if isinstance(weight, str):
            return weight
        integers, scales = weight
        if integers.ndim > 2 and not is_op(node, "Conv"):
            return "its weight is a batch of matrices"
        with np.errstate(over="ignore"):
            products = x.scale * scales
        if integers.size > len(scales) * LONGEST_SUM or not are_scales(products):
            return "its sums may exceed 32 bits, or its scales float32"
        return cls(node, layer, attributes, x, integers.T if transposed else integers, scales)

    def write(self, model: ir.Model) -> ir.Node:
        """Replaces the node, and returns the new one."""
        node, dequantized = self.node, self.x.node
        graph, name = graph_of(node), required(node.inputs[1]).name
        operands = {
            "x": self.x.integers,
            "w": new_constant(graph, f"{name}_signed", self.weight),
            "w_scale": new_constant(graph, f"{name}_scales", self.scales),
            **self.x.operands(graph, "x"),
            "b": data_input(node, 2),
        }
        new = call(model, self.layer, [operands[operand] for operand in self.layer.inputs], self.attributes)
        new.name = node.name
        supplant([node], [new])
        if not dequantized.outputs[0].uses() and not dequantized.outputs[0].is_graph_output():
            graph_of(dequantized).remove(dequantized, safe=True)
        return new


def _layer(node: ir.Node) -> tuple[FusedLayer, list[ir.Attr], bool] | str:
    """Returns the layer of a node, its attributes, and whether its weight is (n, k); or why there is no such layer."""
    bias = data_input(node, 2) is not None
    if is_op(node, "ConvTranspose"):
        return "transposed convolutions have no integer kernel"
    if is_op(node, "Conv"):
        shape, groups = static_shape(node.inputs[1]), node.attributes.get_int("group", 1)
        attributes = explicit_attributes(node)
        if shape is None or len(shape) != 2 + _IMAGE_AXES:
            return "it does not have two spatial axes"
        if not has_integer_kernel(shape, groups):
            return f"it has groups of {shape[1]} to {shape[0] // groups} channels"
        if attributes is None:
            return "its padding depends on a size that is unknown"
        return FusedLayer("QuantizedConv", bias), attributes, False
    if is_op(node, "MatMul"):
        return FusedLayer("QuantizedMatMul"), [], False
    get = node.attributes
    plain = get.get_float("alpha", 1.0) == get.get_float("beta", 1.0) == 1 and not get.get_int("transA", 0)
    # A bias of another shape would be broadcast along the rows.
    vector = bias and len(static_shape(node.inputs[2]) or ()) == 1
    if not plain or (bias and not vector):
        return "it is a Gemm with factors, a transposed input or a bias that is not a vector"
    return FusedLayer("QuantizedMatMul", bias), [], bool(get.get_int("transB", 0))


def _weight(dequantized: ir.Node, axis: int) -> tuple[np.ndarray, np.ndarray] | str:
    """Returns the integers of a weight and a scale for each output channel; or why layers do not have it."""
    scales, zero = constant(dequantized.inputs[1]), data_input(dequantized, 2)
    zeros = np.zeros((), np.int8) if zero is None else constant(zero)
    integers = signed_weight(constant(dequantized.inputs[0]), zeros)
    if integers is None or integers.ndim < 2:
        return "its weight is not of int8 with the zero point 0, or of uint8 with 128"
    if scales is None or not are_scales(scales) or dequantized.attributes.get_int("block_size", 0):
        return "its weight does not have constant, positive scales of channels"
    channels = integers.shape[axis]
    if scales.size == 1:
        return integers, np.full(channels, scales.reshape(-1)[0], np.float32)
    along = dequantized.attributes.get_int("axis", 1) % integers.ndim
    if scales.shape != (channels,) or along != axis % integers.ndim:
        return "the scales of its weight are not those of its output channels"
    return integers, scales
