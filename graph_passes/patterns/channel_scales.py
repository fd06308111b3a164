"""Gives an image that is quantized per channel one scale, and moves the others into the weights around it.

::

    Conv(x, w1 s1, b) ── Clip ── QuantizeLinear(s[c], z) ── DequantizeLinear(s[c], z) ── Conv(w2 s2)

    Conv(x, w1 (s1 f[c]), b f[c]) ── QuantizeLinear(s, z) ── DequantizeLinear(s, z) ── Conv(w2 (s2 / f[c]))

f[c] = s / s[c], and s is the largest of s[c]. Only factors change. The integers of the image and of both weights stay,
and with them the outputs, up to rounding in float32. A layer that adds channels of different scales cannot take them,
so the readers are depthwise convolutions. NNCF quantizes their inputs in this form.

Behind a Relu or Clip, integers of int8 with the zero point 0 use half of their range; NNCF writes so channels that were
empty in calibration. They get the zero point -128 of the other channels, and finer steps for the same range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graph_passes.lazy import ir
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
    same_graph,
    sole_user,
)

_STAYS = "its image keeps scales of channels"


def limits_of(node: ir.Node) -> tuple[float, float] | None:
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


def saturates_within(limits: tuple[float, float], scale: np.ndarray, zero: np.ndarray) -> bool:
    """Whether numbers beyond these limits become the lowest and the highest integer in any case."""
    integers = np.iinfo(zero.dtype)
    low, high = (np.rint(np.float32(limit) / scale) + zero.astype(np.float32) for limit in limits)
    return bool((low <= integers.min).all() and (high >= integers.max).all())


def unify_channel_scales(node: ir.Node) -> str | None:
    """Gives the image of a QuantizeLinear one scale; returns the reason if it keeps several."""
    is_image = is_op(node, "QuantizeLinear") and constant(node.inputs[0]) is None
    image = _Scales.of(node, axis=1) if is_image else None
    if image is None or image.scales.size == 1:
        return None
    readers = _depthwise_readers(node, image)
    if readers is None:
        return f"{_STAYS}: other nodes than quantized depthwise convolutions read it"
    chain = _chain(node)
    weight = _Weight.of(chain[0]) if chain else None
    if weight is None or weight.channels != image.scales.size:
        return f"{_STAYS}: no convolution with a quantized weight and a constant bias makes it alone"
    limits = limits_of(chain[1]) if len(chain) > 1 else None
    if limits is not None and limits[0] == 0:
        image = image.with_lowest_zeros()
    if (image.zeros != image.zeros[0]).any():
        return f"{_STAYS}: their zero points differ"
    if len(chain) > 1:
        if limits is None or not saturates_within(limits, image.scales, image.zeros):
            return f"{_STAYS}: the limits of the {chain[1].op_type} are narrower"
        bypass(chain[1], chain[0].outputs[0])
    scale = image.scales.max()
    factors = scale / image.scales.astype(np.float64)
    weight.multiply(factors)
    if weight.bias.size:
        name = f"{required(chain[0].inputs[2]).name}_unified"
        bias = (weight.bias * factors).astype(np.float32)
        chain[0].replace_input_with(2, new_constant(graph_of(node), name, bias))
    for reader in readers:
        reader.multiply(1 / np.repeat(factors, reader.channels // factors.size))
    for conversion in (node, *(use.node for use in node.outputs[0].uses())):
        graph, name = graph_of(conversion), required(conversion.inputs[1]).name
        conversion.replace_input_with(1, new_constant(graph, f"{name}_unified", scale))
        conversion.replace_input_with(2, new_constant(graph, f"{name}_zero_point", image.zeros[0]))
        conversion.attributes.pop("axis", None)
    return None


@dataclass(frozen=True)
class _Scales:
    """The scales and zero points of a QuantizeLinear or DequantizeLinear, of equal shapes: (channels,) or (1,)."""

    scales: np.ndarray
    zeros: np.ndarray

    @classmethod
    def of(cls, node: ir.Node | None, axis: int) -> _Scales | None:
        """Returns those of a conversion between float32 and 8 bits, along this axis if there are several."""
        if node is None or not is_op(node, "QuantizeLinear", "DequantizeLinear"):
            return None
        scales, zeros = constant(node.inputs[1]), constant(data_input(node, 2))
        if scales is None or zeros is None or zeros.dtype.name not in ("int8", "uint8") or not are_scales(scales):
            return None
        if any(node.attributes.get_int(name, 0) for name in ("block_size", "precision")):
            return None
        if scales.ndim > 1 or zeros.shape != scales.shape:
            return None
        if scales.size > 1 and node.attributes.get_int("axis", 1) != axis:
            return None
        return cls(scales.reshape(-1), zeros.reshape(-1))

    def same(self, other: _Scales | None) -> bool:
        if other is None or self.zeros.dtype != other.zeros.dtype:
            return False
        return np.array_equal(self.scales, other.scales) and np.array_equal(self.zeros, other.zeros)

    def with_lowest_zeros(self) -> _Scales:
        """Returns those in which the whole range of integers has the numbers from 0 to the present highest one."""
        integers = np.iinfo(self.zeros.dtype)
        steps = integers.max - self.zeros.astype(np.int64)
        scales = (self.scales * (steps / (integers.max - integers.min))).astype(np.float32)
        wanted = are_scales(scales)  # not if a zero point is the highest integer
        return _Scales(scales, np.full_like(self.zeros, integers.min)) if wanted else self


@dataclass(frozen=True)
class _Weight:
    """The quantized weight of a convolution whose bias is constant, or absent."""

    node: ir.Node
    dequantized: ir.Node
    given: _Scales
    channels: int
    bias: np.ndarray  # empty if there is no bias

    @classmethod
    def of(cls, node: ir.Node) -> _Weight | None:
        if not is_op(node, "Conv"):
            return None
        dequantized = producer(node.inputs[1])
        given = _Scales.of(dequantized, axis=0)
        if dequantized is None or given is None:
            return None
        integers, bias = constant(dequantized.inputs[0]), _bias(node)
        if integers is None or bias is None or given.scales.size not in (1, integers.shape[0]):
            return None
        return cls(node, dequantized, given, integers.shape[0], bias)

    def multiply(self, factors: np.ndarray) -> None:
        """Gives the convolution a copy of this weight with other scales."""
        integers, scales = (required(value) for value in self.dequantized.inputs[:2])
        graph = graph_of(self.node)
        products = (self.given.scales * factors).astype(np.float32)
        zeros = np.broadcast_to(self.given.zeros, products.shape)
        operands = [
            integers,
            new_constant(graph, f"{scales.name}_unified", products),
            new_constant(graph, f"{scales.name}_zero_point", zeros),
        ]
        new = new_node("DequantizeLinear", operands, {"axis": 0}, like=self.dequantized.outputs[0])
        graph.insert_before(self.node, new)
        self.node.replace_input_with(1, new.outputs[0])


def _depthwise_readers(node: ir.Node, image: _Scales) -> list[_Weight] | None:
    """Returns the weights of the convolutions that read an image; None if it has other readers."""
    found = []
    if node.outputs[0].is_graph_output():
        return None
    for use in node.outputs[0].uses():
        numbers = use.node.outputs[0]
        if not image.same(_Scales.of(use.node, axis=1)) or numbers.is_graph_output():
            return None
        for reader, place in numbers.uses():
            weight = _Weight.of(reader) if place == 0 else None
            if weight is None or reader.attributes.get_int("group", 1) != image.scales.size:
                return None
            found.append(weight)
    return found or None


def _chain(node: ir.Node) -> list[ir.Node]:
    """Returns the nodes that make what ``node`` alone reads, in order: a layer, and a Relu or Clip if there is one."""
    found: list[ir.Node] = []
    reader, maker = node, producer(node.inputs[0])
    while maker is not None and sole_user(maker.outputs[0]) is reader and same_graph(maker, node):
        found.insert(0, maker)
        if not is_op(maker, "Clip", "Relu") or len(found) > 1:
            break
        reader, maker = maker, producer(maker.inputs[0])
    return found


def _bias(node: ir.Node) -> np.ndarray | None:
    """Returns the constant bias of a convolution, dequantized, empty if it has none; None if it is not constant."""
    value = data_input(node, 2)
    if value is None:
        return np.zeros(0)
    array, maker = constant(value), producer(value)
    if array is not None or maker is None or not is_op(maker, "DequantizeLinear"):
        return array
    integers, scales, zeros = constant(maker.inputs[0]), constant(maker.inputs[1]), data_input(maker, 2)
    zero = constant(zeros)
    if integers is None or scales is None or (zeros is not None and (zero is None or zero.any())):
        return None
    return integers * scales.reshape(-1).astype(np.float64)
