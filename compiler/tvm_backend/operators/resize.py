"""Resize and Upsample.

Every output element is a weighted sum of a few input elements along each axis in turn. Which ones and with which
weights depends on the sizes alone, so tables hold them: one row per output index of the axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import te, tirx

from compiler.tvm_backend.operators.elements import literal
from compiler.tvm_backend.operators.movement import gathered_axes
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Shape, Tensor, Unsupported, checked_axes
from compiler.tvm_backend.operators.reductions import working_dtype

_UNROLLED = 4  # elements of a weighted sum that is written out; longer ones are loops
_MODES = ("nearest", "linear", "cubic")


@dataclass(frozen=True)
class Axis:
    """How one axis is resized.

    Attributes:
        size, result: numbers of elements before and after.
        scale: of the coordinates, which need not be ``result / size``.
        region: start and end of the part that tf_crop_and_resize cuts out, relative to the size.
    """

    size: int
    result: int
    scale: float
    region: tuple[float, float]

    def changes(self, coordinates: str) -> bool:
        return self.size != self.result or self.scale != 1 or coordinates == "tf_crop_and_resize"


@dataclass(frozen=True)
class Table:
    """For each output index of an axis, the input elements that it is computed from.

    Attributes:
        indices: (outputs, taps), within the axis.
        weights: (outputs, taps).
        outside: (outputs,), whether the coordinate is outside the input.
    """

    indices: np.ndarray
    weights: np.ndarray
    outside: np.ndarray


def _coordinates(axis: Axis, mode: str) -> np.ndarray:
    """Returns the input coordinate of each output index, in float32 as ONNX Runtime, which decides ties.

    Raises:
        Unsupported: an unknown mode.
    """
    f = np.float32
    x, scale, half = np.arange(axis.result, dtype=f), f(axis.scale), f(0.5)
    if mode == "half_pixel":
        return (x + half) / scale - half
    if mode == "pytorch_half_pixel":
        return (x + half) / scale - half if axis.result > 1 else np.zeros(axis.result, f)
    if mode == "half_pixel_symmetric":
        adjustment = f(axis.result) / (scale * f(axis.size))
        offset = f(axis.size / 2) * (f(1) - adjustment)
        return offset + (x + half) / scale - half
    if mode == "align_corners":
        return x * f(axis.size - 1) / f(axis.result - 1) if axis.result > 1 else np.zeros(axis.result, f)
    if mode == "asymmetric":
        return x / scale
    if mode == "tf_half_pixel_for_nn":
        return (x + half) / scale
    if mode == "tf_crop_and_resize":
        start, end = map(f, axis.region)
        last = f(axis.size - 1)
        if axis.result > 1:
            return start * last + x * (end - start) * last / f(axis.result - 1)
        return np.full(axis.result, half * (start + end) * last)
    raise Unsupported(f"coordinate_transformation_mode {mode!r} is not known")


_ROUNDINGS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - np.float32(0.5)),
    "round_prefer_ceil": lambda x: np.floor(x + np.float32(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel, see "Cubic convolution interpolation for digital image processing", 1981."""
    t = np.abs(distance)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(distance), 0)


