"""Pooling of images, channels first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tvm import te, tirx

from compiler.tvm_backend.operators.elements import dtype_of, literal, power
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Shape, Tensor, Unsupported
from compiler.tvm_backend.operators.reductions import lowest, max_of, over, working_dtype
from compiler.tvm_backend.operators.windows import Windows


def _larger(largest: Expr, x: Expr) -> Expr:
    """As ONNX Runtime: a NaN stays if it is the last pixel of a window. Pixels outside are -inf."""
    if "float" not in dtype_of(x):
        return tirx.max(largest, x)
    outside = tirx.EQ(x, literal(lowest(dtype_of(x)), dtype_of(x)))
    return tirx.Select(tirx.Or(largest > x, outside), largest, x)


_largest_of: Any = te.comm_reducer(_larger, lambda dtype: literal(lowest(str(dtype)), str(dtype)), name="largest_of")


def _windows(node: Node, x: Tensor) -> Windows:
    kernel = node.ints("kernel_shape")
    if x.rank < 3 or kernel is None:
        raise Unsupported("it needs an image of one axis or more, and kernel_shape")
    return Windows.of(node, x.shape[2:], kernel, pooling=True)


def _pooled(
    x: Tensor,
    windows: Windows,
    reducer: Any,
    outside: float | int,
    before: Callable[[Expr], Expr],
    data: Any,
    dtype: str,
) -> Any:
    """Returns a tensor expression that reduces each window. Pixels outside the image are ``outside``."""
    taps = _taps(windows)

    def element(n: Expr, c: Expr, *index: Expr) -> Expr:
        places = _pixel(windows, index, taps)
        pixel = before(data(n, c, *places).astype(dtype))
        return reducer(_or_outside(windows, places, pixel, literal(outside, dtype)), axis=taps)

    return te.compute((*x.shape[:2], *windows.output), element, name="pool")


def _taps(windows: Windows) -> list[Any]:
    return [te.reduce_axis((0, k), name=f"k{axis}") for axis, k in enumerate(windows.kernel)]


def _pixel(windows: Windows, index: Sequence[Expr], taps: Sequence[Any]) -> list[Expr]:
    """Returns the place in the image of each tap of the window at an index; it may be outside."""
    return [
        i * s + tap.var * d - low
        for i, s, tap, d, low in zip(index, windows.strides, taps, windows.dilations, windows.before, strict=True)
    ]


def _or_outside(windows: Windows, places: Sequence[Expr], value: Expr, outside: Expr) -> Expr:
    """Returns ``value`` if a place is inside the image, else ``outside``. Tests only where it may be outside."""
    conditions = []
    for axis, place in enumerate(places):
        last = (windows.output[axis] - 1) * windows.strides[axis] + (windows.kernel[axis] - 1) * windows.dilations[axis]
        if windows.before[axis] > 0:
            conditions.append(place >= 0)
        if last - windows.before[axis] >= windows.size[axis]:
            conditions.append(place < windows.size[axis])
    return tirx.if_then_else(tirx.all(*conditions), value, outside) if conditions else value


def _max_pool(node: Node) -> list[Tensor | None]:
    x = node.x
    windows, dtype = _windows(node, x), working_dtype(x.dtype)
    shape = (*x.shape[:2], *windows.output)
    if 0 in x.shape:
        return [Tensor.constant(np.zeros(shape, x.dtype)), Tensor.constant(np.zeros(shape, np.int64))]

    if len(node.outputs) > 1 and node.outputs[1]:
        return [*_largest_and_places(node, x, windows, dtype)]

    def compute(data: Any) -> Any:
        largest = data
        for stage in windows.apart():  # down the columns first, as ONNX Runtime
            largest = _pooled(x, stage, _largest_of, lowest(dtype), lambda v: v, largest, dtype)
        return te.compute(shape, lambda *i: largest(*i).astype(x.dtype), name="max_pool")

    return [node.computed(compute, x)]


def _largest_and_places(node: Node, x: Tensor, windows: Windows, dtype: str) -> list[Tensor]:
    """Returns the first largest pixel of each window in row-major order, and its flat index.

    As in ONNX Runtime, a NaN is the largest if it is the first pixel, and is not larger than any other pixel.
    """
    strides = _flat_strides(x.shape)
    column_major = bool(node.attribute("storage_order", 0))
    beyond = np.iinfo("int64").max

    def better(a: tuple[Expr, Expr], b: tuple[Expr, Expr]) -> tuple[Expr, Expr]:
        (i, v), (j, w) = a, b
        outside = literal(beyond, dtype_of(j))  # the identity, which is never better

        def chosen(first: Expr, second: Expr) -> Expr:
            # Without a negation, which TVM would move into the comparison: wrong for NaN.
            larger = tirx.Select(i < j, tirx.Select(w > v, second, first), tirx.Select(v > w, first, second))
            return tirx.Select(tirx.EQ(j, outside), first, tirx.Select(tirx.EQ(i, outside), second, larger))

        return chosen(i, j), chosen(v, w)

    reducer: Any = te.comm_reducer(
        better, lambda i, v: (literal(beyond, str(i)), literal(lowest(str(v)), str(v))), name="place"
    )

    def compute(data: Any) -> Any:
        taps = _taps(windows)

        def element(n: Expr, c: Expr, *index: Expr) -> Any:
            places = _pixel(windows, index, taps)
            pixel = data(n, c, *places).astype(dtype)
            flat = sum(
                (i.astype("int64") * stride for i, stride in zip((n, c, *places), strides, strict=True)),
                literal(0, "int64"),
            )
            pixel = _or_outside(windows, places, pixel, literal(lowest(dtype), dtype))
            return reducer((_or_outside(windows, places, flat, literal(beyond, "int64")), pixel), axis=taps)

        place, pixel = te.compute((*x.shape[:2], *windows.output), element, name="places")
        return [
            te.compute(pixel.shape, lambda *i: pixel(*i).astype(x.dtype), name="largest"),
            te.compute(
                place.shape, lambda *i: _column_major(place(*i), x.shape) if column_major else place(*i), name="index"
            ),
        ]

    return node.computed(compute, x)


def _flat_strides(shape: Shape) -> list[int]:
    """Returns the distance of neighbors along each axis."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _column_major(flat: Expr, shape: Shape) -> Expr:
    """Returns the index of an element if the image axes are in reverse order."""
    image = shape[2:]
    whole = literal(math.prod(image), "int64")
    index = tirx.truncdiv(flat, whole) * whole
    for axis, (size, stride) in enumerate(zip(image, _flat_strides(image), strict=True)):
        place = tirx.truncmod(tirx.truncdiv(flat, literal(stride, "int64")), literal(size, "int64"))
        index += place * math.prod(image[:axis])
    return index


