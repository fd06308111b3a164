"""Recognizes softmax in separate operators.

::

    e = Exp(x - ReduceMax(x));  y = e / ReduceSum(e)

    y = Softmax(x)

Both reductions are over the same axis. Between a reduction and its reader there may be a Reshape, Unsqueeze or Expand
to the axes of x, and a Max with -inf.

A softmax over the last axis of a matrix between a Flatten or Reshape and a Reshape back is one over the last axis of x.
onnx's converter makes such matrices of a softmax before opset 13.
"""

from __future__ import annotations

from math import prod

import numpy as np

from graph_passes.lazy import ir
from graph_passes.values import (
    constant,
    data_input,
    is_op,
    new_node,
    other_operand,
    producer,
    same_graph,
    sole_user,
    static_shape,
    supplant,
)

_OF_ONE_AXIS = 13  # the first opset whose Softmax is along one axis
_KEEPERS = ("Expand", "Reshape", "Unsqueeze")


def fuse_softmax(model: ir.Model, graph: ir.Graph) -> None:
    """Replaces each softmax in separate operators by one node."""
    if model.opset_imports.get("", 0) < _OF_ONE_AXIS:
        return
    for node in list(graph):
        if node.graph is graph and is_op(node, "Exp"):
            _fuse(node)
        elif node.graph is graph and is_op(node, "Softmax"):
            _unflatten(node)


def _unflatten(softmax: ir.Node) -> None:
    """Removes the Reshapes around a softmax if they keep its axis."""
    flat, y = softmax.inputs[0], softmax.outputs[0]
    before, after = producer(flat), sole_user(y)
    if flat is None or before is None or after is None or sole_user(flat) is not softmax:
        return
    if not is_op(before, "Flatten", "Reshape") or not is_op(after, "Reshape") or after.inputs[0] is not y:
        return
    x, rows, shape = before.inputs[0], static_shape(flat), static_shape(before.inputs[0])
    if x is None or not shape or not rows or static_shape(after.outputs[0]) != shape or rows[-1] != shape[-1]:
        return
    nodes = [before, softmax, after]
    axis = softmax.attributes.get_int("axis", -1)
    if axis % len(rows) == len(rows) - 1 and all(same_graph(node, softmax) for node in nodes):
        supplant(nodes, [new_node("Softmax", [x], {"axis": -1}, like=after.outputs[0])])


def _fuse(exp: ir.Node) -> None:
    e, shape = exp.outputs[0], static_shape(exp.outputs[0])
    shifted = producer(exp.inputs[0])
    users = {use.node for use in e.uses()}
    if not shape or shifted is None or not is_op(shifted, "Sub") or sole_user(shifted.outputs[0]) is not exp:
        return
    if e.is_graph_output() or len(users) != 2 or not prod(shape):
        return
    x, largest = shifted.inputs
    quotient = next((node for node in users if is_op(node, "Div", "Mul")), None)
    if x is None or static_shape(x) != shape or quotient is None:
        return
    total = other_operand(quotient, e)
    inverse: list[ir.Node] = []
    if is_op(quotient, "Mul"):
        reciprocal = producer(total)
        if reciprocal is None or not is_op(reciprocal, "Reciprocal"):
            return
        inverse, total = [reciprocal], reciprocal.inputs[0]
    elif quotient.inputs[0] is not e:
        return
    above, below = _reduction(largest, "ReduceMax", x, shape), _reduction(total, "ReduceSum", e, shape)
    if above is None or below is None or above[1] != below[1]:
        return
    nodes = [*above[0], shifted, exp, *below[0], *inverse, quotient]
    if any(not same_graph(node, exp) for node in nodes) or static_shape(quotient.outputs[0]) != shape:
        return
    supplant(nodes, [new_node("Softmax", [x], {"axis": above[1]}, like=quotient.outputs[0])])


def _reduction(
    value: ir.Value | None, op_type: str, x: ir.Value, shape: tuple[int, ...]
) -> tuple[list[ir.Node], int] | None:
    """Returns the nodes from x to its reduction over one axis, and the axis; None if another node reads one of them."""
    nodes: list[ir.Node] = []
    sizes = static_shape(value)
    while True:
        node = producer(value)
        if value is None or node is None or sole_user(value) is None:
            return None
        nodes.insert(0, node)
        if is_op(node, op_type):
            break
        if is_op(node, *_KEEPERS):
            value = node.inputs[0]
        elif is_op(node, "Max") and (bounded := _bounded_by_nothing(node)) is not None:
            value = bounded
        else:
            return None
    axes = constant(data_input(node, 1))
    given = node.attributes.get_ints("axes", ()) if axes is None else [int(axis) for axis in np.atleast_1d(axes)]
    if node.inputs[0] is not x or len(given) != 1:
        return None
    axis = given[0] % len(shape)
    kept = tuple(1 if place == axis else size for place, size in enumerate(shape))
    # Reshape and Unsqueeze keep the order of elements. An Expand must repeat them along the axis.
    expanded = [static_shape(found.inputs[0]) for found in nodes if is_op(found, "Expand")]
    fits = sizes == (shape if expanded else kept) and all(size == kept for size in expanded)
    return (nodes, axis) if fits else None


def _bounded_by_nothing(node: ir.Node) -> ir.Value | None:
    """Returns the operand of a Max with -inf."""
    for place in (0, 1):
        array = constant(node.inputs[place]) if len(node.inputs) == 2 else None
        if array is not None and array.size == 1 and np.isneginf(array.astype(np.float64)).all():
            return node.inputs[1 - place]
    return None
