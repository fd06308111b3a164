"""Windows over images: pads and indices of poolings, pads of Pad, and the sizes of ConvTranspose."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.window import Window, transposed_window
from graph_passes.replacement import Replacement
from graph_passes.values import required, static_shape


def pooling(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``MaxPool`` with indices, and poolings with ``auto_pad``, whose sizes TVM rounds down."""
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        return _max_pool_with_indices(node, new)
    window = Window.of(node)
    if (node.attributes.get_string("auto_pad", "NOTSET") or "NOTSET") == "NOTSET" or window is None:
        return None
    attributes = {name: attribute.value for name, attribute in node.attributes.items() if name != "auto_pad"}
    return [new.op(node.op_type, *node.inputs, **{**attributes, "pads": window.pads})]


def pad(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``Pad`` with a value that its mode does not use."""
    x, pads, *rest = node.inputs
    if node.attributes.get_string("mode", "constant") == "constant" or not rest or rest[0] is None:
        return None
    axes = rest[1:] if len(rest) > 1 and rest[1] is not None else []
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    return [new.op("Pad", x, pads, *([None, *axes] if axes else []), **attributes)]


def _max_pool_with_indices(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """Returns the output and the indices: the elements of each window are gathered, and the largest is looked up."""
    x, window = required(node.inputs[0]), Window.of(node)
    shape, pooled = static_shape(x), static_shape(node.outputs[0])
    if shape is None or pooled is None or window is None or x.dtype is None:
        return None
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    attributes = {name: value for name, value in attributes.items() if name not in ("auto_pad", "storage_order")}
    attributes["pads"] = window.pads
    dtype = x.dtype.numpy()
    sizes, pixels = shape[2:], prod(shape[2:])
    places = _places(window, sizes, pooled[2:])
    inside = (places >= 0) & (places < np.array(sizes))
    order = "F" if node.attributes.get_int("storage_order", 0) else "C"
    inner = np.where(inside, places, 0)
    flat = np.ravel_multi_index(tuple(np.moveaxis(inner, -1, 0)), sizes)
    listed = np.ravel_multi_index(tuple(np.moveaxis(inner, -1, 0)), sizes, order=order)
    outside = ~inside.all(-1)
    count = prod(shape[:2])
    least = -np.inf if x.dtype.is_floating_point() else np.iinfo(dtype).min
    lowest = new.constant("lowest", np.full((count, 1), least, dtype))
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
    found = transposed_window(node) if node.attributes.get_ints("output_shape", ()) else None
    if found is None:
        return None
    window, more = found
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    attributes = {name: value for name, value in attributes.items() if name not in ("auto_pad", "output_shape")}
    return [new.op("ConvTranspose", *node.inputs, **{**attributes, "pads": window.pads, "output_padding": more})]
