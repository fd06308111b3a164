"""Windows over images: the indices of MaxPool, and the sizes of ConvTranspose."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.window import Window
from graph_passes.replacement import Replacement
from graph_passes.values import required, static_shape


def max_pool_indices(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``MaxPool`` with indices: the elements of each window are gathered, and the place of the largest is looked up."""
    if len(node.outputs) < 2 or not (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        return None
    x, window = required(node.inputs[0]), Window.of(node)
    shape, pooled = static_shape(x), static_shape(node.outputs[0])
    if shape is None or pooled is None or window is None or x.dtype is None or not x.dtype.is_floating_point():
        return None
    attributes = {name: attribute.value for name, attribute in node.attributes.items() if name != "storage_order"}
    sizes, pixels = shape[2:], prod(shape[2:])
    places = _places(window, sizes, pooled[2:])
    inside = (places >= 0) & (places < np.array(sizes))
    order = "F" if node.attributes.get_int("storage_order", 0) else "C"
    inner = np.where(inside, places, 0)
    flat = np.ravel_multi_index(tuple(np.moveaxis(inner, -1, 0)), sizes)
    listed = np.ravel_multi_index(tuple(np.moveaxis(inner, -1, 0)), sizes, order=order)
    outside = ~inside.all(-1)
    count = prod(shape[:2])
    lowest = new.constant("lowest", np.full((count, 1), -np.inf, x.dtype.numpy()))
    rows = new.op("Reshape", x, new.constant("rows", np.array([count, pixels], np.int64)))
    rows = new.op("Concat", rows, lowest, axis=1)  # what lies outside of the image
    taken = new.op("Gather", rows, new.constant("window", np.where(outside, pixels, flat).astype(np.int64)), axis=1)
    best = new.op("ArgMax", taken, axis=-1, keepdims=0)
    starts = new.constant("starts", np.arange(places.shape[0], dtype=np.int64) * places.shape[1])
    indices = new.op(
        "Gather", new.constant("indices", listed.reshape(-1).astype(np.int64)), new.op("Add", best, starts)
    )
    offsets = new.constant("offsets", (np.arange(count, dtype=np.int64) * pixels)[:, None])
    whole = new.constant("pooled", np.array(pooled, np.int64))
    return [new.op("MaxPool", x, **attributes), new.op("Reshape", new.op("Add", indices, offsets), whole)]


def _places(window: Window, sizes: Sequence[int], pooled: Sequence[int]) -> np.ndarray:
    """Returns the coordinates of the elements of each window (windows, elements, axes), which may lie outside."""
    axes = []
    for axis in range(len(sizes)):
        starts = np.arange(pooled[axis]) * window.strides[axis] - window.before[axis]
        axes.append(starts[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis])
    grid = np.zeros((*pooled, *window.kernel, len(sizes)), np.int64)
    for axis, places in enumerate(axes):
        wide = [1] * (2 * len(sizes))
        wide[axis], wide[axis + len(sizes)] = places.shape
        grid[..., axis] = places.reshape(wide)
    return grid.reshape(prod(pooled), prod(window.kernel), len(sizes))


def transposed_convolution(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``ConvTranspose`` with ``output_shape``, which TVM ignores: the pads that give this shape."""
    shape, window = static_shape(node.inputs[0]), Window.of(node)
    wanted = node.attributes.get_ints("output_shape", ())
    if not wanted or shape is None or window is None:
        return None
    rank = len(window.kernel)
    wanted = list(wanted)[-rank:]
    extra = list(node.attributes.get_ints("output_padding", ()) or [0] * rank)
    upper = node.attributes.get_string("auto_pad", "NOTSET") == "SAME_UPPER"
    before, after = [], []
    for axis in range(rank):
        full = window.strides[axis] * (shape[2 + axis] - 1) + window.reach[axis] + extra[axis]
        total = full - wanted[axis]
        if total < 0:  # the output ends with zeros
            extra[axis] -= total
            if extra[axis] >= max(window.strides[axis], window.dilations[axis]):
                return None
            total = 0
        small = total // 2
        before.append(small if upper else total - small)
        after.append(total - small if upper else small)
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    attributes = {name: value for name, value in attributes.items() if name not in ("auto_pad", "output_shape")}
    return [new.op("ConvTranspose", *node.inputs, **{**attributes, "pads": [*before, *after], "output_padding": extra})]
