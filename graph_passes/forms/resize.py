"""Resize as products with constant matrices, or as Gather of the nearest elements, axis by axis.

TVM computes the scale from the sizes, which differs where a size is rounded down, and supports neither axes nor
antialiasing nor other ranks than 3 to 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor

import numpy as np

from graph_passes.forms.sampling import Axis, nearest, weights
from graph_passes.lazy import ir
from graph_passes.replacement import Replacement
from graph_passes.values import constant, data_input, required, static_shape

PLAIN = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
NEAREST = (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"))  # that TVM computes correctly


def resize(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """Returns the resized tensor; None if TVM supports the form, or sizes are unknown."""
    x = required(node.inputs[0])
    shape, attributes = static_shape(x), node.attributes
    mode = attributes.get_string("mode", "nearest")
    coordinates = attributes.get_string("coordinate_transformation_mode", "half_pixel") or "half_pixel"
    axes = None if shape is None else _axes(node, shape)
    if shape is None or axes is None or x.dtype is None:
        return None
    if mode != "nearest" and x.dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16):
        return None
    if _supported(node, shape, axes, mode or "", coordinates):
        return None
    dtype = x.dtype.numpy()
    places = {axis: one.coordinates(coordinates) for axis, one in axes.items()}
    if mode == "nearest":
        rounding = attributes.get_string("nearest_mode", "round_prefer_floor") or ""
        for axis, one in axes.items():
            index = new.constant("nearest", nearest(places[axis], rounding, one.inputs))
            x = new.op("Gather", x, index, axis=axis)
    else:
        a = attributes.get_float("cubic_coeff_a", -0.75) or 0.0
        exclude = bool(attributes.get_int("exclude_outside", 0))
        antialias = bool(attributes.get_int("antialias", 0))
        for axis, one in axes.items():
            matrix = weights(one, places[axis], mode or "", a, exclude, antialias)
            x = _along(new, x, matrix.astype(dtype), axis, len(shape))
    if coordinates == "tf_crop_and_resize":
        x = _extrapolated(node, new, x, axes, places, len(shape))
    return [new.op("Identity", x) if x is node.inputs[0] else x]


def _axes(node: ir.Node, shape: Sequence[int]) -> Mapping[int, Axis] | None:
    """Returns the axes whose size or region changes; None if they are not constant."""
    rank = len(shape)
    listed = [axis % rank for axis in node.attributes.get_ints("axes", ()) or range(rank)]
    scales, sizes = (_numbers(node, place) for place in (2, 3))
    region = _numbers(node, 1)
    count = len(listed)
    if scales is not None and len(scales) == count:
        ratios = [float(scale) for scale in scales]
        pairs = zip(ratios, listed, strict=True)
        outputs = [floor(np.float32(ratio) * np.float32(shape[axis])) for ratio, axis in pairs]
    elif sizes is not None and len(sizes) == count:
        outputs = [int(size) for size in sizes]
        ratios = [size / shape[axis] for size, axis in zip(outputs, listed, strict=True)]
        policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            ratios = [min(ratios) if policy == "not_larger" else max(ratios)] * count
            outputs = [floor(ratio * shape[axis] + 0.5) for ratio, axis in zip(ratios, listed, strict=True)]
    else:
        return None
    cropped = node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    if cropped and (region is None or len(region) != 2 * count):
        return None
    found = {}
    for place, axis in enumerate(listed):
        ends = (float(region[place]), float(region[place + count])) if cropped and region is not None else (0.0, 1.0)
        one = Axis(shape[axis], outputs[place], ratios[place], *ends)
        if one.outputs != one.inputs or one.scale != 1 or ends != (0.0, 1.0):
            found[axis] = one
    return found


def _numbers(node: ir.Node, place: int) -> np.ndarray | None:
    value = data_input(node, place)
    return None if value is None else constant(value)


def _supported(node: ir.Node, shape: Sequence[int], axes: Mapping[int, Axis], mode: str, coordinates: str) -> bool:
    """Returns whether TVM computes this form correctly."""
    attributes = node.attributes
    exact = all(one.outputs == one.scale * one.inputs for one in axes.values())
    if attributes.get_ints("axes", ()) or attributes.get_int("antialias", 0) or not 3 <= len(shape) <= 5:
        return False
    if attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch" or coordinates not in PLAIN:
        return False
    if mode == "nearest":
        rounding = attributes.get_string("nearest_mode", "round_prefer_floor")
        return exact and min(axes, default=2) >= 2 and (coordinates, rounding) in NEAREST
    return mode == "linear" and exact and min(axes, default=2) >= 2


def _along(new: Replacement, x: ir.Value, matrix: np.ndarray, axis: int, rank: int) -> ir.Value:
    """Multiplies x (..., inputs, ...) with a matrix (inputs, outputs) along an axis."""
    if axis == rank - 1:
        return new.op("MatMul", x, new.constant("weights", matrix))
    if axis == rank - 2:
        return new.op("MatMul", new.constant("weights", np.ascontiguousarray(matrix.T)), x)
    perm = [*range(rank)]
    perm[axis], perm[-1] = perm[-1], perm[axis]
    swapped = new.op("MatMul", new.op("Transpose", x, perm=perm), new.constant("weights", matrix))
    return new.op("Transpose", swapped, perm=perm)


def _extrapolated(
    node: ir.Node, new: Replacement, x: ir.Value, axes: Mapping[int, Axis], places: Mapping[int, np.ndarray], rank: int
) -> ir.Value:
    """Sets the outputs that lie outside of the input."""
    dtype = (required(node.inputs[0]).dtype or ir.DataType.FLOAT).numpy()
    fill = new.constant("fill", np.array(node.attributes.get_float("extrapolation_value", 0.0), dtype))
    for axis, one in axes.items():
        outside = (places[axis] < 0) | (places[axis] > one.inputs - 1)
        if outside.any():
            sizes = [-1 if place == axis else 1 for place in range(rank)]
            x = new.op("Where", new.constant("outside", outside.reshape(sizes)), fill, x)
    return x
