"""Channels through operators that move or join axes."""

from __future__ import annotations

from math import prod

import numpy as np

from optimizer.pruning.trace import Edit, Node, Shape, Trace, View


def concat(node: Node, trace: Trace) -> str | None:
    """Concat along the channels puts them one after the other; along another axis, it joins those of all inputs."""
    views = [trace.view(name) for name in node.inputs]
    known = [view for view in views if view is not None]
    shapes = [trace.shape(name) for name in node.inputs]
    if any(shape is None for shape in shapes) or len({view.axis for view in known}) != 1:
        return "its inputs have channels along different axes"
    axis = node.attributes["axis"] % len(shapes[0] or (1,))
    if axis != known[0].axis:
        if len(known) != len(views) or len({len(view) for view in known}) != 1:
            return "not all of its inputs have channels that can be removed"
        for view in known[1:]:
            trace.channels.join(view.channels, known[0].channels)
        trace.views[node.outputs[0]] = known[0]
        return None
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
    trace.views[node.outputs[0]] = View(axis, np.concatenate(parts))
    return None


def transpose(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    order = list(node.attributes.get("perm", reversed(range(len(shape)))))
    trace.views[node.outputs[0]] = View(order.index(view.axis), view.channels)
    return None


def squeeze(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    """Squeeze of axes of size 1."""
    axes = _axes(node, trace)
    if axes is None:
        return "its axes are not constant"
    gone = {axis % len(shape) for axis in axes}
    if view.axis in gone:
        return "it removes the axis of the channels"
    trace.views[node.outputs[0]] = View(view.axis - len([axis for axis in gone if axis < view.axis]), view.channels)
    return None


def unsqueeze(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    axes = _axes(node, trace)
    if axes is None:
        return "its axes are not constant"
    rank = len(shape) + len(axes)
    new = {axis % rank for axis in axes}
    kept = [axis for axis in range(rank) if axis not in new]
    trace.views[node.outputs[0]] = View(kept[view.axis], view.channels)
    return None


def _axes(node: Node, trace: Trace) -> list[int] | None:
    if "axes" in node.attributes:
        return list(node.attributes["axes"])
    found = trace.constant(node.input(1))
    return None if found is None else found.reshape(-1).tolist()


def flatten(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    """Flatten to two axes: (n, c, h, w) to (n, c * h * w), where each channel has h * w columns."""
    axis = node.attributes.get("axis", 1) % (len(shape) + 1)
    first, behind = (0, axis) if view.axis < axis else (axis, len(shape))
    columns = _joined(view, shape, first, behind)
    if columns is None:
        return "the size of its output is unknown"
    trace.views[node.outputs[0]] = View(int(view.axis >= axis), columns)
    return None


def reshape(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    """Reshape that joins the axis of the channels with other axes, or leaves it as it is."""
    before, after = shape, trace.shape(node.outputs[0])
    wanted = trace.constant(node.input(1))
    if after is None or wanted is None:
        return "its shape is not constant"
    if before[:1] == after[:1] == (None,):  # the samples, whose number varies
        before, after = (1, *before[1:]), (1, *after[1:])
    if None in before or None in after:
        return "its shape varies"
    found = _place(view.axis, before, after)
    if found is None:
        return "it divides the axis of the channels"
    axis, first, behind = found
    columns = _joined(view, before, first, behind)
    if columns is None or len(wanted) != len(after):
        return "the size of its output is unknown"
    if wanted[axis] > 0:
        trace.edits.append(Edit(node.name, (1, axis), columns))
    elif wanted[axis] == 0 and axis != view.axis:
        return "its shape copies a size of another axis"
    if any(size == 0 and place == view.axis != axis for place, size in enumerate(wanted.tolist())):
        return "its shape copies the number of channels to another axis"
    trace.views[node.outputs[0]] = View(axis, columns)
    return None


def _place(axis: int, before: Shape, after: Shape) -> tuple[int, int, int] | None:
    """Returns which axis of the output has the channels, and the axes (first, behind the last) that it joins."""
    old, new = [size or 0 for size in before], [size or 0 for size in after]
    if prod(old) != prod(new):
        return None
    for place in reversed(range(len(new))):
        for first in range(axis, -1, -1):
            if prod(old[:first]) != prod(new[:place]):
                continue
            for behind in range(axis + 1, len(old) + 1):
                if prod(old[first:behind]) == new[place]:
                    return place, first, behind
    return None


def _joined(view: View, shape: Shape, first: int, behind: int) -> np.ndarray | None:
    """Returns the channel of each place along the axis that joins ``first`` to before ``behind``."""
    outer, inner = shape[first : view.axis], shape[view.axis + 1 : behind]
    if None in outer or None in inner:
        return None
    return np.tile(np.repeat(view.channels, prod(size or 0 for size in inner)), prod(size or 0 for size in outer))
