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
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from graph_passes.base import Pass, Remark, every_graph, too_old
from graph_passes.lazy import ir
from graph_passes.patterns.attention import fuse_attention
from graph_passes.patterns.group_norm import fuse_group_norm
from graph_passes.patterns.layer_growth import all_attributes, grow_layer
from graph_passes.patterns.layers import FusedLayer, call_function, function, operator_attributes
from graph_passes.patterns.normalizations import fuse_normalizations
from graph_passes.patterns.pooled_activations import move_before_pooling
from graph_passes.patterns.softmax import fuse_softmax
from graph_passes.patterns.window import Window
from graph_passes.values import data_input, same_graph, sole_user, static_shape, supplant

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
                    yield from grow_layer(model, node)
            if self.depthwise_pointwise:
                for node in list(graph):
                    if node.graph is graph:
                        _fuse_depthwise(model, node)


def _fuse_depthwise(model: ir.Model, node: ir.Node) -> None:
    first, user = FusedLayer.of(node), sole_user(node.outputs[0]) if node.outputs else None
    second = FusedLayer.of(user)
    if first is None or second is None or user is None or not same_graph(user, node):
        return
    if first.op != "Conv" or second.op != "Conv" or user.inputs[0] is not node.outputs[0]:
        return
    if first.residual or first.channels_last or second.channels_last:
        return
    weight, outer, inner = static_shape(data_input(node, 1)), all_attributes(user), all_attributes(node)
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
