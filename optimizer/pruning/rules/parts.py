"""Channels through operators that return parts of a tensor.

Parts along the only axis of the channels have some of the channels, and the numbers that say where a part begins and
ends follow them. Parts along one of several axes, such as those of a fused projection to queries, keys and values,
keep all places along it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from optimizer.pruning.rules.reshape import varying
from optimizer.pruning.trace import Edit, Node, Shape, Trace, View


def cut(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    """Slice."""
    old = "starts" in node.attributes  # before opset 10
    names = ("starts", "ends", "axes", "steps")
    given = [node.attributes.get(name) if old else trace.constant(node.input(1 + n)) for n, name in enumerate(names)]
    starts, ends, axes, steps = (None if each is None else np.asarray(each).tolist() for each in given)
    if not old and node.input(3) is not None and axes is None:
        return "its axes are not constant"
    if axes is None:
        if starts is None:
            return "its starts are not constant"
        axes = list(range(len(starts)))
    axes = [axis % len(shape) for axis in axes]
    inside = [place for place, axis in enumerate(axes) if axis in view.axes]
    if not inside:
        trace.views[node.outputs[0]] = view
        return None
    if starts is None or ends is None or (not old and node.input(4) is not None and steps is None):
        return "it cuts the axis of the channels at places that are not constant"
    found = view
    for place in inside:
        size, start, end = view.sizes[axes[place]], starts[place], ends[place]
        step = 1 if steps is None else steps[place]
        if len(view.axes) > 1:
            found = _taken(trace, view, found, axes[place], np.arange(size)[start:end:step])
            continue
        if step != 1 or start < 0 or end < 0:
            return "it cuts the axis of the channels from its end, or in steps"
        for element, name, number in ((start, "starts", 1), (end, "ends", 2)):
            if 0 < element < size:
                edited = (name if old else number, place)
                trace.edits.append(Edit(node.name, edited, view.channels[:element]))
        found = View(view.axes, view.channels[start:end])
    if not len(found):
        return "its output is empty"
    trace.views[node.outputs[0]] = varying(found)
    return None


def split(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    axis = node.attributes.get("axis", 0) % len(shape)
    if axis not in view.axes:
        trace.views.update(dict.fromkeys(filter(None, node.outputs), view))
        return None
    size, count = view.sizes[axis], len(node.outputs)
    given = node.attributes.get("split")
    if node.input(1) is not None:
        given = trace.constant(node.input(1))
        if given is None:
            return "its sizes are not constant"
    sizes = [-(-size // count)] * count if given is None else np.asarray(given).tolist()
    bounds = np.minimum(np.cumsum([0, *sizes]), size)
    parts = [np.arange(first, behind) for first, behind in pairwise(bounds.tolist())]
    if not all(map(len, parts)):
        return "one of its outputs is empty"
    if len(view.axes) > 1:
        for name, places in zip(node.outputs, parts, strict=True):
            trace.views[name] = varying(_taken(trace, view, view, axis, places))
        return None
    if given is None:
        if size % count:
            return "it divides the channels unevenly"
        for part in parts[1:]:  # equal parts stay equal
            trace.channels.join(view.channels[part], view.channels[parts[0]])
    for number, (name, places) in enumerate(zip(node.outputs, parts, strict=True)):
        if given is not None:
            place = 1 if node.input(1) is not None else "split"
            trace.edits.append(Edit(node.name, (place, number), view.channels[places]))
        trace.views[name] = View(view.axes, view.channels[places])
    return None


def gather(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    """Gather along another axis, or at constant places along one of several."""
    axis = node.attributes.get("axis", 0) % len(shape)
    rank = trace.shape(node.input(1))
    if rank is None:
        return "the shape of its indices is unknown"
    found = view
    if axis in view.axes:
        indices = trace.constant(node.input(1))
        if len(view.axes) == 1 or indices is None or indices.size != 1:
            return "it selects channels"
        found = _taken(trace, view, view, axis, indices.reshape(1) % view.sizes[axis])
        found = View(tuple(a for a in found.axes if a != axis), found.channels.take(0, found.axes.index(axis)))
    behind = len(rank) - 1
    trace.views[node.outputs[0]] = found.at(own + behind * (own > axis) for own in found.axes)
    return None


def _taken(trace: Trace, view: View, found: View, axis: int, places: np.ndarray) -> View:
    """Returns some places of ``found`` along one of its axes, all of whose places in ``view`` have to stay."""
    trace.keep(view, [axis])
    return View(found.axes, found.channels.take(places, found.axes.index(axis)))