def _table(
    axis: Axis, x: np.ndarray, kernel: Callable[[np.ndarray], np.ndarray], radius: int, stretch: float, exclude: bool
) -> Table:
    """Returns the elements around each coordinate, weighted by a kernel.

    Args:
        radius: of the kernel, before it is stretched.
        stretch: at least 1; more when an antialiased image shrinks.
        exclude: whether elements outside the axis have no weight; otherwise the edge stands for them.
    """
    x = x.astype(np.float64)
    reach = math.ceil(radius * stretch)
    taps = np.floor(x)[:, None].astype(np.int64) + np.arange(-reach + 1, reach + 1)
    weights = kernel((taps - x[:, None]) / stretch)
    inside = (taps >= 0) & (taps < axis.size)
    if exclude:
        weights = np.where(inside, weights, 0)
    if exclude or stretch > 1:
        total = weights.sum(1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
    outside = (x < 0) | (x > axis.size - 1)
    return Table(np.clip(taps, 0, axis.size - 1), weights, outside)


def _axes(node: Node) -> tuple[list[Axis], str]:
    """Returns how each axis is resized, and the mode of its coordinates."""
    x = node.x
    mode = node.attribute("coordinate_transformation_mode", "half_pixel")
    axes = checked_axes(node.ints("axes") or list(range(x.rank)), x.rank)
    scales, sizes, roi = _parameters(node)
    if mode == "tf_crop_and_resize" and (roi is None or roi.size != 2 * len(axes)):
        raise Unsupported("roi must be given for coordinate_transformation_mode 'tf_crop_and_resize'")
    regions = {
        axis: (float(roi[i]), float(roi[i + len(axes)])) if mode == "tf_crop_and_resize" else (0.0, 1.0)  # type: ignore[index]
        for i, axis in enumerate(axes)
    }
    found = [Axis(size, size, 1.0, (0.0, 1.0)) for size in x.shape]
    given = scales if scales is not None else sizes
    if given is None or given.size != len(axes):
        raise Unsupported(f"scales or sizes must be given, one for each of {len(axes)} axes")
    if scales is not None:
        for axis, scale in zip(axes, scales, strict=True):
            if not scale > 0:
                raise Unsupported("scales must be positive")
            result = math.floor(float(x.shape[axis] * np.float32(scale)))
            found[axis] = Axis(x.shape[axis], result, float(scale), regions[axis])
        return found, mode
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    ratios = [int(size) / max(x.shape[axis], 1) for axis, size in zip(axes, given, strict=True)]
    if policy in ("not_larger", "not_smaller"):
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        for axis in axes:
            found[axis] = Axis(x.shape[axis], math.floor(ratio * x.shape[axis] + 0.5), ratio, regions[axis])
        return found, mode
    for axis, size, ratio in zip(axes, given, ratios, strict=True):
        found[axis] = Axis(x.shape[axis], int(size), ratio, regions[axis])
    return found, mode


def _parameters(node: Node) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Returns scales, sizes and the region; an empty tensor is an absent one."""

    def given(index: int, what: str) -> np.ndarray | None:
        array = node.known(index, what)
        return array if array is not None and array.size else None

    if node.op == "Upsample" or node.opset < 11:
        scales = np.asarray(node.attributes["scales"]) if "scales" in node.attributes else given(1, "scales")
        return scales, None, None
    return given(2, "scales"), given(3, "sizes"), given(1, "roi")


def _resize(node: Node) -> Tensor:
    x, method = node.x, node.attribute("mode", "nearest")
    method = {"bilinear": "linear"}.get(method, method)
    if method not in _MODES:
        raise Unsupported(f"mode is {method!r}; it must be one of {', '.join(_MODES)}")
    axes, coordinates = _axes(node)
    rounding = node.attribute("nearest_mode", "round_prefer_floor")
    if node.op == "Upsample" or node.opset < 11:
        coordinates, rounding = "asymmetric", "floor"
    if rounding not in _ROUNDINGS:
        raise Unsupported(f"nearest_mode is {rounding!r}; it must be one of {', '.join(_ROUNDINGS)}")
    changed = {i: axis for i, axis in enumerate(axes) if axis.changes(coordinates)}
    shape = tuple(axis.result for axis in axes)
    if not changed:
        return x
    if 0 in shape or 0 in x.shape:
        return Tensor.constant(np.zeros(shape, x.dtype))
    places = {i: _coordinates(axis, coordinates) for i, axis in changed.items()}
    outside = {}
    if method == "nearest":
        indices = {
            i: np.clip(_ROUNDINGS[_rounding(node, axes[i], rounding)](place), 0, axes[i].size - 1).astype(np.int64)
            for i, place in places.items()
        }
        outside = {i: (place < 0) | (place > axes[i].size - 1) for i, place in places.items()}
        result = gathered_axes(node, x, indices)
    else:
        tables = {i: _weighted(node, axes[i], place, method) for i, place in places.items()}
        outside = {i: table.outside for i, table in tables.items()}
        result = _interpolated(node, x, tables, shape)
    if coordinates != "tf_crop_and_resize":
        return result
    return _extrapolated(node, result, outside, float(node.attribute("extrapolation_value", 0.0)))


def _rounding(node: Node, axis: Axis, mode: str) -> str:
    """The first Resize rounds up along an axis that shrinks."""
    return "ceil" if node.op == "Resize" and node.opset < 11 and axis.scale < 1 else mode


def _weighted(node: Node, axis: Axis, place: np.ndarray, method: str) -> Table:
    antialias = bool(node.attribute("antialias", 0))
    stretch = max(1 / axis.scale, 1.0) if antialias else 1.0
    exclude = bool(node.attribute("exclude_outside", 0))
    if method == "cubic":
        a = float(node.attribute("cubic_coeff_a", -0.75))
        return _table(axis, place, lambda t: _cubic(t, a), 2, stretch, exclude)
    if stretch == 1:
        table = _table(axis, np.clip(place, 0, axis.size - 1), _triangle, 1, 1.0, exclude=False)
        return Table(table.indices, table.weights, (place < 0) | (place > axis.size - 1))
    return _table(axis, place, _triangle, 1, stretch, exclude)


def _interpolated(node: Node, x: Tensor, tables: Mapping[int, Table], shape: Shape) -> Tensor:
    """Emits the weighted sums along each axis, the one that shrinks most first."""
    wide = working_dtype(x.dtype)
    wide = "float32" if "int" in wide else wide
    order = sorted(tables, key=lambda axis: shape[axis] / x.shape[axis])
    constants = [
        Tensor.constant(array)
        for axis in order
        for array in (tables[axis].indices.astype(np.int32), tables[axis].weights.astype(wide))
    ]

    def compute(data: Any, *arrays: Any) -> Any:
        y: Any = data
        for axis, indices, weights in zip(order, arrays[::2], arrays[1::2], strict=True):
            y = _summed(y, axis, indices, weights, wide)
        return te.compute(shape, lambda *i: y(*i).astype(x.dtype), name="resize")

    return node.computed(compute, x, *constants)


def _summed(data: Any, axis: int, indices: Any, weights: Any, dtype: str) -> Any:
    """Returns the tensor expression of weighted sums along an axis."""
    outputs, taps = (int(size) for size in indices.shape)
    shape = [outputs if a == axis else int(size) for a, size in enumerate(data.shape)]

    def term(index: Sequence[Expr], tap: Expr) -> Expr:
        place = [indices(i, tap) if a == axis else i for a, i in enumerate(index)]
        return data(*place).astype(dtype) * weights(index[axis], tap)

    if taps <= _UNROLLED:
        return te.compute(shape, lambda *i: sum((term(i, k) for k in range(1, taps)), term(i, 0)), name="axis")
    tap = te.reduce_axis((0, taps), name="tap")
    return te.compute(shape, lambda *i: te.sum(term(i, tap.var), axis=tap), name="axis")


def _extrapolated(node: Node, x: Tensor, outside: Mapping[int, np.ndarray], value: float) -> Tensor:
    masks = {axis: mask for axis, mask in outside.items() if mask.any()}
    if not masks:
        return x

    def compute(data: Any, *tables: Any) -> Any:
        def element(*index: Expr) -> Expr:
            beyond = [
                tirx.NE(table(index[axis]), literal(0, "int8")) for axis, table in zip(masks, tables, strict=True)
            ]
            return tirx.Select(tirx.any(*beyond), literal(value, x.dtype), data(*index))

        return te.compute(x.shape, element, name="extrapolate")

    return node.computed(compute, x, *(Tensor.constant(mask.astype(np.int8)) for mask in masks.values()))


CONVERTERS: Mapping[str, Converter] = {"Resize": _resize, "Upsample": _resize}
