"""Channels through operators that join or divide axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from optimizer.pruning.trace import Edit, Node, Shape, Trace, View

_MOST_PLACES = 2**18  # of channels along several axes: a shuffle of pixels spreads them over whole images


def flatten(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    """Flatten to two axes: (n, c, h, w) to (n, c * h * w), where each channel has h * w columns."""
    axis = node.attributes.get("axis", 1) % (len(shape) + 1)
    before = [  # sizes of the part without channels have no influence
        size if any((place < axis) == (own < axis) for own in view.axes) else 1 for place, size in enumerate(shape)
    ]
    if None in before:
        return "the size of its output is unknown"
    sizes = [size or 0 for size in before]
    found = _reshaped(view, sizes, [prod(sizes[:axis]), prod(sizes[axis:])])
    if isinstance(found, str):
        return found
    trace.views[node.outputs[0]] = found
    return None


def reshape(node: Node, trace: Trace, view: View, shape: Shape) -> str | None:
    """Reshape. One that divides the axis of the channels gives the output channels along several axes."""
    before, after = shape, trace.shape(node.outputs[0])
    wanted = trace.constant(node.input(1))
    if after is None or wanted is None:
        return "its shape is not constant"
    if before[:1] == after[:1] == (None,):  # the samples, whose number varies
        before, after = (1, *before[1:]), (1, *after[1:])
    if None in before or None in after:
        return "its shape varies"
    if len(wanted) != len(after):
        return "the size of its output is unknown"
    found = _reshaped(view, [size or 0 for size in before], [size or 0 for size in after])
    if isinstance(found, str):
        return found
    for place, size in enumerate(wanted.tolist()):
        if size > 0 and place in found.axes:
            trace.edits.append(Edit(node.name, (1, place), found.along(place)))
        elif size == 0 and not _same(view, found, place):
            return "its shape copies a size of another axis"
    trace.views[node.outputs[0]] = found
    return None


def _same(view: View, other: View, axis: int) -> bool:
    """Returns whether two views have the same channels along an axis, or none."""
    if axis not in view.axes or axis not in other.axes:
        return axis not in view.axes and axis not in other.axes
    one, two = ([set(np.ravel(row).tolist()) for row in each.along(axis)] for each in (view, other))
    return one == two


def _reshaped(view: View, before: Sequence[int], after: Sequence[int]) -> View | str:
    """Returns the view of a reshaped tensor, or why it has none."""
    parts = _parts(before, after)
    if parts is None:
        return "the size of its output is unknown"
    parts = [part for part in parts if set(part[0]) & set(view.axes)]
    old, new = ([axis for part in parts for axis in part[side]] for side in (0, 1))
    sizes = [after[axis] for axis in new]
    if len(new) > 1 and prod(sizes) > _MOST_PLACES:
        return "it divides channels and joins them with other axes"
    places = np.broadcast_to(view.spread(old), [before[axis] for axis in old]).reshape(sizes)
    return varying(View(tuple(new), places))


def varying(view: View) -> View:
    """Returns a view without the axes along which its channels do not vary; at least one stays."""
    axes, channels = list(view.axes), view.channels
    for axis in view.axes:
        first = channels.take([0], axes.index(axis))
        if len(axes) > 1 and (channels == first).all():
            channels = channels.take(0, axes.index(axis))
            axes.remove(axis)
    return View(tuple(axes), channels)


def _parts(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]] | None:
    """Returns axes of the input and those of the output that have the same elements, as few as possible together."""
    if prod(before) != prod(after) or prod(before) == 0:
        return None
    found: list[tuple[list[int], list[int]]] = []
    old, new = 0, 0
    while old < len(before) and new < len(after):
        part = ([old], [new])
        sizes = [before[old], after[new]]
        old, new = old + 1, new + 1
        while sizes[0] != sizes[1]:
            if sizes[0] < sizes[1]:
                part[0].append(old)
                sizes[0], old = sizes[0] * before[old], old + 1
            else:
                part[1].append(new)
                sizes[1], new = sizes[1] * after[new], new + 1
        found.append(part)
    if found:  # axes of size 1 at the end
        found[-1][0].extend(range(old, len(before)))
        found[-1][1].extend(range(new, len(after)))
    return found
