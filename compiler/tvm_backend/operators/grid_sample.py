"""Reads an image at the places that a grid names."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tvm import te, tirx

from compiler.tvm_backend.operators.elements import literal
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Tensor, Unsupported
from compiler.tvm_backend.operators.reductions import working_dtype

_CUBIC_A = -0.75
_FAR = 2**30  # places are clipped to it before they become integers


def _grid_sample(node: Node) -> Tensor:
    x, grid = node.input(0), node.input(1)
    axes = x.rank - 2
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(m := node.attribute("mode", "linear"), m)
    padding, align = node.attribute("padding_mode", "zeros"), bool(node.attribute("align_corners", 0))
    if mode not in ("linear", "nearest", "cubic") or padding not in ("zeros", "border", "reflection"):
        raise Unsupported(f"mode {mode!r} with padding_mode {padding!r} is not known")
    if axes < 1 or grid.rank != x.rank or grid.shape[-1] != axes or grid.shape[0] != x.shape[0]:
        raise Unsupported(f"a grid of shape {grid.shape} does not fit an image of shape {x.shape}")
    shape = (*x.shape[:2], *grid.shape[1:-1])
    if 0 in shape:
        return Tensor.constant(np.zeros(shape, x.dtype))
    if 0 in x.shape:
        raise Unsupported("the image has no pixels")
    sizes, dtype = x.shape[2:], working_dtype(x.dtype)

    def compute(image: Any, places: Any) -> Any:
        # One place per axis and output pixel, shared by all channels.
        def place(n: Expr, axis: int, index: Sequence[Expr]) -> Expr:
            value = places(n, *index, axes - 1 - axis).astype(dtype)
            size = literal(sizes[axis], dtype)
            one, half = literal(1, dtype), literal(0.5, dtype)
            found = (value + one) * half * (size - one) if align else ((value + one) * size - one) * half
            if padding == "border" and mode != "cubic":
                return _clipped(found, literal(0, dtype), size - one)
            if padding == "reflection" and mode != "cubic":
                return _reflected(found, sizes[axis], align, dtype)
            return _clipped(found, literal(-_FAR, dtype), literal(_FAR, dtype))

        def pixel(n: Expr, c: Expr, at: Sequence[Expr]) -> Expr:
            inside, safe = [], []
            for axis, i in enumerate(at):
                if padding == "border":
                    i = _clipped(i, literal(0, "int64"), literal(sizes[axis] - 1, "int64"))
                elif padding == "reflection":
                    i = _reflected(i.astype(dtype), sizes[axis], align, dtype).astype("int64")
                inside += [i >= literal(0, "int64"), i < literal(sizes[axis], "int64")]
                safe.append(_clipped(i, literal(0, "int64"), literal(sizes[axis] - 1, "int64")))
            value = image(n, c, *safe).astype(dtype)
            return tirx.Select(tirx.all(*inside), value, literal(0, dtype)) if padding == "zeros" else value

        def element(n: Expr, c: Expr, *index: Expr) -> Expr:
            at = [place(n, axis, index) for axis in range(axes)]
            if mode == "nearest":
                return pixel(n, c, [tirx.nearbyint(p).astype("int64") for p in at]).astype(x.dtype)
            first = [tirx.floor(p) for p in at]
            weights = [_weights(p - low, mode, dtype) for p, low in zip(at, first, strict=True)]
            start = 0 if mode == "linear" else -1
            total: Any = literal(0, dtype)
            for taps in itertools.product(range(len(weights[0])), repeat=axes):
                weight: Any = literal(1, dtype)
                for axis, tap in enumerate(taps):
                    weight = weight * weights[axis][tap]
                where = [
                    low.astype("int64") + literal(tap + start, "int64") for low, tap in zip(first, taps, strict=True)
                ]
                total = total + weight * pixel(n, c, where)
            return total.astype(x.dtype)

        return te.compute(shape, element, name="grid_sample")

    return node.computed(compute, x, grid)


def _weights(t: Expr, mode: str, dtype: str) -> list[Expr]:
    """Returns the weights of the neighbors of a place that is ``t`` beyond one of them."""
    one = literal(1, dtype)
    if mode == "linear":
        return [one - t, t]
    a = literal(_CUBIC_A, dtype)

    def near(d: Expr) -> Expr:
        return ((a + literal(2, dtype)) * d - (a + literal(3, dtype))) * d * d + one

    def far(d: Expr) -> Expr:
        return ((a * d - literal(5, dtype) * a) * d + literal(8, dtype) * a) * d - literal(4, dtype) * a

    return [far(t + one), near(t), near(one - t), far(literal(2, dtype) - t)]


def _clipped(x: Expr, low: Expr, high: Expr) -> Expr:
    """NaN becomes the lower bound, so that the result is always a valid place."""
    above = tirx.Select(x > low, x, low)
    return tirx.Select(above < high, above, high)


def _reflected(x: Expr, size: int, align: bool, dtype: str) -> Expr:
    """Mirrors a place at the borders until it is inside."""
    low = literal(0.0 if align else -0.5, dtype)
    span = literal(float(size - 1 if align else size), dtype)
    zero, last = literal(0, dtype), literal(size - 1, dtype)
    if align and size == 1:
        return zero
    distance = tirx.abs(_clipped(x, literal(-_FAR, dtype), literal(_FAR, dtype)) - low)
    turns = tirx.floor(tirx.div(distance, span))
    rest = distance - turns * span
    half = tirx.floor(turns * literal(0.5, dtype))
    even = tirx.EQ(half * literal(2, dtype), turns)
    return _clipped(tirx.Select(even, rest + low, span - rest + low), zero, last)


CONVERTERS: Mapping[str, Converter] = {"GridSample": _grid_sample}
