"""Transpose, and reshapes: of images, between images and tokens of transformers, and before products with constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from graph_passes.layout.axes import (
    Dim,
    channels_first,
    channels_last,
    dims_of,
    is_image,
    keeps_order,
    last_dims,
    rank_of,
    reshape_target,
    same_dim,
)
from graph_passes.layout.edit import Build, Edit, Form, Images, Side
from graph_passes.lazy import ir
from graph_passes.patterns.layers import FusedLayer
from graph_passes.values import bypass, constant, data_input, is_op, new_constant, producer, sole_user


def transpose_form(node: ir.Node) -> Form | str:
    rank = rank_of(node.inputs[0])
    perm = tuple(node.attributes.get_ints("perm", range(rank)[::-1]))
    if perm == channels_last(rank):
        return Form((0,), lambda _, __, images, ___: [images[0]], Side.LAST, Side.FIRST)
    if perm == channels_first(rank):
        return Form((0,), lambda _, __, images, ___: [images[0]], Side.FIRST, Side.LAST)

    def build(edit: Edit, node: ir.Node, images: Images, to_last: bool) -> Sequence[ir.Value]:
        """Composes the permutation with the layouts of x and of the output."""
        there = range(rank) if images[0] is node.inputs[0] else channels_last(rank)
        wanted = [perm[axis] for axis in channels_last(rank)] if to_last else perm
        composed = [there.index(axis) for axis in wanted]
        return [images[0]] if composed == [*range(rank)] else edit.again(node, images, to_last, {"perm": composed})

    return Form((0,), build, Side.EITHER)


def reshape_form(node: ir.Node) -> Form | str:
    """Reshape, Flatten, Squeeze and Unsqueeze, which keep the order of elements.

    An input or output with the same order of elements in both layouts can have either layout. Otherwise the node may
    split channels into groups or join groups, as from (N, C, H, W) to (N, g, C / g, H, W): the layout of both changes.
    """
    x, y = dims_of(node.inputs[0]), dims_of(node.outputs[0])
    if not x or not y or reshape_target(x, y) is None:
        return "its sizes are unknown"
    images = (0,) if len(x) >= 4 else ()
    if images and not keeps_order(x):
        if _splits_channels(x, y):
            return Form(images, _reshaping(last_dims(x)))
        if turn := _turn_behind(node):
            return Form(images, _writing_tokens(turn), Side.EITHER, Side.FIRST)
        if weights := _weights_behind(node):
            return Form(images, _ordering(weights), Side.EITHER, Side.FIRST)
        return "it needs the elements in their original order"
    if len(y) >= 4 and keeps_order(y):
        return Form(images, _reshaping(x), Side.EITHER)
    if len(y) >= 4 and (turn := _turn_before(node)):
        return Form((), _reading_tokens(turn), Side.EITHER)
    return Form(images, _reshaping(x), Side.EITHER, Side.FIRST)


def _reshaping(read: Sequence[Dim]) -> Build:
    """Returns a build function for a Reshape from the dimensions ``read`` to those of the output."""

    def build(edit: Edit, node: ir.Node, images: Images, to_last: bool) -> Sequence[ir.Value]:
        y = dims_of(node.outputs[0])
        return _reshaped(edit, node, images.get(0, node.inputs[0]), read, last_dims(y) if to_last else y, to_last)

    return build


def _reshaped(
    edit: Edit, node: ir.Node, x: ir.Value | None, read: Sequence[Dim], written: Sequence[Dim], to_last: bool = False
) -> Sequence[ir.Value]:
    target = np.array(reshape_target(read, written), np.int64)
    shape = new_constant(edit.graph, f"{node.outputs[0].name}_shape", target)
    return edit.put(node, ir.Node("", "Reshape", [x, shape], name=node.name), to_last)


def _splits_channels(x: Sequence[Dim], y: Sequence[Dim]) -> bool:
    """Returns whether the reshape splits or joins only axes between batch and image."""
    if len(y) < 4 or not all(isinstance(dim, int) for dim in (*x[1:-2], *y[1:-2])):
        return False
    return all(same_dim(x[place], y[place]) for place in (0, -2, -1))


def _turn_behind(node: ir.Node) -> ir.Node | None:
    """Returns the Transpose to (N, H W, C) that is the only reader of (N, C, H W), as in vision transformers."""
    x, y, user = dims_of(node.inputs[0]), dims_of(node.outputs[0]), sole_user(node.outputs[0])
    if user is None or user.graph is not node.graph or not _turns_tokens(user, x, y):
        return None
    # A reshape from tokens back to an image may need this Transpose (_turn_before).
    return None if any(is_image(value) for use in user.outputs[0].uses() for value in use.node.outputs) else user


def _turn_before(node: ir.Node) -> ir.Node | None:
    """Returns the Transpose from tokens (N, H W, C) to (N, C, H W), which the node reshapes to an image."""
    x, y, maker = dims_of(node.inputs[0]), dims_of(node.outputs[0]), producer(node.inputs[0])
    return maker if maker is not None and _turns_tokens(maker, y, x) else None


def _turns_tokens(node: ir.Node, image: Sequence[Dim], flat: Sequence[Dim]) -> bool:
    if not is_op(node, "Transpose") or tuple(node.attributes.get_ints("perm", (2, 1, 0))) != (0, 2, 1):
        return False
    return len(image) == 4 and len(flat) == 3 and all(same_dim(image[axis], flat[axis]) for axis in (0, 1))


def _writing_tokens(turn: ir.Node) -> Build:
    def build(edit: Edit, node: ir.Node, images: Images, to_last: bool) -> Sequence[ir.Value]:
        n, c, pixels = dims_of(node.outputs[0])
        (output,) = _reshaped(edit, node, images[0], last_dims(dims_of(node.inputs[0])), [n, pixels, c], to_last)
        output.shape = ir.Shape([n, pixels, c])
        bypass(turn, output)
        return [output]

    return build


def _reading_tokens(turn: ir.Node) -> Build:
    def build(edit: Edit, node: ir.Node, _: Images, to_last: bool) -> Sequence[ir.Value]:
        tokens = turn.inputs[0]
        return _reshaped(edit, node, tokens, dims_of(tokens), last_dims(dims_of(node.outputs[0])), to_last)

    return build


def _weights_behind(node: ir.Node) -> dict[ir.Node, np.ndarray]:
    """Returns the constant weights of all readers of a flattened image; empty if a reader needs the original order."""
    x, y = dims_of(node.inputs[0]), dims_of(node.outputs[0])
    flat = node.outputs[0]
    if len(y) != 2 or flat.is_graph_output() or not same_dim(x[0], y[0]) or not all(isinstance(d, int) for d in x[1:]):
        return {}
    weights = {}
    for user, place in flat.uses():
        layer, weight = FusedLayer.of(user), data_input(user, 1)
        array = constant(weight)
        if layer is None or weight is None or array is None or array.ndim != 2 or place != 0:
            return {}
        if layer.op not in ("Gemm", "MatMul") or user.attributes.get_int("transA", 0) or user.graph is not node.graph:
            return {}
        if len(weight.uses()) > 1 or weight.is_graph_output():
            return {}  # the original would have to remain as well
        weights[user] = array
    return weights


def _ordering(weights: Mapping[ir.Node, np.ndarray]) -> Build:
    """Returns a build function that permutes the rows of ``weights`` to the order of elements in channels last."""

    def build(edit: Edit, node: ir.Node, images: Images, to_last: bool) -> Sequence[ir.Value]:
        x, y = dims_of(node.inputs[0]), dims_of(node.outputs[0])
        sizes = [dim for dim in x[1:] if isinstance(dim, int)]
        moved = [axis - 1 for axis in channels_last(len(x))[1:]]
        order = np.arange(prod(sizes)).reshape(sizes).transpose(moved).reshape(-1)
        for user, weight in weights.items():
            rows = 1 if user.attributes.get_int("transB", 0) else 0
            name = f"{node.outputs[0].name}_weight_nhwc"
            user.replace_input_with(1, new_constant(edit.graph, name, weight.take(order, rows)))
        return _reshaped(edit, node, images[0], last_dims(x), y, to_last)

    return build
