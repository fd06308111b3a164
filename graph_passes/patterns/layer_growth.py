"""Extends a layer by what follows it: bias, residual, activation, and the conversion to 8-bit integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from graph_passes.base import DOMAIN, Remark, described
from graph_passes.lazy import ir
from graph_passes.patterns.conversions import Conversion
from graph_passes.patterns.exported_forms import activation_of, activation_of_one
from graph_passes.patterns.layers import CONVOLUTIONS, PRODUCTS, FusedLayer, call
from graph_passes.patterns.prelu import slopes_of_channels
from graph_passes.patterns.window import explicit_attributes
from graph_passes.values import (
    bypass,
    constant,
    graph_of,
    is_op,
    new_constant,
    other_operand,
    producer,
    same_graph,
    sole_user,
    static_shape,
    supplant,
)


@dataclass
class _Growing:
    """A layer under construction and the nodes that it replaces.

    Attributes:
        operands: by their names in ``layer.inputs``.
    """

    layer: FusedLayer
    nodes: list[ir.Node]
    operands: dict[str, ir.Value | None]
    attributes: list[ir.Attr]

    @property
    def output(self) -> ir.Value:
        return self.nodes[-1].outputs[0]


def grow_layer(model: ir.Model, node: ir.Node) -> Iterator[Remark]:
    """Fuses a layer with its bias, residual, activation and quantization, as far as it has them.

    Yields a remark for each that cannot be fused.
    """
    layer, attributes = FusedLayer.of(node), all_attributes(node)
    if layer is None:
        return
    if attributes is None:
        yield Remark(described(node), "not fused: its padding depends on a size that is unknown")
        return
    growing = _Growing(layer, [node], layer.operands(node), attributes)
    while _take_bias(growing) or _take_residual(growing) or _take_rounded_sum(growing):
        pass
    if not _take_prelu(growing):
        _take_activation(growing)
    _take_quantization(growing)
    if not growing.layer.activation and len(growing.output.uses()) + growing.output.is_graph_output() > 1:
        followers = [use.node for use in growing.output.uses() if activation_of_one(use.node)]
        for follower in followers:
            yield Remark(described(follower), f"not fused: {growing.output.name} has other readers")
    if len(growing.nodes) == 1:
        return
    inputs = [growing.operands[name] for name in growing.layer.inputs]
    fused = call(model, growing.layer, inputs, growing.attributes)
    fused.name = node.name
    supplant(growing.nodes, [fused])


def all_attributes(node: ir.Node) -> list[ir.Attr] | None:
    """Returns all attributes of the operator with their values; None if a padding is unknown."""
    if node.domain == DOMAIN:
        return list(node.attributes.values())
    if is_op(node, "MatMul"):
        return []
    if is_op(node, "Gemm"):
        get = node.attributes
        return [
            ir.AttrFloat32("alpha", get.get_float("alpha", 1.0)),
            ir.AttrFloat32("beta", get.get_float("beta", 1.0)),
            ir.AttrInt64("transA", get.get_int("transA", 0)),
            ir.AttrInt64("transB", get.get_int("transB", 0)),
        ]
    return explicit_attributes(node)


def _next(growing: _Growing, *op_types: str) -> ir.Node | None:
    """Returns the only reader of the layer's output so far if it is one of these operators."""
    user = sole_user(growing.output)
    return user if user is not None and is_op(user, *op_types) and same_graph(user, growing.nodes[0]) else None


def _take(growing: _Growing, nodes: Sequence[ir.Node], part: str) -> bool:
    """Adds ``nodes`` to the layer if it can have ``part``. The caller adds their other inputs."""
    layer = growing.layer.following(part)
    if layer is None:
        return False
    growing.layer = layer
    growing.nodes += nodes
    return True


def _take_bias(growing: _Growing) -> bool:
    """Takes a constant along the last axis that is added to a product without a bias.

    Convolutions and Gemm have the bias as an input; fold_batch_norm sets it.
    """
    adding = _next(growing, "Add") if growing.layer.op in PRODUCTS else None
    operand = None if adding is None else other_operand(adding, growing.output)
    array, columns, answer = constant(operand), _columns(growing), growing.output.shape
    if adding is None or operand is None or array is None or columns is None or answer is None:
        return False
    if array.size != columns or array.ndim > len(answer) or array.shape[-1:] != (columns,):
        return False
    if array.ndim > 1:
        operand = new_constant(graph_of(adding), f"{operand.name}_flat", array.reshape(-1))
    if not _take(growing, [adding], "bias"):
        return False
    growing.operands["b"] = operand
    return True


