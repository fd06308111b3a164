"""Fuses layer normalization in separate operators into LayerNormalization (Ba, Kiros and Hinton, 2016).

::

    d = x - mean(x);  y = d / sqrt(mean(d * d) + epsilon) * scale + shift

    y = LayerNormalization(x, scale, shift)

d * d may be Pow(d, 2), and the division may be a product with a reciprocal. The means must be over the last axis.
"""

from __future__ import annotations

import numpy as np

from graph_passes.lazy import ir
from graph_passes.values import (
    constant,
    data_input,
    is_op,
    new_node,
    other_operand,
    same_graph,
    scalar,
    sole_user,
    static_shape,
    supplant,
)


def fuse_layer_norm(graph: ir.Graph) -> None:
    """Replaces each layer normalization in separate operators by one node."""
    for node in list(graph):
        if node.graph is graph and is_op(node, "ReduceMean"):
            _fuse(node)


def _fuse(mean: ir.Node) -> None:
    x = mean.inputs[0]
    shape = static_shape(x)
    centered = sole_user(mean.outputs[0])
    if x is None or shape is None or not _over_last(mean, len(shape)):
        return
    if centered is None or not is_op(centered, "Sub"):
        return
    if centered.inputs[0] is not x or centered.inputs[1] is not mean.outputs[0]:
        return
    found = _normalized(centered, len(shape))
    if found is None:
        return
    nodes, epsilon = found
    scale = _taken(nodes[-1], "Mul", shape[-1])
    if scale is None:
        return
    nodes.append(scale[0])
    shift = _taken(scale[0], "Add", shape[-1])
    if shift is not None:
        nodes.append(shift[0])
    if any(not same_graph(node, mean) for node in nodes):
        return
    inputs = [x, scale[1], *([shift[1]] if shift else [])]
    attributes = {"axis": -1, "epsilon": epsilon}
    supplant([mean, *nodes], [new_node("LayerNormalization", inputs, attributes, like=nodes[-1].outputs[0])])


def _normalized(centered: ir.Node, rank: int) -> tuple[list[ir.Node], float] | None:
    """Returns the nodes from d to d / sqrt(mean(d * d) + epsilon), and epsilon."""
    d = centered.outputs[0]
    if d.is_graph_output():
        return None
    squares = [use.node for use in d.uses() if _is_square(use.node, d)]
    if not squares:
        return None
    nodes = [centered, squares[0]]
    for op_type in ("ReduceMean", "Add", "Sqrt"):
        user = sole_user(nodes[-1].outputs[0])
        if user is None or not is_op(user, op_type):
            return None
        nodes.append(user)
    epsilon = next((scalar(value) for value in nodes[3].inputs if scalar(value) is not None), None)
    last = sole_user(nodes[-1].outputs[0])
    if epsilon is None or last is None or not _over_last(nodes[2], rank):
        return None
    nodes.append(last)
    if is_op(last, "Reciprocal"):
        product = sole_user(last.outputs[0])
        if product is None or not is_op(product, "Mul") or d not in product.inputs:
            return None
        nodes.append(product)
    elif not (is_op(last, "Div") and last.inputs[0] is d):
        return None
    if {use.node for use in d.uses()} - set(nodes):
        return None
    return nodes, epsilon


def _is_square(node: ir.Node, d: ir.Value) -> bool:
    if is_op(node, "Mul"):
        return all(value is d for value in node.inputs)
    return is_op(node, "Pow") and node.inputs[0] is d and scalar(node.inputs[1]) == 2


def _over_last(node: ir.Node, rank: int) -> bool:
    axes = constant(data_input(node, 1))
    given = node.attributes.get_ints("axes", ()) if axes is None else tuple(np.atleast_1d(axes).tolist())
    return [int(axis) % rank for axis in given] == [rank - 1] and node.attributes.get_int("keepdims", 1) == 1


def _taken(node: ir.Node, op_type: str, size: int) -> tuple[ir.Node, ir.Value] | None:
    """Returns the only reader of ``node``, if it is ``op_type``, and its constant operand of shape (size,)."""
    user = sole_user(node.outputs[0])
    if user is None or not is_op(user, op_type):
        return None
    operand = other_operand(user, node.outputs[0])
    array = constant(operand)
    return (user, operand) if operand is not None and array is not None and array.shape == (size,) else None
