"""Moves activations between a max pooling and the convolution before it, which then takes them.

::

    x ── Conv ── MaxPool ── Relu ── y     becomes     x ── Conv ── Relu ── MaxPool ── y

Both give the same bits if the activation does not decrease: the maximum of its values is its value at the maximum.
After the convolution the activation is part of its kernel; after the pooling it is a pass over memory. It is computed
for more elements there, so only activations of a few instructions move.
"""

from __future__ import annotations

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.layers import CONVOLUTIONS, FusedLayer
from graph_passes.values import constant, is_op, main_output, producer, required, same_graph, sole_user, supplant


def move_before_pooling(graph: ir.Graph) -> None:
    for pooling in list(graph):
        if not is_op(pooling, "MaxPool") or pooling.graph is not graph:
            continue
        layer, pooled = producer(pooling.inputs[0]), main_output(pooling)
        activation = None if pooled is None else sole_user(pooled)
        if activation is None or layer is None or not same_graph(activation, pooling):
            continue
        if _takes_activations(layer) and sole_user(layer.outputs[0]) is pooling and _does_not_decrease(activation):
            _swap(pooling, activation)


def _takes_activations(node: ir.Node) -> bool:
    layer = FusedLayer.of(node)
    return layer is not None and layer.op in CONVOLUTIONS and layer.activation is None


def _does_not_decrease(activation: ir.Node) -> bool:
    """Whether the node is an activation of a few instructions that does not decrease anywhere."""
    if is_op(activation, "LeakyRelu"):
        return activation.attributes.get_float("alpha", 0.01) >= 0
    if is_op(activation, "PRelu"):
        slope = constant(activation.inputs[1])
        return slope is not None and bool(np.all(slope >= 0))
    return is_op(activation, "Clip", "Relu")


def _swap(pooling: ir.Node, activation: ir.Node) -> None:
    image = required(pooling.inputs[0])
    first = ir.Node(
        activation.domain,
        activation.op_type,
        [image, *activation.inputs[1:]],
        list(activation.attributes.values()),
        name=activation.name,
    )
    first.outputs[0].type, first.outputs[0].shape = image.type, image.shape
    second = ir.Node(
        pooling.domain,
        pooling.op_type,
        [first.outputs[0], *pooling.inputs[1:]],
        list(pooling.attributes.values()),
        name=pooling.name,
    )
    second.outputs[0].type, second.outputs[0].shape = activation.outputs[0].type, activation.outputs[0].shape
    supplant([pooling, activation], [first, second])
