"""Channels through operators that compute each element, or each channel, alone."""

from __future__ import annotations

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
        name: View(view.axis + rank - own, view.channels)
        for name, own in zip(names, ranks, strict=True)
        if (view := trace.view(name)) is not None
    }
    wide = max(aligned.values(), key=len)
    if any(view.axis != wide.axis for view in aligned.values()):
        return "its inputs have channels along different axes"
    binding = []
    for name, own, shape in zip(names, ranks, shapes, strict=True):
        axis = wide.axis - (rank - own)
        view, size = aligned.get(name), shape[axis] if shape is not None and axis >= 0 else 1
        if view is not None:
            if len(view) == len(wide):
                trace.channels.join(view.channels, wide.channels)
            else:
                trace.channels.fix(view.channels, f"{node} uses it for all channels")
        elif size == len(wide) and (size != 1) and trace.is_constant(name):
            binding.append((name, axis))
        elif size != 1:
            return f"{name} has channels that cannot be removed"
    for name, axis in binding:
        trace.bind(name, {axis: wide.channels})
    trace.views[node.outputs[0]] = wide
    return None


def per_channel(node: Node, trace: Trace) -> str | None:
    """BatchNormalization and InstanceNormalization: the other inputs have one number per channel."""
    view = trace.view(node.input(0))
    if view is None or view.axis != 1:
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
