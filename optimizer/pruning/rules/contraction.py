"""Channels through products of two tensors that are not constant, as in attention."""

from __future__ import annotations

import numpy as np

from optimizer.pruning.trace import Node, Trace, View


def contraction(node: Node, trace: Trace) -> str | None:
    """MatMul: x (..., m, k), y (..., k, n), to (..., m, n).

    A channel along k goes with that of the other operand. A place along the axes before m, such as a head, stays while
    one of its channels along k does, so these are one set: queries, keys and values lose whole heads.
    """
    names = node.inputs[:2]
    shapes = [trace.shape(name) or () for name in names]
    if all(trace.view(name) is None for name in names):
        return None
    if min(map(len, shapes)) < 2:
        return "the shape of an input is unknown"
    rank = max(map(len, shapes))
    m, k, n = rank - 2, rank - 1, rank  # axes of the single products, before they are summed along k
    before = [[*range(rank - len(shape), rank - 2)] for shape in shapes]
    axes = [[*before[0], m, k], [*before[1], k, n]]
    known: list[View] = []
    for name, own in zip(names, axes, strict=True):
        if (view := trace.view(name)) is not None:
            known.append(view.at(own[axis] for axis in view.axes))
    channels = {axis for view in known for axis in view.axes}
    if {m, n} <= channels:
        return "both of its inputs have channels of the output"
    for name, shape, own in zip(names, shapes, axes, strict=True):
        view = trace.view(name)
        with_channels = {own[axis] for axis in view.axes} if view is not None else set()
        others = [size for axis, size in zip(own, shape, strict=True) if axis in channels - with_channels]
        if any(size != 1 for size in others):
            return f"{name} has channels that cannot be removed"
    for axis in channels:
        if len({view.sizes[axis] for view in known if axis in view.axes}) > 1:
            return "its inputs have different numbers of channels"
    places = np.broadcast_arrays(*(view.spread(range(rank + 1)) for view in known))
    trace.channels.join(places[0], places[-1])
    products = places[int(np.argmax([len(view) for view in known]))]
    trace.products[node.name] = products.ravel()
    left = sorted(channels - {k})
    if not left:
        return None  # each output is a sum over all channels
    first = products.take([0], k)
    trace.channels.join(products, np.broadcast_to(first, products.shape))
    made = first.reshape([products.shape[axis] for axis in left])
    trace.views[node.outputs[0]] = View(tuple(min(axis, rank - 1) for axis in left), made)
    return None
