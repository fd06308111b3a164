"""Recognizes normalization of groups of channels (Wu and He, 2018), which torch exports by other operators.

::

    x (N, C, ...) ── Reshape (N, G, ...) ── InstanceNormalization ── Reshape (N, C, ...) ── Mul ── Add

    x, scale (C,), shift (C,) ── loopwright.GroupNormalization

Mul and Add may precede the second Reshape, or be missing. GroupNormalization of opset 21 becomes the same call.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.layers import call_function, function, in_channels_last
from graph_passes.values import (
    constant,
    data_input,
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

NAME = "GroupNormalization"
_AXES_AS_INPUT = 18  # the first opset in which axes of ReduceMean are an input


def group_norm_function(opset: int, channels_last: bool = False) -> ir.Function:
    """Returns the function of a call; with ``channels_last`` that of images with channels last.

    Attributes of a call: ``grouped``, the shape of x in groups (0, groups, -1), and ``broadcast``, the shape of scale
    and shift that broadcasts to x.
    """
    body = [
        "sizes = Shape (x)  grouped_sizes = Constant <value_ints: ints = @grouped> ()",
        "grouped = Reshape (x, grouped_sizes)",
        *_mean("grouped", "mean", opset),
        "centered = Sub (grouped, mean)  squared = Mul (centered, centered)",
        *_mean("squared", "variance", opset),
        "little = Constant <value_float: float = @epsilon> ()  sum = Add (variance, little)  deviation = Sqrt (sum)",
        "normalized = Div (centered, deviation)  back = Reshape (normalized, sizes)",
        "broadcast = Constant <value_ints: ints = @broadcast> ()",
        "scale_of = Reshape (scale, broadcast)  shift_of = Reshape (shift, broadcast)",
        "scaled = Mul (back, scale_of)  y = Add (scaled, shift_of)",
    ]
    name, attributes, inputs = NAME, ["grouped", "broadcast", "epsilon"], ["x", "scale", "shift"]
    if channels_last:
        name, body = f"{NAME}_nhwc", in_channels_last(body, ["x"])
    return function(name, attributes, inputs, body, opset)


def _mean(x: str, y: str, opset: int) -> list[str]:
    if opset < _AXES_AS_INPUT:
        return [f"{y} = ReduceMean <axes: ints = [-1], keepdims: int = 1> ({x})"]
    return [
        f"{y}_axes = Constant <value_ints: ints = [-1]> ()",
        f"{y} = ReduceMean <keepdims: int = 1> ({x}, {y}_axes)",
    ]


def fuse_group_norm(model: ir.Model, graph: ir.Graph) -> None:
    """Replaces each normalization of groups by one call."""
    for node in list(graph):
        if node.graph is not graph:
            continue
        if is_op(node, "GroupNormalization"):
            _fuse_operator(model, node)
        elif is_op(node, "InstanceNormalization", "LayerNormalization"):
            _fuse_reshaped(model, node)


@dataclass
class _Growing:
    """The nodes of a normalization so far, and the scale and shift of its channels in float64."""

    nodes: list[ir.Node]
    scale: np.ndarray
    shift: np.ndarray

    @property
    def output(self) -> ir.Value:
        return self.nodes[-1].outputs[0]


def _fuse_operator(model: ir.Model, node: ir.Node) -> None:
    x, shape = node.inputs[0], static_shape(node.inputs[0])
    scale, shift = (constant(data_input(node, place)) for place in (1, 2))
    groups = node.attributes.get_int("num_groups", 0)
    if x is None or shape is None or len(shape) < 3 or scale is None or shift is None or groups < 1:
        return
    if scale.shape != (shape[1],) or shift.shape != (shape[1],) or x.dtype != ir.DataType.FLOAT:
        return
    growing = _Growing([node], scale.astype(np.float64), shift.astype(np.float64))
    _put(model, growing, x, groups, node.attributes.get_float("epsilon", 1e-5))


def _fuse_reshaped(model: ir.Model, node: ir.Node) -> None:
    grouped = node.inputs[0]
    before = producer(grouped)
    if grouped is None or before is None or not is_op(before, "Reshape") or sole_user(grouped) is not node:
        return
    x, shape, inner = before.inputs[0], static_shape(before.inputs[0]), static_shape(grouped)
    if x is None or shape is None or inner is None or x.dtype != ir.DataType.FLOAT or not same_graph(before, node):
        return
    if len(shape) < 3 or len(inner) < 3 or inner[0] != shape[0] or 0 in shape or shape[1] % inner[1]:
        return
    channels, groups = shape[1], inner[1]
    affine = _own_affine(node, inner)
    if affine is None:
        return
    growing = _Growing([before, node], *(np.repeat(array, channels // groups) for array in affine))
    split = (groups, channels // groups) if len(inner) > 3 and inner[2] == channels // groups else (groups,)
    while _take(growing, len(inner), split, channels):
        pass
    after = sole_user(growing.output)
    if after is None or not is_op(after, "Reshape") or static_shape(after.outputs[0]) != shape:
        return
    growing.nodes.append(after)
    while _take(growing, len(shape), (channels,), channels):
        pass
    if all(same_graph(found, node) for found in growing.nodes):
        _put(model, growing, x, groups, node.attributes.get_float("epsilon", 1e-5))


def _own_affine(node: ir.Node, inner: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns scale and shift of the groups (groups,); None if they are of another form."""
    scale, given = constant(data_input(node, 1)), data_input(node, 2)
    shift = np.zeros(1) if given is None else constant(given)
    if scale is None or shift is None:
        return None
    if is_op(node, "LayerNormalization"):  # of the rows of (N, groups, elements): its scale is of elements
        rows = len(inner) == 3 and node.attributes.get_int("axis", -1) in (-1, 2)
        if not rows or len(node.outputs) > 1 or (scale != scale.flat[0]).any() or (shift != shift.flat[0]).any():
            return None
        scale, shift = scale.reshape(-1)[:1], shift.reshape(-1)[:1]
    return tuple(np.broadcast_to(array.astype(np.float64), inner[1:2]) for array in (scale, shift))  # type: ignore[return-value]