def _columns(growing: _Growing) -> int | None:
    """Returns the number of columns of a product; None if its weight is not one matrix."""
    shape = static_shape(growing.operands["w"])
    if growing.layer.op == "BlockMatMul":
        return shape[0] if shape else None
    return shape[1] if shape is not None and len(shape) == 2 else None


def _take_residual(growing: _Growing) -> bool:
    """Takes another value of the same shape that is added to the output."""
    adding = _next(growing, "Add", "Sum")
    operand = None if adding is None else other_operand(adding, growing.output)
    shape = static_shape(growing.output)
    if adding is None or operand is None or shape is None or static_shape(operand) != shape:
        return False
    if constant(operand) is not None or operand.dtype != growing.output.dtype:
        return False
    if not _take(growing, [adding], "residual"):
        return False
    integers = Conversion.of(producer(operand)) if growing.layer.has_integer_input else None
    if integers is None or integers.quantizes:
        growing.operands["r"] = operand
    else:
        growing.layer = replace(growing.layer, integer_residual=True)
        growing.operands |= {"r": integers.integers} | integers.operands(graph_of(adding), "r")
    return True


def _take_rounded_sum(growing: _Growing) -> bool:
    """Takes the conversion of the sum to integers and back, and the residual that follows it."""
    node = _next(growing, "QuantizeLinear") if growing.layer.has_integer_input else None
    to_integers = Conversion.of(node)
    back = None if node is None else Conversion.of(sole_user(node.outputs[0]))
    if (
        node is None
        or to_integers is None
        or back is None
        or back.quantizes
        or not same_graph(back.node, growing.nodes[0])
    ):
        return False
    if to_integers.numbers != back.numbers or growing.layer.residual or growing.layer.rounded_sum:
        return False
    rounded = replace(growing, layer=replace(growing.layer, rounded_sum=True), nodes=[*growing.nodes, node, back.node])
    if not _take_residual(rounded):
        return False
    growing.layer, growing.nodes = rounded.layer, rounded.nodes
    growing.operands |= rounded.operands | to_integers.operands(graph_of(node), "s")
    return True


def _take_activation(growing: _Growing) -> bool:
    form = activation_of(growing.output)
    if form is None or any(not same_graph(node, growing.nodes[0]) for node in form.nodes):
        return False
    if not _take(growing, form.nodes, form.activation):
        return False
    growing.attributes += [ir.AttrFloat32(f"activation_{name}", number) for name, number in form.attributes.items()]
    return True


def _take_prelu(growing: _Growing) -> bool:
    """Takes a PRelu with a slope for all channels, or one for each of them."""
    node = _next(growing, "PRelu")
    if node is None or growing.layer.channels_last:
        return False
    axis = 1 if growing.layer.op in CONVOLUTIONS else -1
    slopes = slopes_of_channels(node, growing.output, axis)
    if slopes is None or not _take(growing, [node], "leaky_relu" if slopes.size == 1 else "prelu"):
        return False
    if slopes.size == 1:
        growing.attributes.append(ir.AttrFloat32("activation_alpha", float(slopes.reshape(-1)[0])))
    else:
        growing.operands["slope"] = node.inputs[1]
    return True


def _take_quantization(growing: _Growing) -> None:
    """Takes the conversion of the output to 8-bit integers, if it is what all of its readers are."""
    if not growing.layer.has_integer_input or growing.output.is_graph_output():
        return
    readers = [Conversion.of(use.node) for use in growing.output.uses()]
    equal = [reader for reader in readers if reader is not None and reader.quantizes and reader.same(readers[0])]
    if not equal or len(equal) < len(readers) or not all(same_graph(each.node, growing.nodes[0]) for each in equal):
        return
    if sum(each.integers.is_graph_output() for each in equal) > 1:  # which have different names
        return
    first = equal[0]
    if len(equal) > 1:  # the first one in the graph, which comes before all readers of the integers
        first = next(each for node in graph_of(first.node) for each in equal if each.node is node)
    for other in equal:
        if other is not first:
            bypass(other.node, first.integers)
    growing.layer = replace(growing.layer, integer_output=True)
    growing.operands |= first.operands(graph_of(first.node), "y")
    growing.nodes.append(first.node)
