"""Fuses a layer into one node: a call of a function whose body defines it in standard operators.

::

    x ── Conv ── Add(residual) ── Relu ── y     becomes     x, residual ── loopwright.Conv_bias_residual_relu ── y

A layer is Conv, ConvTranspose, Gemm or MatMul, then an optional bias, an optional residual of the shape of the output,
and an optional activation, in this order; an activation behind a max pooling moves before it. Softmax, normalizations
and attention in separate operators become one node each (``graph_passes/patterns``). With ``depthwise_pointwise``, a
depthwise layer and the 1x1 layer that is its only reader become one call. A value with other readers, or that is an
output of the model, is not fused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from graph_passes.base import DOMAIN, Pass, Remark, described, every_graph, too_old
from graph_passes.lazy import ir
from graph_passes.patterns.attention import fuse_attention
from graph_passes.patterns.exported_forms import activation_of, activation_of_one
from graph_passes.patterns.group_norm import fuse_group_norm
from graph_passes.patterns.layers import (
    CONVOLUTIONS,
    PRODUCTS,
    FusedLayer,
    call,
    call_function,
    function,
    operator_attributes,
)
from graph_passes.patterns.normalizations import fuse_normalizations
from graph_passes.patterns.pooled_activations import move_before_pooling
from graph_passes.patterns.prelu import slopes_of_channels
from graph_passes.patterns.softmax import fuse_softmax
from graph_passes.patterns.window import Window, explicit_attributes
from graph_passes.values import (
    constant,
    data_input,
    graph_of,
    is_op,
    new_constant,
    other_operand,
    same_graph,
    sole_user,
    static_shape,
    supplant,
)

OLDEST_OPSET = 17  # the first with every operator of the bodies


@dataclass(frozen=True)
class FuseLayers(Pass):
    name: ClassVar[str] = "fuse_layers"
    depthwise_pointwise: bool = field(
        default=False, metadata={"help": "fuse a depthwise layer and the following 1x1 layer into one call"}
    )

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        remark = too_old(model, OLDEST_OPSET)
        if remark is not None:
            yield remark
            return
        for graph in every_graph(model):
            fuse_softmax(model, graph)
            fuse_normalizations(model, graph)
            fuse_group_norm(model, graph)
            move_before_pooling(graph)
            yield from fuse_attention(model, graph)
            for node in reversed(list(graph)):  # a later layer takes an earlier one's output as its residual
                if node.graph is graph and FusedLayer.of(node) is not None:
                    yield from _fuse(model, node)
            if self.depthwise_pointwise:
                for node in list(graph):
                    if node.graph is graph:
                        _fuse_depthwise(model, node)


@dataclass
class _Growing:
    """A layer under construction and the nodes that it replaces."""

    layer: FusedLayer
    nodes: list[ir.Node]
    inputs: list[ir.Value | None]
    attributes: list[ir.Attr]

    @property
    def output(self) -> ir.Value:
        return self.nodes[-1].outputs[0]


def _fuse(model: ir.Model, node: ir.Node) -> Iterator[Remark]:
    layer, attributes = FusedLayer.of(node), _attributes(node)
    if layer is None:
        return
    if attributes is None:
        yield Remark(described(node), "not fused: its padding depends on a size that is unknown")
        return
    growing = _Growing(layer, [node], [value for value in node.inputs if value is not None], attributes)
    while _take_bias(growing) or _take_residual(growing):
        pass
    if not _take_prelu(growing):
        _take_activation(growing)
    if not growing.layer.activation and len(growing.output.uses()) + growing.output.is_graph_output() > 1:
        followers = [use.node for use in growing.output.uses() if activation_of_one(use.node)]
        for follower in followers:
            yield Remark(described(follower), f"not fused: {growing.output.name} has other readers")
    if len(growing.nodes) == 1:
        return
    fused = call(model, growing.layer, growing.inputs, growing.attributes)
    fused.name = node.name
    supplant(growing.nodes, [fused])


def _attributes(node: ir.Node) -> list[ir.Attr] | None:
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


def _take_adding(growing: _Growing, adding: ir.Node, part: str, operand: ir.Value) -> bool:
    if not _take(growing, [adding], part):
        return False
    growing.inputs.append(operand)
    return True


def _take_bias(growing: _Growing) -> bool:
    """Takes a constant along the last axis that is added to a product without a bias.

    Convolutions and Gemm have the bias as an input; fold_batch_norm sets it.
    """
    adding = _next(growing, "Add") if growing.layer.op in PRODUCTS else None
    operand = None if adding is None else other_operand(adding, growing.output)
    array, shape, answer = constant(operand), static_shape(growing.inputs[1]), growing.output.shape
    if adding is None or operand is None or array is None or shape is None or len(shape) != 2 or answer is None:
        return False
    if array.size != shape[1] or array.ndim > len(answer) or array.shape[-1:] != shape[1:]:
        return False
    if array.ndim > 1:
        operand = new_constant(graph_of(adding), f"{operand.name}_flat", array.reshape(-1))
    return _take_adding(growing, adding, "bias", operand)


def _take_residual(growing: _Growing) -> bool:
    """Takes another value of the same shape that is added to the output."""
    adding = _next(growing, "Add", "Sum")
    operand = None if adding is None else other_operand(adding, growing.output)
    shape = static_shape(growing.output)
    if adding is None or operand is None or shape is None or static_shape(operand) != shape:
        return False
    if constant(operand) is not None or operand.dtype != growing.output.dtype:
        return False
    return _take_adding(growing, adding, "residual", operand)


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
    else:  # a residual is the last input
        growing.inputs.insert(len(growing.inputs) - growing.layer.residual, node.inputs[1])
    return True


def _fuse_depthwise(model: ir.Model, node: ir.Node) -> None:
    first, user = FusedLayer.of(node), sole_user(node.outputs[0]) if node.outputs else None
    second = FusedLayer.of(user)
    if first is None or second is None or user is None or not same_graph(user, node):
        return
    if first.op != "Conv" or second.op != "Conv" or user.inputs[0] is not node.outputs[0]:
        return
    if first.residual or first.channels_last or second.channels_last:
        return
    weight, outer, inner = static_shape(data_input(node, 1)), _attributes(user), _attributes(node)
    window = Window.of(user)
    if weight is None or weight[1] != 1 or outer is None or inner is None or window is None or not window.pointwise:
        return
    given = {attribute.name: attribute.value for attribute in inner}
    plain = {attribute.name: attribute.value for attribute in outer}
    if given["group"] != weight[0] or plain["group"] != 1 or any(stride != 1 for stride in plain["strides"]):
        return
    callee = _depthwise_function(first, second, len(weight) - 2, model.opset_imports[""])
    inputs = [*node.inputs, *user.inputs[1:]]
    numbers = [attribute for attribute in outer if attribute.name in second.activation_attributes]
    renamed = [
        ir.AttrFloat32(f"depthwise_{attribute.name}", attribute.as_float())
        if attribute.name in first.activation_attributes
        else attribute
        for attribute in inner
    ]
    supplant([node, user], [call_function(model, callee, [v for v in inputs if v is not None], [*renamed, *numbers])])


def _depthwise_function(first: FusedLayer, second: FusedLayer, rank: int, opset: int) -> ir.Function:
    """Returns a function with the statements of both layers. The second is a 1x1 convolution of stride 1."""
    one = [
        re.sub(r"\b(y\d*|low|high|s)\b", r"\1_depthwise", line).replace("@activation_", "@depthwise_activation_")
        for line in first.body()
    ]
    fixed = {"strides": [1] * rank, "pads": [0] * (2 * rank), "dilations": [1] * rank, "group": 1}
    two = []
    for line in second.body():
        for name, number in fixed.items():
            line = line.replace(f"@{name}", str(number))
        line = re.sub(r"\bx\b", "y_depthwise", line)
        two.append(re.sub(r"\b([wb]|slope)\b", r"\1_pointwise", line))
    numbers = [f"depthwise_{name}" for name in first.activation_attributes] + second.activation_attributes
    inputs = [*first.inputs, *(name if name == "r" else f"{name}_pointwise" for name in second.inputs[1:])]
    name = f"{first.name}_then_{second.name}"
    return function(name, [*operator_attributes("Conv"), *numbers], inputs, [*one, *two], opset)