def _take(growing: _Growing, rank: int, split: tuple[int, ...], channels: int) -> bool:
    """Takes a Mul or Add with a constant of one number per channel, whose axes from 1 on are ``split``."""
    node = sole_user(growing.output)
    if node is None or not is_op(node, "Mul", "Add") or not same_graph(node, growing.nodes[0]):
        return False
    array = constant(other_operand(node, growing.output))
    if array is None or array.ndim > rank:
        return False
    wide = array.astype(np.float64).reshape((1,) * (rank - array.ndim) + array.shape)
    along = wide.shape[1 : 1 + len(split)]
    if prod(wide.shape) != prod(along) or any(size not in (1, full) for size, full in zip(along, split, strict=True)):
        return False
    numbers = np.broadcast_to(wide.reshape(along), split).reshape(-1)
    numbers = np.repeat(numbers, channels // numbers.size)
    if is_op(node, "Mul"):
        growing.scale, growing.shift = growing.scale * numbers, growing.shift * numbers
    else:
        growing.shift = growing.shift + numbers
    growing.nodes.append(node)
    return True


def _put(model: ir.Model, growing: _Growing, x: ir.Value, groups: int, epsilon: float) -> None:
    output = growing.output
    graph, rank = graph_of(growing.nodes[0]), len(static_shape(x) or ())
    scale, shift = (
        new_constant(graph, f"{output.name}_{name}", np.ascontiguousarray(array, np.float32))
        for name, array in (("scale", growing.scale), ("shift", growing.shift))
    )
    attributes = [
        ir.AttrInt64s("grouped", [0, groups, -1]),
        ir.AttrInt64s("broadcast", [-1, *[1] * (rank - 2)]),
        ir.AttrFloat32("epsilon", epsilon),
    ]
    callee = group_norm_function(model.opset_imports[""])
    node = call_function(model, callee, [x, scale, shift], attributes)
    node.name = growing.nodes[-1].name
    node.outputs[0].type, node.outputs[0].shape = output.type, output.shape
    supplant(growing.nodes, [node])
