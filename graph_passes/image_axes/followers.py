"""Operators that may read and write images of two axes instead, with other axes or operands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph_passes.image_axes.edit import Edit, Outputs, Rule, keeps_rank
from graph_passes.image_axes.lifting import ONE_AXIS, Lifting, lifting_of
from graph_passes.layout.axes import dims_of, rank_of
from graph_passes.lazy import ir
from graph_passes.values import constant, data_input, static_shape


def elementwise(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    """Operators whose output elements depend on the input elements at the same position; operands may broadcast."""
    if not keeps_rank(node, lifting):
        return None
    inputs: list[ir.Value | None] = []
    for value in node.inputs:
        operand = None if value is None else edit.operand(value, lifting)
        if value is not None and operand is None:
            return None
        inputs.append(operand)
    return Outputs(edit.again(node, lifting, inputs))


def of_first(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    """Operators of which only the first input is an image, and which define the second axis as channels."""
    x = node.inputs[0]
    if x is None or not keeps_rank(node, lifting) or node.attributes.get_int("training_mode", 0):
        return None
    return Outputs(edit.again(node, lifting, [edit.lifted(x), *node.inputs[1:]]))


def normalized_images(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    """``InstanceNormalization`` and ``GroupNormalization``, whose means are over all pixels of an image.

    A volume keeps its axes: as images of two axes, each of its layers would have a separate mean.
    """
    return of_first(edit, node, lifting) if lifting is ONE_AXIS else None


def along_axis(default: int | None, all_inputs: bool = False) -> Rule:
    """Operators with an attribute ``axis`` that keep the number of dimensions."""

    def rule(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
        images = node.inputs if all_inputs else node.inputs[:1]
        axis = node.attributes.get_int("axis", default)
        if axis is None or not keeps_rank(node, lifting) or node.attributes.get_int("block_size", 0):
            return None
        moved = lifting.axis(axis)
        if moved is None or any(lifting_of(dims_of(value)) is not lifting for value in images):
            return None
        inputs = [edit.lifted(value) if value in images and value is not None else value for value in node.inputs]
        return Outputs(edit.again(node, lifting, inputs, {"axis": moved}))

    return rule


def reduction(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    """Reductions over constant axes, which are the second input. An axis of size 1 may be reduced too."""
    x, axes = node.inputs[0], constant(data_input(node, 1))
    if x is None or axes is None or axes.size == 0:
        return None
    moved = [lifting.axis(int(axis)) for axis in axes.reshape(-1)]
    listed = sorted({axis for axis in moved if axis is not None})
    if len(listed) < len(moved):
        return None
    if lifting is ONE_AXIS and 3 in listed:
        listed = sorted({*listed, 2})  # of both axes of the image, for which there is a kernel
    if node.attributes.get_int("keepdims", 1):
        inputs = [edit.lifted(x), edit.ints("axes", listed)]
        return Outputs(edit.again(node, lifting, inputs)) if keeps_rank(node, lifting) else None
    if lifting is not ONE_AXIS or node.outputs[0].shape is None:
        return None
    inputs = [edit.lifted(x), edit.ints("axes", sorted({*listed, 2}))]
    return Outputs(edit.again(node, lifting, inputs, dims=dims_of(node.outputs[0])), lifted=False)


def pad(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    x, pads, axes = node.inputs[0], constant(data_input(node, 1)), _axes(node, 3, lifting.rank)
    if x is None or pads is None or axes is None or not keeps_rank(node, lifting):
        return None
    sides = []
    for side in pads.reshape(2, -1).tolist():
        whole = [0] * lifting.rank
        for axis, number in zip(axes, side, strict=True):
            whole[axis] = number  # negative axes count from the end in Python too
        if any(number for number, to in zip(whole, lifting.axes, strict=True) if to is None):
            return None
        sides += lifting.numbers(whole, 0)
    return Outputs(edit.again(node, lifting, [edit.lifted(x), edit.ints("pads", sides), data_input(node, 2)]))


def slices(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    """``Slice`` along constant axes."""
    x, starts = node.inputs[0], data_input(node, 1)
    count = dims_of(starts)[0] if rank_of(starts) == 1 else None
    if x is None or not isinstance(count, int) or not keeps_rank(node, lifting):
        return None
    axes = _axes(node, 3, count)
    moved = None if axes is None else [lifting.axis(axis) for axis in axes]
    if moved is None or any(axis is None for axis in moved):
        return None
    listed = edit.ints("axes", [axis for axis in moved if axis is not None])
    steps = data_input(node, 4)
    inputs = [edit.lifted(x), starts, node.inputs[2], listed, *([] if steps is None else [steps])]
    return Outputs(edit.again(node, lifting, inputs))


def sizes(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    """``Expand`` and ``Tile`` with one constant number per dimension."""
    x, numbers = node.inputs[0], constant(data_input(node, 1))
    if x is None or numbers is None or numbers.size != lifting.rank or not keeps_rank(node, lifting):
        return None
    if lifting is not ONE_AXIS or lifting_of(dims_of(x)) is not lifting:
        return None
    return Outputs(
        edit.again(node, lifting, [edit.lifted(x), edit.ints("sizes", lifting.numbers(numbers.tolist(), 1))])
    )


def resize(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    """``Resize`` of one axis by constant sizes or scales."""
    get = node.attributes.get_string
    x, roi = node.inputs[0], data_input(node, 1)
    if x is None or lifting is not ONE_AXIS or not keeps_rank(node, lifting):
        return None
    if get("mode", "nearest") == "cubic" or get("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return None
    if get("keep_aspect_ratio_policy", "stretch") != "stretch" or (roi is not None and dims_of(roi) not in ([], [0])):
        return None
    if "axes" in node.attributes:
        moved = [lifting.axis(axis) for axis in node.attributes.get_ints("axes", ())]
        return Outputs(edit.again(node, lifting, [edit.lifted(x), None, *node.inputs[2:]], {"axes": moved}))
    place = 2 if data_input(node, 3) is None else 3
    numbers = constant(data_input(node, place))
    if numbers is None or numbers.size != lifting.rank:
        return None
    lifted = np.array(lifting.numbers(numbers.tolist(), 1), numbers.dtype)
    inputs: list[ir.Value | None] = [edit.lifted(x), None, None, None][: place + 1]
    inputs[place] = edit.constant("sizes", lifted)
    return Outputs(edit.again(node, lifting, inputs))


def reshape(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    """``Reshape``, ``Flatten``, ``Squeeze`` and ``Unsqueeze`` of an image whose elements keep their order."""
    x, shape = node.inputs[0], static_shape(node.outputs[0])
    if x is None or not lifting.keeps_order or shape is None or 0 in shape:
        return None
    image = edit.lifted(x)
    if static_shape(image) == shape:
        return Outputs([image], lifted=False)
    value = edit.op("Reshape", [image, edit.ints("shape", shape)], like=node.outputs[0], dims=shape)
    return Outputs([value], lifted=False)


def transpose(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    """``Transpose`` of an image of one axis, except to tokens (n, l, c), which ``channels_last`` reads as they are."""
    x, shape = node.inputs[0], static_shape(node.outputs[0])
    perm = tuple(node.attributes.get_ints("perm", (2, 1, 0)))
    if x is None or lifting is not ONE_AXIS or perm == (0, 2, 1) or shape is None or 0 in shape:
        return None
    order = [*(ONE_AXIS.axes[axis] for axis in perm), 2]
    moved = edit.op("Transpose", [edit.lifted(x)], {"perm": order}, like=node.outputs[0], dims=[*shape, 1])
    value = edit.op("Reshape", [moved, edit.ints("shape", shape)], like=node.outputs[0], dims=shape)
    return Outputs([value], lifted=False)


def _axes(node: ir.Node, place: int, count: int) -> Sequence[int] | None:
    """Returns the axes from an input, the first ``count`` ones if it is omitted; None if they are not constant."""
    given = data_input(node, place)
    if given is None:
        return range(count)
    array = constant(given)
    return None if array is None else [int(axis) for axis in array.reshape(-1)]