def _average_pool(node: Node) -> Tensor:
    x = node.x
    windows, dtype = _windows(node, x), working_dtype(x.dtype)
    if 0 in x.shape:
        return Tensor.constant(np.zeros((*x.shape[:2], *windows.output), x.dtype))
    counts = [Tensor.constant(table) for table in _counts(windows, bool(node.attribute("count_include_pad", 0)), dtype)]

    def compute(data: Any, *tables: Any) -> Any:
        total = _pooled(x, windows, te.sum, 0, lambda v: v, data, dtype)

        def element(n: Expr, c: Expr, *index: Expr) -> Expr:
            count: Any = tables[0](index[0])
            for table, i in zip(tables[1:], index[1:], strict=True):
                count = count * table(i)
            return tirx.div(total(n, c, *index), count).astype(x.dtype)

        return te.compute((*x.shape[:2], *windows.output), element, name="average_pool")

    return node.computed(compute, x, *counts)


def _counts(windows: Windows, with_borders: bool, dtype: str) -> list[np.ndarray]:
    """Returns, for each image axis, the number of pixels of each window that count."""
    tables = []
    for axis, count in enumerate(windows.output):
        starts = np.arange(count) * windows.strides[axis] - windows.before[axis]
        taps = starts[:, None] + np.arange(windows.kernel[axis]) * windows.dilations[axis]
        low = -windows.before[axis] if with_borders else 0
        high = windows.size[axis] + (windows.after[axis] if with_borders else 0)
        tables.append(((taps >= low) & (taps < high)).sum(1).astype(dtype))
    return tables


def _norm(p: int, dtype: str) -> tuple[Callable[[Expr], Expr], Callable[[Expr], Expr]]:
    """Returns the functions before and after the sum of an Lp norm."""
    if p == 1:
        return tirx.abs, lambda total: total
    if p == 2:
        return lambda v: v * v, tirx.sqrt
    return (
        lambda v: power(tirx.abs(v), literal(p, dtype)),
        lambda total: power(total, literal(1 / p, dtype)),
    )


def _lp_pool(node: Node) -> Tensor:
    x, p = node.x, int(node.attribute("p", 2))
    windows, dtype = _windows(node, x), working_dtype(x.dtype)
    if p < 1:
        raise Unsupported(f"p is {p}; it must be at least 1")
    shape = (*x.shape[:2], *windows.output)
    if 0 in x.shape:
        return Tensor.constant(np.zeros(shape, x.dtype))
    before, after = _norm(p, dtype)

    def compute(data: Any) -> Any:
        total = _pooled(x, windows, te.sum, 0, before, data, dtype)
        return te.compute(shape, lambda *i: after(total(*i)).astype(x.dtype), name="lp_pool")

    return node.computed(compute, x)


def _global(node: Node, reducer: Any, before: Callable[[Expr], Expr], after: Callable[[Expr, int], Expr]) -> Tensor:
    """Reduces all pixels of each channel. ``after`` also takes the number of pixels."""
    x, axes = node.x, list(range(2, node.x.rank))
    count = math.prod(x.shape[2:])
    if x.rank < 3:
        raise Unsupported("it needs an image of one axis or more")
    if 0 in x.shape:
        raise Unsupported("the image has no pixels")
    dtype = working_dtype(x.dtype)

    def compute(data: Any) -> Any:
        total = over(x.shape, axes, reducer, lambda *i: before(data(*i).astype(dtype)))
        return te.compute(total.shape, lambda *i: after(total(*i), count).astype(x.dtype), name=node.op.lower())

    return node.computed(compute, x)


def _global_average(node: Node) -> Tensor:
    return _global(node, te.sum, lambda v: v, lambda total, n: tirx.div(total, literal(n, dtype_of(total))))


def _global_lp(node: Node) -> Tensor:
    before, after = _norm(int(node.attribute("p", 2)), working_dtype(node.x.dtype))
    return _global(node, te.sum, before, lambda total, _n: after(total))


def _global_max(node: Node) -> Tensor:
    return _global(node, max_of, lambda v: v, lambda largest, _n: largest)


CONVERTERS: Mapping[str, Converter] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalLpPool": _global_lp,
    "GlobalMaxPool": _global_max,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}
