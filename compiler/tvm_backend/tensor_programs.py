"""Builds the unscheduled PrimFunc of a workload."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from math import sqrt
from typing import Any

from tvm import te, tirx

from compiler.tvm_backend import vector_math
from compiler.tvm_backend.tiling import max_accumulators
from compiler.tvm_backend.vector_math import Expr
from compiler.workloads.activations import PRELU
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

# With fewer rows in a register tile, loads of weights limit the FMAs.
_MIN_HEIGHT = 4


def prim_func(workload: Workload, target: Target) -> tirx.PrimFunc:
    """Returns the arithmetic of a workload, padded for the target's registers.

    The parameters are the workload's inputs by name, and then the output. The attribute ``layout_free_buffers`` lists
    the constant inputs, whose layout a schedule may change. Such a parameter may be larger than the input, which must
    then be padded with zeros.
    """
    return PRIM_FUNCS[workload.op](workload, target)


def _dense(workload: Workload, target: Target) -> tirx.PrimFunc:
    rows, columns, depth = workload.dims
    # Tilings are perfect, so a prime extent would have trivial ones only. Padding weights to entire vectors is free,
    # because they are packed before the run. Rows are not copied: padded rows read the last row again.
    padded_rows = _padded_rows(rows, max_accumulators(target))
    padded_columns = _padded_to_vectors(columns, target)
    x = te.placeholder((rows, depth), workload.dtype, name="x")
    weight = te.placeholder((padded_columns, depth), workload.dtype, name="weight")
    k = te.reduce_axis((0, depth), name="k")

    def product(m: Expr, n: Expr) -> Expr:
        return te.sum(x[_clamped(m, rows, padded_rows), k] * weight[n, k], axis=k)

    total: Any = te.compute((padded_rows, padded_columns), product, name="dense")
    return _with_epilogue(workload, x, weight, total)


def _conv2d(workload: Workload, target: Target) -> tirx.PrimFunc:
    """Pads as in a matrix product: columns of the output as its rows, and the output channels if there is one group."""
    s = workload.sizes
    batch, oh, ow, channels = workload.output_shape
    group_c, group_o = s["c"] // s["groups"], channels // s["groups"]
    padded_ow = _padded_rows(ow, max_accumulators(target))
    padded_channels = _padded_to_vectors(channels, target) if s["groups"] == 1 else channels
    x = te.placeholder(workload.input_shapes["x"], workload.dtype, name="x")
    weight = te.placeholder((padded_channels, group_c, s["kh"], s["kw"]), workload.dtype, name="weight")
    image = _bordered(x, s)
    kh: Expr = te.reduce_axis((0, s["kh"]), name="kh")
    kw: Expr = te.reduce_axis((0, s["kw"]), name="kw")
    c = te.reduce_axis((0, group_c), name="c")

    def tap(n: Expr, h: Expr, w: Expr, o: Expr) -> Expr:
        row = h * s["stride_h"] + kh * s["dilation_h"]
        column = _clamped(w, ow, padded_ow) * s["stride_w"] + kw * s["dilation_w"]
        channel = c if s["groups"] == 1 else o // group_o * group_c + c
        return te.sum(image[n, row, column, channel] * weight[o, c, kh, kw], axis=[kh, kw, c])

    total: Any = te.compute((batch, oh, padded_ow, padded_channels), tap, name="conv2d")
    return _with_epilogue(workload, x, weight, total)


def _bordered(x: Expr, s: Mapping[str, int]) -> Expr:
    """Returns the image padded with zeros. Storing it is faster than a test per product."""
    top, left = s["pad_top"], s["pad_left"]
    h, w = s["h"] + top + s["pad_bottom"], s["w"] + left + s["pad_right"]
    if (h, w) == (s["h"], s["w"]):
        return x

    def pixel(n: Expr, i: Expr, j: Expr, c: Expr) -> Expr:
        inside = tirx.all(i >= top, i < top + s["h"], j >= left, j < left + s["w"])
        return tirx.if_then_else(inside, x[n, i - top, j - left, c], tirx.const(0, x.dtype))

    return te.compute((s["n"], h, w, s["c"]), pixel, name="bordered")


def _with_epilogue(workload: Workload, x: te.Tensor, weight: te.Tensor, total: Any) -> tirx.PrimFunc:
    """Returns the function that applies the workload's epilogue to a sum, whose axes may be padded at the end."""
    shape = workload.output_shape
    bias = te.placeholder(shape[-1:], workload.dtype, name="bias")
    residual = te.placeholder(shape, workload.dtype, name="residual")
    slopes = te.placeholder(shape[-1:], workload.dtype, name="slopes")

    def epilogue(*at: Expr) -> Expr:
        y = total[at]
        if "bias" in workload.epilogue:
            y = y + bias[at[-1]]
        if "residual" in workload.epilogue:
            y = y + residual[at]
        if workload.activation == PRELU:
            return tirx.Select(y < 0, y * slopes[at[-1]], y)
        return ACTIVATIONS[workload.activation](y) if workload.activation else y

    inputs = [x, weight]
    of_steps = ((bias, "bias"), (residual, "residual"), (slopes, PRELU))
    inputs += [tensor for tensor, step in of_steps if step in workload.epilogue]
    plain = tuple(int(size) for size in total.shape) == shape and not workload.epilogue
    output: Any = total if plain else te.compute(shape, epilogue, name="epilogue")
    function: Any = te.create_prim_func([*inputs, output])
    return function.with_attr({"layout_free_buffers": [1], "tirx.noalias": True})


def _padded_to_vectors(columns: int, target: Target) -> int:
    return -(-columns // target.lanes) * target.lanes


def _clamped(index: Expr, size: int, padded_size: int) -> Expr:
    return index if padded_size == size else tirx.min(index, size - 1)


def _padded_rows(rows: int, accumulators: int) -> int:
    """Returns the least multiple of the height of a register tile of a few vectors that is not below ``rows``."""
    if rows <= accumulators:
        return rows
    heights = range(_MIN_HEIGHT, accumulators // 2 + 1)
    return next(padded for padded in itertools.count(rows) if any(padded % height == 0 for height in heights))


PRIM_FUNCS: Mapping[str, Callable[[Workload, Target], tirx.PrimFunc]] = {"dense": _dense, "conv2d": _conv2d}


ACTIVATIONS: Mapping[str, Callable[[Expr], Expr]] = {
    "relu": lambda x: tirx.max(x, tirx.const(0, "float32")),
    "relu6": lambda x: vector_math.clip(x, 0.0, 6.0),
    "gelu": lambda x: vector_math.let(x, lambda x: x * 0.5 * (1.0 + vector_math.erf(x * (1 / sqrt(2))))),
    "sigmoid": vector_math.sigmoid,
    "tanh": vector_math.tanh,
    "silu": lambda x: vector_math.let(x, lambda x: x * vector_math.sigmoid(x)),
    "hard_swish": lambda x: vector_math.let(x, lambda x: x * vector_math.clip(x + 3.0, 0.0, 6.0) * (1 / 6)),
}
