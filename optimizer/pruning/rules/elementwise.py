"""Channels through operators that compute each element, or each channel, alone."""

from __future__ import annotations

import numpy as np

from optimizer.pruning.trace import Node, Trace, View


def unary(node: Node, trace: Trace) -> str | None:
    """The output has the channels of the first input; other inputs are numbers for the whole tensor."""
    others = [name for name in node.inputs[1:] if name]
    if any(trace.shape(name) not in ((), (1,)) for name in others):
        return "its bounds are not single numbers"
    return _same(node, trace)


def dropout(node: Node, trace: Trace) -> str | None:
    return _same(node, trace) if len([name for name in node.outputs if name]) == 1 else "its mask is an output"


def broadcast(node: Node, trace: Trace) -> str | None:
    """Joins the channels of all inputs, which broadcast to the shape of the output."""
    names = [name for name in node.inputs if name]
    shapes = [trace.shape(name) for name in names]
    if any(shape is None for shape in shapes):
        return "the shape of an input is unknown"
    ranks = [len(shape) for shape in shapes if shape is not None]
    rank = max(ranks)
    aligned = {
        name: view.at(axis + rank - own for axis in view.axes)
        for name, own in zip(names, ranks, strict=True)
        if (view := trace.view(name)) is not None
    }
    wide = max(aligned.values(), key=lambda view: (len(view.axes), len(view)))
    if any(not set(view.axes) <= set(wide.axes) for view in aligned.values()):
        return "its inputs have channels along different axes"
    binding = []
    for name, own, shape in zip(names, ranks, shapes, strict=True):
        if (view := aligned.get(name)) is not None:
            _join(node, trace, view, wide)
            continue
        sizes = {axis: shape[axis - (rank - own)] if shape and axis >= rank - own else 1 for axis in wide.axes}
        present = [axis for axis, size in sizes.items() if size != 1]
        if any(sizes[axis] != wide.sizes[axis] for axis in present):
            return f"{name} has channels that cannot be removed"
        if present and trace.is_constant(name):
            binding.append((name, {axis - (rank - own): wide.along(axis) for axis in present}))
        elif present and len(present) < len(wide.axes):  # the other axes can lose places
            trace.keep(wide, present)
        elif present:
            return f"{name} has channels that cannot be removed"
    for name, axes in binding:
        trace.bind(name, axes)
    trace.views[node.outputs[0]] = wide
    return None


def _join(node: Node, trace: Trace, view: View, wide: View) -> None:
    """Joins the channels of an input with those of the widest one, of which it has all axes or some."""
    if any(view.sizes[axis] != wide.sizes[axis] for axis in view.axes):
        trace.channels.fix(view.channels, f"{node} uses it for all channels")
        return
    axes = sorted(wide.axes)
    trace.channels.join(*np.broadcast_arrays(view.spread(axes), wide.spread(axes)))


def per_channel(node: Node, trace: Trace) -> str | None:
    """BatchNormalization and InstanceNormalization: the other inputs have one number per channel."""
    view = trace.view(node.input(0))
    if view is None or view.axes != (1,):
        return "it computes along another axis"
    if len([name for name in node.outputs if name]) > 1 or not all(map(trace.is_constant, node.inputs[1:])):
        return "its parameters are not constant"
    for name in node.inputs[1:]:
        trace.bind(name, {0: view.channels})
    return _same(node, trace)


def _same(node: Node, trace: Trace) -> str | None:
    view = trace.view(node.input(0))
    if view is None:
        return "another input than the first has channels"
    trace.views[node.outputs[0]] = view
    return None
