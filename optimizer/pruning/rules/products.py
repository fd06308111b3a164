"""Channels through convolutions and products."""

from __future__ import annotations

import numpy as np

from optimizer.pruning.rules.contraction import contraction
from optimizer.pruning.trace import Edit, Node, Trace, View


def convolution(node: Node, trace: Trace) -> str | None:
    """Conv: x (n, c, ...), weight (o, c / group, ...). New channels, or those of the input if it is depthwise."""
    return _windows(node, trace, read_axis=1, write_axis=0)


def transposed(node: Node, trace: Trace) -> str | None:
    """ConvTranspose: x (n, c, ...), weight (c, o / group, ...)."""
    return _windows(node, trace, read_axis=0, write_axis=1)


def _windows(node: Node, trace: Trace, read_axis: int, write_axis: int) -> str | None:
    """A convolution or transposed one. Axis 0 of its weight has the channels of all groups, axis 1 those of one."""
    name, view = node.input(1), trace.view(node.input(0))
    shape = trace.shape(name)
    if name is None or shape is None or not _constants(node, trace):
        return "its weight is not constant"
    if view is not None and view.axes != (1,):
        return "it reads channels along another axis"
    group = node.attributes.get("group", 1)
    if group == 1:
        return _dense(node, trace, view, read_axis, write_axis, _size(shape, write_axis))
    if _size(shape, 0) % group or (view is not None and len(view) % group):
        return f"it has {group} groups, which do not divide its channels"
    if _size(shape, 0) == group and _size(shape, 1) == 1:
        return None if view is None else _depthwise(node, trace, view, view.channels)
    if read_axis == 1 and _size(shape, 1) == 1:
        repeats = _size(shape, 0) // group
        return None if view is None else _depthwise(node, trace, view, np.repeat(view.channels, repeats))
    return _grouped(node, trace, view, read_axis, group)


def gemm(node: Node, trace: Trace) -> str | None:
    """Gemm: x (m, k), weight (k, n), or (n, k) with transB."""
    view, weight = trace.view(node.input(0)), node.input(1)
    shape = trace.shape(weight)
    if weight is None or shape is None or not _constants(node, trace):
        return "its weight is not constant"
    if node.attributes.get("transA", 0) or (view is not None and view.axes != (1,)):
        return "it reads channels along another axis"
    by_row = bool(node.attributes.get("transB", 0))
    written = _size(shape, 0 if by_row else 1)
    bias = trace.shape(node.input(2))
    if bias is not None and bias not in ((), (1,), (1, 1), (written,), (1, written)):
        return "its bias differs from row to row"
    return _dense(node, trace, view, int(by_row), int(not by_row), written, axis=1)


def matmul(node: Node, trace: Trace) -> str | None:
    """MatMul: x (..., k), weight (k, n), or a product of two tensors that are not constant."""
    view, weight = trace.view(node.input(0)), node.input(1)
    shape, given = trace.shape(weight), trace.shape(node.input(0))
    if weight is None or not trace.is_constant(weight):
        return contraction(node, trace)
    if shape is None or len(shape) != 2 or given is None or len(given) < 2:
        return "its operands have other ranks than supported"
    last = len(given) - 1
    if view is not None and last not in view.axes:  # a product for each channel
        trace.views[node.outputs[0]] = view
        return None
    if view is not None and len(view.axes) > 1:
        return "it reads channels that lie along several axes"
    return _dense(node, trace, view, 0, 1, _size(shape, 1), axis=last)


def _dense(
    node: Node, trace: Trace, view: View | None, read_axis: int, write_axis: int, written: int, axis: int = 1
) -> None:
    """Every output channel reads every input channel."""
    made = trace.channels.new(written, node.name)
    axes = {write_axis: made} | ({} if view is None else {read_axis: view.channels})
    trace.bind(node.inputs[1], axes)
    _bind_bias(node, trace, made)
    trace.views[node.outputs[0]] = View((axis,), made)


def _grouped(node: Node, trace: Trace, view: View | None, read_axis: int, group: int) -> None:
    """The outputs of each group read the inputs of this group.

    All groups lose channels at the same places, so that they stay equally wide: a channel of each group is a set.
    """
    shape = trace.shape(node.inputs[1]) or ()
    made = trace.channels.new(_size(shape, 1) if read_axis == 0 else _size(shape, 0) // group, node.name)
    axes = {1 - read_axis: made if read_axis == 0 else np.tile(made, group)}
    if view is not None:
        places = view.channels.reshape(group, -1)
        trace.channels.join(places, np.broadcast_to(places[0], places.shape))
        axes[read_axis] = view.channels if read_axis == 0 else places[0]
    trace.bind(node.inputs[1], axes)
    _bind_bias(node, trace, np.tile(made, group))
    trace.views[node.outputs[0]] = View((1,), np.tile(made, group))


def _depthwise(node: Node, trace: Trace, view: View, made: np.ndarray) -> None:
    """Each output channel reads one input channel; ``made`` has the input channel of each output channel."""
    trace.bind(node.inputs[1], {0: made})
    _bind_bias(node, trace, made)
    trace.edits.append(Edit(node.name, "group", view.channels))
    trace.views[node.outputs[0]] = View((1,), made)


def _bind_bias(node: Node, trace: Trace, made: np.ndarray) -> None:
    bias = node.input(2)
    shape = trace.shape(bias)
    if bias is not None and shape and shape[-1] == len(made) and len(made) > 1:
        trace.bind(bias, {len(shape) - 1: made})


def _constants(node: Node, trace: Trace) -> bool:
    return all(trace.is_constant(name) for name in node.inputs[1:3] if name)


def _size(shape: tuple[int | None, ...], axis: int) -> int:
    return shape[axis] or 0  # of a constant, whose sizes are all known
