"""Channels through operators over the other axes: pools, reductions, padding, resizing."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.pruning.rules.layout import without_axes
from optimizer.pruning.trace import Edit, Node, Shape, Trace, View

_OLD_SOFTMAX = 13  # before this opset, Softmax normalizes over an axis and all axes behind it


def pool(node: Node, trace: Trace) -> str | None:
    view = trace.view(node.input(0))
    if view is None or view.axes != (1,):
        return "it computes along the axis of the channels"
    if len([name for name in node.outputs if name]) > 1:
        return "its indices are an output"
    trace.views[node.outputs[0]] = view
    return None


def reduction(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    """ReduceMean and the like, over other axes than that of the channels."""
    given = node.attributes.get("axes")
    if node.input(1) is not None:
        constant = trace.constant(node.input(1))
        if constant is None:
            return "its axes are not constant"
        given = constant.tolist()
    if not given:
        if not node.attributes.get("noop_with_empty_axes", 0):
            return "it reduces the axis of the channels"
        trace.views[node.outputs[0]] = view
        return None
    axes = {axis % len(shape) for axis in given}
    if axes & set(view.axes):
        return "it reduces the axis of the channels"
    trace.views[node.outputs[0]] = view if node.attributes.get("keepdims", 1) else without_axes(view, axes)
    return None


def softmax(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    """Softmax and LogSoftmax along another axis than that of the channels."""
    old = trace.opset < _OLD_SOFTMAX
    axis = node.attributes.get("axis", 1 if old else -1) % len(shape)
    if axis in view.axes or (old and axis < max(view.axes)):
        return "it normalizes over the channels"
    trace.views[node.outputs[0]] = view
    return None


def pad(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    pads = node.attributes.get("pads")
    if pads is None:
        constant = trace.constant(node.input(1))
        pads = None if constant is None else constant.tolist()
    axes: Sequence[int] = range(len(shape))
    if node.input(3) is not None:
        constant = trace.constant(node.input(3))
        if constant is None:
            return "its axes are not constant"
        axes = [axis % len(shape) for axis in constant.tolist()]
    if pads is None or len(pads) != 2 * len(axes):
        return "its padding is not constant"
    if any(pads[place] or pads[place + len(axes)] for place, axis in enumerate(axes) if axis in view.axes):
        return "it pads the channels"
    trace.views[node.outputs[0]] = view
    return None


def resize(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    """Resize and Upsample of the other axes, by constant scales or to constant sizes."""
    resized = trace.shape(node.outputs[0])
    if resized is None or len(view.axes) > 1:
        return "its shape is unknown"
    if shape[view.axis] is None or resized[view.axis] != shape[view.axis]:
        return "it resizes the axis of the channels"
    if node.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return "it crops"
    if node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "it keeps the ratio of the sizes"
    axes = [axis % len(shape) for axis in node.attributes.get("axes", range(len(shape)))]
    sizes, scales = node.input(3), node.input(1 if node.op_type == "Upsample" else 2)
    if sizes is not None:
        if not trace.is_constant(sizes):
            return "its sizes are not constant"
        if view.axis in axes:
            trace.edits.append(Edit(node.name, (3, axes.index(view.axis)), view.channels))
    elif scales is None and "scales" not in node.attributes:
        return "it has no scales"
    elif scales is not None and not trace.is_constant(scales):
        return "its scales are not constant"
    trace.views[node.outputs[0]] = view
    return None
