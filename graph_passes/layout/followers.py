"""Operators that remain the same with channels last, with other axes or with permuted constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graph_passes.layout.axes import (
    channels_last,
    dims_of,
    keeps_order,
    last_dims,
    moved_axis,
    rank_of,
    reshape_target,
    same_rank,
    widened,
)
from graph_passes.layout.edit import Edit, Form, Images, Rule, Side
from graph_passes.lazy import ir
from graph_passes.values import constant, data_input

RANK = "the number of its dimensions changes, or is unknown"


def _follower(images: tuple[int, ...], inputs: Mapping[int, np.ndarray] | None = None, **attributes: Any) -> Form:
    """Returns a form that copies the operator and replaces these inputs and attributes."""
    return Form(
        images,
        lambda edit, node, images, to_last: edit.again(node, {**images, **(inputs or {})}, to_last, attributes),
    )


def elementwise_form(node: ir.Node) -> Form | str:
    """Operators whose output elements depend on the input elements at the same position; operands may broadcast."""
    rank = rank_of(node.outputs[0])
    images, operands = [], []
    for place, value in enumerate(node.inputs):
        if value is not None and constant(value) is None and rank_of(value) == rank:
            images.append(place)
        elif value is not None:
            operands.append(place)
            if value.shape is None or (constant(value) is None and not _is_moved_by_reshape(value, rank)):
                return "it broadcasts an operand of fewer dimensions"
    if same_rank(node, images) is None or not images:
        return RANK

    def build(edit: Edit, node: ir.Node, images: Images, to_last: bool) -> Sequence[ir.Value]:
        moved = {place: edit.operand(value, rank) for place in operands if (value := node.inputs[place]) is not None}
        return edit.again(node, {**images, **moved}, to_last)

    return Form(tuple(images), build)


def _is_moved_by_reshape(value: ir.Value, rank: int) -> bool:
    """Returns whether an operand of fewer dimensions has the same order of elements in both layouts."""
    dims = widened(dims_of(value), rank)
    return len(dims) == rank and keeps_order(dims) and reshape_target([], last_dims(dims)) is not None


def along_axis(default: int | None, all_inputs: bool = False) -> Rule:
    """Operators with an attribute ``axis`` that keep the number of dimensions."""

    def rule(node: ir.Node) -> Form | str:
        images = tuple(range(len(node.inputs))) if all_inputs else (0,)
        rank = same_rank(node, images)
        if rank is None:
            return RANK
        if node.attributes.get_int("block_size", 0):
            return "it quantizes in blocks"
        axis = node.attributes.get_int("axis", default)
        return RANK if axis is None else _follower(images, axis=moved_axis(axis, rank))

    return rule


def gather_form(node: ir.Node) -> Form | str:
    if rank_of(data_input(node, 1)) != 1:
        return RANK
    return along_axis(0)(node)


def _axes(node: ir.Node, place: int) -> list[int] | str | None:
    """Returns the axes from an attribute or an input; None if there are no axes, a reason if they are not constant."""
    given = data_input(node, place)
    if given is None:
        listed = node.attributes.get_ints("axes", ())
        return list(listed) if listed else None
    array = constant(given)
    return "its axes are not constant" if array is None else [int(axis) for axis in array.reshape(-1)] or None


def reduction_form(node: ir.Node) -> Form | str:
    """Reductions over some axes.

    Without ``keepdims``, both layouts give the same output if the remaining axes have the same order.
    """
    rank = rank_of(node.inputs[0])
    if rank < 4:
        return RANK
    is_arg = node.op_type in ("ArgMax", "ArgMin")
    axes = [node.attributes.get_int("axis", 0)] if is_arg else _axes(node, 1)
    if isinstance(axes, str):
        return axes
    if axes is None and node.attributes.get_int("noop_with_empty_axes", 0):
        return _follower((0,))
    moved = None if axes is None else [moved_axis(axis, rank) for axis in axes]
    inputs: dict[int, np.ndarray] = {}
    attributes: dict[str, Any] = {}
    if moved is not None and is_arg:
        attributes["axis"] = moved[0]
    elif moved is not None and "axes" in node.attributes:
        attributes["axes"] = moved
    elif moved is not None:
        inputs[1] = np.array(moved, np.int64)
    form = _follower((0,), inputs, **attributes)
    if node.attributes.get_int("keepdims", 1):
        return RANK if same_rank(node, (0,)) is None else form
    gone = range(rank) if axes is None else [axis % rank for axis in axes]
    remaining = [axis for axis in channels_last(rank) if axis not in gone]
    if remaining != sorted(remaining):
        return "its output would have its axes in another order"
    return Form(form.images, form.build, Side.EITHER, Side.FIRST)


def pad_form(node: ir.Node) -> Form | str:
    rank, pads, axes = same_rank(node, (0,)), constant(data_input(node, 1)), _axes(node, 3)
    if rank is None:
        return RANK
    if pads is None or isinstance(axes, str):
        return "its widths are not constant"
    if axes is not None:
        return _follower((0,), {3: np.array([moved_axis(axis, rank) for axis in axes], np.int64)})
    return _follower((0,), {1: pads.reshape(2, rank)[:, channels_last(rank)].reshape(-1)})


def slice_form(node: ir.Node) -> Form | str:
    rank, axes, starts = same_rank(node, (0,)), _axes(node, 3), data_input(node, 1)
    if rank is None:
        return RANK
    if isinstance(axes, str):
        return axes
    if axes is None:
        count = starts.shape[0] if starts is not None and rank_of(starts) == 1 and starts.shape is not None else None
        if not isinstance(count, int):
            return "its axes are unknown"
        axes = list(range(count))
    return _follower((0,), {3: np.array([moved_axis(axis, rank) for axis in axes], np.int64)})


def sizes_form(node: ir.Node) -> Form | str:
    """Operators whose second input has one number per dimension."""
    rank, sizes = same_rank(node, (0,)), constant(data_input(node, 1))
    if rank is None:
        return RANK
    if sizes is None or sizes.size != rank:
        return "its sizes are not constant, or not one per dimension"
    return _follower((0,), {1: sizes[list(channels_last(rank))]})


def resize_form(node: ir.Node) -> Form | str:
    if same_rank(node, (0,)) != 4:
        return RANK
    if node.attributes.get_string("mode", "nearest") == "cubic":
        return "not every runtime supports cubic interpolation with channels last"
    if node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return "it resizes only a region"
    if "axes" in node.attributes:
        axes = node.attributes.get_ints("axes", ())
        if any(axis % 4 < 2 for axis in axes):
            return "it resizes batch or channels"
        return _follower((0,), axes=[moved_axis(axis, 4) for axis in axes])
    place = 2 if data_input(node, 3) is None else 3
    numbers = constant(data_input(node, place))
    if numbers is None or numbers.size != 4:
        return "its sizes are not constant"
    x, y = dims_of(node.inputs[0]), dims_of(node.outputs[0])
    if any(numbers[axis] != 1 if place == 2 else x[axis] != y[axis] for axis in (0, 1)):
        return "it resizes batch or channels"
    return _follower((0,), {place: numbers[list(channels_last(4))]})
