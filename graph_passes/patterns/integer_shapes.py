"""Shapes of the outputs of layers of 8-bit integers, which are calls of functions."""

from __future__ import annotations

from graph_passes.base import every_node
from graph_passes.lazy import ir
from graph_passes.patterns.layers import FusedLayer
from graph_passes.replacement import infer_shapes
from graph_passes.values import static_shape


def infer_integer_layers(model: ir.Model) -> bool:
    """Infers the shapes of layers whose input has become known. Returns whether there were any."""
    outputs = [
        node.outputs[0]
        for node in every_node(model)
        if (layer := FusedLayer.of(node)) is not None
        and layer.of_integers
        and static_shape(node.inputs[0]) is not None
        and static_shape(node.outputs[0]) is None
    ]
    for output in outputs:
        output.shape = None
    if outputs:
        infer_shapes(model)
    return any(static_shape(output) is not None for output in outputs)
