"""Moves activations between a max pooling and the convolution before it, which then takes them.

::

    x ── Conv ── MaxPool ── Relu ── y     becomes     x ── Conv ── Relu ── MaxPool ── y

Both give the same values if the activation does not decrease: the maximum of its values is its value at the maximum.
After the convolution the activation is part of its kernel; after the pooling it is a pass over memory. It is computed
for more elements there, so only activations of a few instructions move.
"""

from __future__ import annotations

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.exported_forms import activation_of
from graph_passes.patterns.layers import CONVOLUTIONS, FusedLayer
from graph_passes.patterns.prelu import slopes_of_channels
from graph_passes.patterns.window import Window, explicit_attributes
from graph_passes.values import (
    STANDARD,
    is_op,
    main_output,
    new_node,
    producer,
    required,
    same_graph,
    sole_user,
    supplant,
)

# Activations of a few instructions that do not decrease; a leaky ReLU only with a slope that is not negative.
_MOVED = ("clip", "leaky_relu", "relu", "relu6")


def move_before_pooling(graph: ir.Graph) -> None:
    for pooling in list(graph):
        if not is_op(pooling, "MaxPool") or pooling.graph is not graph or not _has_no_empty_window(pooling):
            continue
        layer, pooled = producer(pooling.inputs[0]), main_output(pooling)
        activation = None if pooled is None else sole_user(pooled)
        if pooled is None or activation is None or layer is None:
            continue
        if not same_graph(activation, pooling) or not same_graph(layer, pooling):
            continue
        if _takes_activations(layer) and sole_user(layer.outputs[0]) is pooling and _moves(activation, pooled):
            _swap(pooling, activation)


def _has_no_empty_window(pooling: ir.Node) -> bool:
    """Whether no window has padding alone, whose maximum is not a value of the image."""
    window = Window.of(pooling)
    if window is None or any(dilation != 1 for dilation in window.dilations):
        return False
    return not (pooling.attributes.get_int("ceil_mode", 0) and any((*window.before, *window.after)))


def _takes_activations(node: ir.Node) -> bool:
    layer = FusedLayer.of(node)
    if layer is None or layer.op not in CONVOLUTIONS or layer.activation or layer.channels_last:
        return False
    return node.domain not in STANDARD or explicit_attributes(node) is not None


def _moves(activation: ir.Node, pooled: ir.Value) -> bool:
    """Whether the node is an activation that layers take, and that may move."""
    slopes = slopes_of_channels(activation, pooled, axis=1)
    if slopes is not None:
        return bool(np.all(slopes >= 0))
    form = activation_of(pooled)
    if form is None or form.nodes != (activation,) or form.activation not in _MOVED:
        return False
    return form.attributes.get("alpha", 0.0) >= 0


def _swap(pooling: ir.Node, activation: ir.Node) -> None:
    image = required(pooling.inputs[0])
    first = _copy(activation, [image, *activation.inputs[1:]], like=image)
    second = _copy(pooling, [first.outputs[0], *pooling.inputs[1:]], like=activation.outputs[0])
    supplant([pooling, activation], [first, second])


def _copy(node: ir.Node, inputs: list[ir.Value | None], like: ir.Value) -> ir.Node:
    """Returns a node of the same operator with one output of the type and the shape of ``like``."""
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    return new_node(node.op_type, inputs, attributes, like=like, name=node.name, domain=node.domain)
