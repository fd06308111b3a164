"""Folds batch normalization, and any other scale and shift of channels, into neighboring weights.

With a = gamma / sqrt(variance + epsilon) and c = beta - a * mean, one number per output channel::

    a * conv(x, W, b) + c  =  conv(x, a W, a b + c)                   after Conv, ConvTranspose (also in groups)
    a * (alpha A B + beta C) + c  =  alpha A (B a) + (beta a C + c)   after Gemm (either transB)
    a * (x W) + c  =  x (W a) + c                                     after MatMul; the sum stays an Add

With one number per input channel, and without padding or with c = 0 (padding would have to be shifted too)::

    conv(a x + c, W, b)  =  conv(x, W a, b + sum of W c)              before Conv, Gemm, MatMul

A chain of Mul, Add, Sub and Div with constants is treated like a BatchNormalization. A weight with several readers is
copied if the copy is at most twice as large as the intermediate tensor that the fold saves. If a BatchNormalization or
a longer chain cannot be folded, it becomes one Mul and one Add. The division in ``x * clip(x + 3, 0, 6) / 6`` is not
folded, since the activation could not be recognized without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from graph_passes.base import Pass, Remark, described, every_node
from graph_passes.lazy import ir
from graph_passes.patterns.affine import IDENTITY, Affine, affine
from graph_passes.patterns.exported_forms import activation_of
from graph_passes.patterns.rescale import AFTER, BEFORE
from graph_passes.patterns.window import Window
from graph_passes.values import (
    bypass,
    constant,
    data_input,
    graph_of,
    is_op,
    main_output,
    new_constant,
    new_node,
    same_graph,
    sole_user,
    static_shape,
    supplant,
)


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    name: ClassVar[str] = "fold_batch_norm"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        before: list[str] = []
        while (now := _operators(model)) != before:  # a fold can remove a reader of a weight or extend a chain
            before = now
            for node in every_node(model):
                if is_op(node, *AFTER):
                    yield from _fold_after(node)
            activations = _of_activations(model)
            for node in every_node(model):
                if node not in activations:
                    yield from _fold_before_or_simplify(node)


def _of_activations(model: ir.Model) -> set[ir.Node]:
    """Returns the nodes of activations that follow a convolution, a product or an Add."""
    layers = (main_output(node) for node in every_node(model) if is_op(node, *AFTER, "Add"))
    forms = (activation_of(output) for output in layers if output is not None)
    return {node for form in forms if form is not None for node in form.nodes}


def _operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in every_node(model)]


@dataclass(frozen=True)
class _Chain:
    """A chain of nodes that scale and shift, each the only reader of the one before.

    Attributes:
        does: The scale and shift of the complete chain.
        stopped: Why the chain ends; None unless a BatchNormalization follows that cannot join it.
    """

    nodes: Sequence[ir.Node]
    does: Affine
    stopped: str | None

    @property
    def output(self) -> ir.Value:
        return self.nodes[-1].outputs[0]


def _chain(x: ir.Value, axis: int, rank: int, channels: int, first: ir.Node) -> _Chain:
    nodes: list[ir.Node] = []
    does, stopped = IDENTITY, None
    node: ir.Node | None = first
    while node is not None and same_graph(node, first):
        step = affine(node, x, axis, rank, channels)
        if not isinstance(step, Affine):
            stopped = step
            break
        nodes.append(node)
        does = does.then(step)
        x = node.outputs[0]
        node = sole_user(x)
    return _Chain(nodes, does, stopped)


def _fold_after(node: ir.Node) -> Iterator[Remark]:
    """Folds the chain that follows a convolution or product into its weights."""
    output = main_output(node)
    weight = data_input(node, 1)
    array = constant(weight)
    user = None if output is None else sole_user(output)
    if output is None or weight is None:
        return
    if user is None or not same_graph(user, node):
        if any(is_op(use.node, "BatchNormalization") for use in output.uses()):
            yield Remark(described(node), "its normalization is not folded: other nodes read its output")
        return
    if array is None:
        if is_op(user, "BatchNormalization"):
            yield Remark(described(user), "not folded: the preceding weight is not constant")
        return
    place = _place(node, array, output)
    if place is None:
        return
    chain = _chain(output, *place, user)
    if chain.stopped:
        yield Remark(described(user), f"not folded: {chain.stopped}")
    if not chain.nodes or (is_op(node, "MatMul") and chain.does.only_shifts and len(chain.nodes) == 1):
        return
    obstacle = _obstacle(node, weight, array, chain.does) or AFTER[node.op_type](node, array, chain.does.over(place[2]))
    if obstacle:
        yield Remark(described(chain.nodes[0]), f"not folded: {obstacle}")
        return
    if is_op(node, "MatMul") and not chain.does.only_scales:
        _shift_only(chain, output)
        return
    for link in chain.nodes:
        if not bypass(link, output):  # impossible: the output of a node can always take over a name
            raise AssertionError(f"{described(link)} cannot be bypassed")


def _place(node: ir.Node, weight: np.ndarray, output: ir.Value) -> tuple[int, int, int] | None:
    """Returns the channel axis of the output, its rank and its number of channels."""
    if is_op(node, "Conv"):
        return 1, weight.ndim, weight.shape[0]
    if is_op(node, "ConvTranspose"):
        return 1, weight.ndim, weight.shape[1] * node.attributes.get_int("group", 1)
    if is_op(node, "Gemm"):
        return 1, 2, weight.shape[0 if node.attributes.get_int("transB", 0) else 1]
    if weight.ndim != 2 or output.shape is None:
        return None
    return len(output.shape) - 1, len(output.shape), weight.shape[1]


def _obstacle(node: ir.Node, weight: ir.Value, array: np.ndarray, does: Affine) -> str | None:
    """Returns why a weight must not change; None if it may."""
    if weight.is_graph_output():
        return "the weight is an output of the model"
    if array.dtype.kind in "biu":
        return "the weight has an integer type"
    if not does.finite:
        return "scale or shift is not finite"
    output = static_shape(node.outputs[0])
    if len(weight.uses()) > 1 and (output is None or array.size > 2 * prod(output)):
        return "the weight has other readers, and a copy of it would exceed twice the size of the saved tensor"
    return None


def _shift_only(chain: _Chain, x: ir.Value) -> None:
    """Replaces a chain by one Add; its scale was folded into the preceding product."""
    supplant(chain.nodes, [_operation("Add", x, chain.does.shift, (-1,), chain)])


def _operation(op_type: str, x: ir.Value, operand: np.ndarray, shape: tuple[int, ...], chain: _Chain) -> ir.Node:
    output = chain.output
    dtype = (x.dtype or output.dtype or ir.DataType.FLOAT).numpy()
    name = f"{output.name}_{'shift' if op_type == 'Add' else 'scale'}"
    return new_node(
        op_type, [x, new_constant(graph_of(chain.nodes[0]), name, operand.astype(dtype).reshape(shape))], like=output
    )


def _fold_before_or_simplify(node: ir.Node) -> Iterator[Remark]:
    """Folds a chain that begins at ``node`` into its readers, or replaces it by one scale and shift."""
    x = _scaled_input(node)
    if x is None:
        return
    shape = x.shape
    if shape is None or len(shape) < 2:
        return
    rank = len(shape)
    for axis in dict.fromkeys((1, rank - 1)):
        channels = shape[axis]
        if is_op(node, "BatchNormalization"):
            statistics = data_input(node, 1)
            channels = (static_shape(statistics) or (0,))[0]
        if not isinstance(channels, int):
            continue
        chain = _chain(x, axis, rank, channels, node)
        if chain.nodes and chain.does.finite:
            break
        if axis == 1 and chain.stopped:
            yield Remark(described(node), f"not folded: {chain.stopped}")
    else:
        return
    obstacle = _fold_into_users(chain, x, axis, rank, channels)
    if obstacle is None:
        return
    if is_op(node, "BatchNormalization"):
        reason = obstacle or "no convolution or product next to it can absorb it"
        yield Remark(described(node), f"becomes a scale and shift: {reason}")
    _simplify(chain, x, axis, rank)


def _scaled_input(node: ir.Node) -> ir.Value | None:
    """Returns the variable input of a node that may begin a chain; None for any other node."""
    if is_op(node, "BatchNormalization"):
        return node.inputs[0]
    if not is_op(node, "Add", "Sub", "Mul", "Div"):
        return None
    variable = [value for value in node.inputs if constant(value) is None]
    return variable[0] if len(variable) == 1 else None


def _fold_into_users(chain: _Chain, x: ir.Value, axis: int, rank: int, channels: int) -> str | None:
    """Folds a chain into its readers. Returns None on success, else the reason; "" if a reader cannot absorb chains."""
    output, users = chain.output, [use.node for use in chain.output.uses()]
    if output.is_graph_output() or not users or not all(is_op(user, *BEFORE) for user in users):
        return ""
    if any(not same_graph(user, chain.nodes[0]) for user in users):
        return ""
    if len(set(users)) != len(users) or any(user.inputs[0] is not output for user in users):
        return "it is read as a weight"
    wanted = [1 if is_op(user, "Conv", "Gemm") else rank - 1 for user in users]
    if any(want != axis for want in wanted):
        return "the following node sums over another axis"
    weights = []
    for user in users:
        weight, array = data_input(user, 1), constant(data_input(user, 1))
        if weight is None or array is None:
            return "the following weight is not constant"
        obstacle = _obstacle(user, weight, array, chain.does) or _obstacle_before(user, array, chain.does)
        if obstacle:
            return obstacle
        weights.append(array)
    for user, weight in zip(users, weights, strict=True):
        old = list(user.inputs)
        obstacle = BEFORE[user.op_type](user, weight, chain.does.over(channels))
        if obstacle:
            for place, value in enumerate(old):
                user.replace_input_with(place, value)
            return obstacle  # earlier readers have not changed: _obstacle_before checked all of them
        user.replace_input_with(0, x)
    return None


def _obstacle_before(user: ir.Node, weight: np.ndarray, does: Affine) -> str | None:
    if data_input(user, 2) is not None and constant(data_input(user, 2)) is None:
        return "the following bias is not constant"
    largest = float(np.abs(weight.astype(np.float64)).max(initial=0)) * float(np.abs(does.scale).max())
    if weight.dtype.name not in ("float32", "float64") or largest > 1e30:
        return "the folded weights might exceed their type"
    if is_op(user, "Conv"):
        window = Window.of(user)
        if window is None or (any(window.pads) and not does.only_scales):
            return "its shift would have to apply to the padding"
        return None
    if is_op(user, "Gemm"):
        return "it is transposed" if user.attributes.get_int("transA", 0) else None
    if weight.ndim != 2:
        return "the following weight is not a matrix"
    return None if does.only_scales else "its shift would only move after the product"


def _simplify(chain: _Chain, x: ir.Value, axis: int, rank: int) -> None:
    """Replaces a chain by the necessary Mul and Add if it becomes shorter or contains a BatchNormalization."""
    does = chain.does
    wanted = [] if does.only_scales and does.only_shifts else [*([] if does.only_shifts else ["Mul"])]
    wanted += [] if does.only_scales else ["Add"]
    has_norm = any(is_op(node, "BatchNormalization") for node in chain.nodes)
    if not wanted or (not has_norm and len(wanted) >= len(chain.nodes)):
        return
    nodes: list[ir.Node] = []
    for op_type in wanted:
        operand = does.scale if op_type == "Mul" else does.shift
        shape = (operand.size, *[1] * (rank - 1 - axis)) if operand.size > 1 or has_norm else ()
        nodes.append(_operation(op_type, nodes[-1].outputs[0] if nodes else x, operand, shape, chain))
    supplant(chain.nodes, nodes)
