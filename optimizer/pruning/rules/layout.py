"""Channels through operators that move axes, or put tensors after one another."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from optimizer.pruning.trace import Node, Shape, Trace, View


def concat(node: Node, trace: Trace) -> str | None:
    """Concat along the channels puts them one after the other; along another axis, it joins those of all inputs."""
    views = [trace.view(name) for name in node.inputs]
    known = [view for view in views if view is not None]
    shapes = [trace.shape(name) for name in node.inputs]
    if any(shape is None for shape in shapes) or len({view.axes for view in known}) != 1:
        return "its inputs have channels along different axes"
    axis = node.attributes["axis"] % len(shapes[0] or (1,))
    if axis not in known[0].axes:
        if len(known) != len(views) or len({view.channels.shape for view in known}) != 1:
            return "not all of its inputs have channels that can be removed"
        for view in known[1:]:
            trace.channels.join(view.channels, known[0].channels)
        trace.views[node.outputs[0]] = known[0]
        return None
    if len(known[0].axes) > 1:
        return "it puts channels that lie along several axes after one another"
    parts = []
    for name, view, shape in zip(node.inputs, views, shapes, strict=True):
        if view is not None:
            parts.append(view.channels)
            continue
        size = None if shape is None else shape[axis]
        if size is None:
            return "the number of channels of an input is unknown"
        others = trace.channels.new(size, node.name)
        trace.channels.fix(others, f"{name} has channels that cannot be removed")
        parts.append(others)
    trace.views[node.outputs[0]] = View((axis,), np.concatenate(parts))
    return None


def transpose(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    order = list(node.attributes.get("perm", reversed(range(len(shape)))))
    trace.views[node.outputs[0]] = view.at(order.index(axis) for axis in view.axes)
    return None


def squeeze(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    """Squeeze of axes of size 1."""
    axes = _axes(node, trace)
    if axes is None:
        return "its axes are not constant"
    gone = {axis % len(shape) for axis in axes}
    if gone & set(view.axes):
        return "it removes the axis of the channels"
    trace.views[node.outputs[0]] = without_axes(view, gone)
    return None


def unsqueeze(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    axes = _axes(node, trace)
    if axes is None:
        return "its axes are not constant"
    rank = len(shape) + len(axes)
    new = {axis % rank for axis in axes}
    kept = [axis for axis in range(rank) if axis not in new]
    trace.views[node.outputs[0]] = view.at(kept[axis] for axis in view.axes)
    return None


def without_axes(view: View, gone: Collection[int]) -> View:
    """Returns the view of a tensor without axes that have no channels."""
    return view.at(axis - len([other for other in gone if other < axis]) for axis in view.axes)


def _axes(node: Node, trace: Trace) -> list[int] | None:
    if "axes" in node.attributes:
        return list(node.attributes["axes"])
    found = trace.constant(node.input(1))
    return None if found is None else found.reshape(-1).tolist()
