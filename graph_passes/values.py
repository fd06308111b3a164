"""Queries on values and nodes of a graph, and functions that create or replace them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graph_passes.lazy import ir

STANDARD = ("", "ai.onnx")


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Returns whether ``node`` is one of these operators of ONNX's standard domain."""
    return node is not None and node.domain in STANDARD and node.op_type in op_types


def producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()


def data_input(node: ir.Node, index: int) -> ir.Value | None:
    """Returns an input, or None if it is omitted."""
    return node.inputs[index] if index < len(node.inputs) else None


def required(value: ir.Value | None) -> ir.Value:
    """Returns ``value``, an input or output that the operator requires.

    Raises:
        ValueError: ``value`` is None.
    """
    if value is None:
        raise ValueError("the model is not valid: an operator lacks a required input")
    return value


def graph_of(node: ir.Node) -> ir.Graph:
    """Returns the graph that contains ``node``.

    Raises:
        RuntimeError: ``node`` was removed from its graph.
    """
    if node.graph is None:
        raise RuntimeError(f"{node.op_type} {node.name} is not part of a graph")
    return node.graph


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Returns the elements of a constant value; None if the value is not constant, or the caller may override it."""
    if value is None or value.is_graph_input():
        return None
    if value.const_value is not None:
        return value.const_value.numpy()
    node = value.producer()
    if node is not None and is_op(node, "Constant"):
        return _of_constant_node(node)
    return None


def _of_constant_node(node: ir.Node) -> np.ndarray | None:
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            return None
        if name == "value":
            return attribute.as_tensor().numpy()
        if name in ("value_float", "value_floats"):
            return np.array(attribute.value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.array(attribute.value, np.int64)
    return None


def scalar(value: ir.Value | None) -> float | None:
    """Returns the number in a constant of one element; None for any other value."""
    array = constant(value)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 and array.dtype.kind != "U" else None


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Returns the shape if every dimension is a number, else None."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(dim for dim in value.shape if isinstance(dim, int))


def known_shape(value: ir.Value) -> tuple[int, ...]:
    """Returns the static shape of a value.

    Raises:
        ValueError: The shape is not static.
    """
    shape = static_shape(value)
    if shape is None:
        raise ValueError(f"the shape of {value.name} is unknown")
    return shape


def sole_user(value: ir.Value) -> ir.Node | None:
    """Returns the only node that reads ``value``; None if there are more uses, or ``value`` is a graph output."""
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    return next(iter(uses)).node


def other_operand(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """Returns the other operand of a node with two inputs; None for any other node."""
    if len(node.inputs) != 2:
        return None
    return node.inputs[1 if node.inputs[0] is value else 0]


def same_graph(node: ir.Node | None, other: ir.Node) -> bool:
    """Returns whether two nodes are in the same graph, not one in a subgraph of the other's control flow."""
    return node is not None and node.graph is other.graph


def main_output(node: ir.Node) -> ir.Value | None:
    """Returns the first output if no other output is used, else None."""
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return None
    return node.outputs[0]


def new_constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Adds an initializer to the graph, under a name that is not in use."""
    while name in graph.initializers:
        name += "_"
    tensor = ir.tensor(np.ascontiguousarray(array) if array.ndim else array, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def new_node(
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, Any] | None = None,
    *,
    like: ir.Value | None = None,
    name: str | None = None,
    domain: str = "",
    shape: Sequence[int] | None = None,
    outputs: int = 1,
) -> ir.Node:
    """Creates a node whose first output has the type of ``like``, and its shape unless ``shape`` is given."""
    node = ir.node(op_type, inputs, attributes, domain=domain, name=name, num_outputs=outputs)
    if like is not None:
        node.outputs[0].type = like.type
        node.outputs[0].shape = like.shape.copy() if shape is None and like.shape is not None else None
    if shape is not None:
        node.outputs[0].shape = ir.Shape(shape)
    return node


def bypass(node: ir.Node, value: ir.Value) -> bool:
    """Replaces the node's output by ``value`` and removes the node. Returns whether it did.

    If the output is a graph output, ``value`` takes over its name. This is impossible if ``value`` is itself a graph
    output, has no producer or belongs to another graph; then nothing changes.
    """
    output = node.outputs[0]
    if output.is_graph_output():
        maker = value.producer()
        if maker is None or maker.graph is not node.graph or value.is_graph_output():
            return False
        value.name, value.type, value.shape = output.name, output.type, output.shape
    output.replace_all_uses_with(value, replace_graph_outputs=True)
    graph_of(node).remove(node, safe=True)
    return True


def supplant(old: Sequence[ir.Node], new: Sequence[ir.Node], outputs: Sequence[int] = (0,)) -> None:
    """Replaces the nodes ``old`` by ``new``; the last node of ``new`` replaces the last node of ``old``.

    Args:
        outputs: the outputs of the latter which those of the former replace, in order. No other output is used.
    """
    last = old[-1]
    replaced = [last.outputs[place] for place in outputs]
    ir.convenience.replace_nodes_and_values(
        graph_of(last), last, list(reversed(old)), list(new), replaced, list(new[-1].outputs)
    )
