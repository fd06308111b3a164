"""Workload -> PrimFunc: what TVM is to compute, without a schedule."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from math import log, sqrt
from typing import Any, TypeAlias

from tvm import te, tirx

from compiler.spaces.tiling import max_accumulators
from compiler.target import Target
from compiler.workload import Workload

Expr: TypeAlias = Any  # TVM's own annotations know none of an expression's operators

# With fewer rows in a register tile, FMAs wait for loads of weights.
_MIN_HEIGHT = 4


def prim_func(workload: Workload, target: Target) -> tirx.PrimFunc:
    """The workload's arithmetic, padded as suits the target's registers.

    Its parameters are the workload's inputs by name, and then the output. The attribute ``layout_free_buffers`` tells
    which inputs are constants: schedules lay them out as they like. Such a parameter may be larger than the input,
    which then has to be filled up with zeros.
    """
    return PRIM_FUNCS[workload.op](workload, target)


def _dense(workload: Workload, target: Target) -> tirx.PrimFunc:
    rows, columns, depth = workload.dims
    # Tilings are perfect, so a prime would have none but the trivial ones. Weights are packed ahead of time: padding
    # them to whole vectors costs nothing. Rows are not copied either: those too many are the last one over again.
    padded_rows = _padded_rows(rows, max_accumulators(target))
    padded_columns = _whole_vectors(columns, target)
    x = te.placeholder((rows, depth), workload.dtype, name="x")
    weight = te.placeholder((padded_columns, depth), workload.dtype, name="weight")
    k = te.reduce_axis((0, depth), name="k")

    def product(m: Expr, n: Expr) -> Expr:
        return te.sum(x[_clamped(m, rows, padded_rows), k] * weight[n, k], axis=k)

    total: Any = te.compute((padded_rows, padded_columns), product, name="dense")
    return _with_epilogue(workload, x, weight, total)


def _conv2d(workload: Workload, target: Target) -> tirx.PrimFunc:
    """Padded as a product is: columns of the output as its rows, and output channels where they are of one group."""
    s = workload.sizes
    batch, oh, ow, channels = workload.output_shape
    group_c, group_o = s["c"] // s["groups"], channels // s["groups"]
    padded_ow = _padded_rows(ow, max_accumulators(target))
    padded_channels = _whole_vectors(channels, target) if s["groups"] == 1 else channels
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
    """The image with its border of zeros, which costs less to write out than to ask for at each product."""
    top, left = s["pad_top"], s["pad_left"]
    h, w = s["h"] + top + s["pad_bottom"], s["w"] + left + s["pad_right"]
    if (h, w) == (s["h"], s["w"]):
        return x

    def pixel(n: Expr, i: Expr, j: Expr, c: Expr) -> Expr:
        inside = tirx.all(i >= top, i < top + s["h"], j >= left, j < left + s["w"])
        return tirx.if_then_else(inside, x[n, i - top, j - left, c], tirx.const(0, x.dtype))

    return te.compute((s["n"], h, w, s["c"]), pixel, name="bordered")


def _with_epilogue(workload: Workload, x: te.Tensor, weight: te.Tensor, total: Any) -> tirx.PrimFunc:
    """The function that adds the workload's epilogue to a sum, which may be padded behind each of its axes."""
    shape = workload.output_shape
    bias = te.placeholder(shape[-1:], workload.dtype, name="bias")
    residual = te.placeholder(shape, workload.dtype, name="residual")

    def epilogue(*at: Expr) -> Expr:
        y = total[at]
        if "bias" in workload.epilogue:
            y = y + bias[at[-1]]
        if "residual" in workload.epilogue:
            y = y + residual[at]
        return ACTIVATIONS[workload.activation](y) if workload.activation else y

    inputs = [x, weight]
    inputs += [t for t, used in ((bias, "bias"), (residual, "residual")) if used in workload.epilogue]
    plain = tuple(int(size) for size in total.shape) == shape and not workload.epilogue
    output: Any = total if plain else te.compute(shape, epilogue, name="epilogue")
    function: Any = te.create_prim_func([*inputs, output])
    return function.with_attr({"layout_free_buffers": [1], "tirx.noalias": True})


def _whole_vectors(columns: int, target: Target) -> int:
    return -(-columns // target.lanes) * target.lanes


def _clamped(index: Expr, size: int, padded_size: int) -> Expr:
    return index if padded_size == size else tirx.min(index, size - 1)


def _padded_rows(rows: int, accumulators: int) -> int:
    """The least number from ``rows`` on that a register tile of a few vectors beside each other can divide into."""
    if rows <= accumulators:
        return rows
    heights = range(_MIN_HEIGHT, accumulators // 2 + 1)
    return next(padded for padded in itertools.count(rows) if any(padded % height == 0 for height in heights))


PRIM_FUNCS: Mapping[str, Callable[[Workload, Target], tirx.PrimFunc]] = {"dense": _dense, "conv2d": _conv2d}


# The C library's exp, tanh and erf, which TVM would call, take one lane at a time. These take a vector.
def _let(value: Expr, body: Callable[[Expr], Expr]) -> Expr:
    """``body`` of a value that is computed once, however often the body uses it."""
    variable = tirx.Var("t", "float32")
    return tirx.Let(variable, value, body(variable))


def _polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    """Horner's rule, highest power first."""
    y: Expr = tirx.const(coefficients[0], "float32")
    for c in coefficients[1:]:
        y = y * x + tirx.const(c, "float32")
    return y


def _clip(x: Expr, low: float, high: float) -> Expr:
    return tirx.max(tirx.min(x, tirx.const(high, "float32")), tirx.const(low, "float32"))


def _exp(x: Expr) -> Expr:
    """exp as 2**n * exp(r), |r| <= ln(2) / 2, with Cephes' expf polynomial; ends are clipped to the finite range."""

    def scaled(r: Expr, n: Expr) -> Expr:
        e = _polynomial(r, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5))
        power = tirx.reinterpret("float32", (n.astype("int32") + 127) << 23)
        return (e * r * r + r + 1.0) * power

    def reduced(x: Expr) -> Expr:
        n = tirx.floor(x * (1 / log(2)) + 0.5)
        # ln(2) in two parts, the first with so few digits that its product with n is exact.
        return _let(n, lambda n: _let(x - n * 0.693359375 - n * -2.12194440e-4, lambda r: scaled(r, n)))

    return _let(_clip(x, -87.0, 88.0), reduced)


def _sigmoid(x: Expr) -> Expr:
    return 1.0 / (1.0 + _exp(-x))


def _tanh(x: Expr) -> Expr:
    return 2.0 * _sigmoid(2.0 * x) - 1.0


def _erf(x: Expr) -> Expr:
    """Eigen's rational approximation; beyond 4 erf is 1 in float32."""
    p = (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05)
    p += (-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02)
    q = (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03)
    q += (-1.42647390514189e-02,)
    return _let(
        _clip(x, -4.0, 4.0), lambda x: _let(x * x, lambda square: x * _polynomial(square, p) / _polynomial(square, q))
    )


ACTIVATIONS: Mapping[str, Callable[[Expr], Expr]] = {
    "relu": lambda x: tirx.max(x, tirx.const(0, "float32")),
    "relu6": lambda x: _clip(x, 0.0, 6.0),
    "gelu": lambda x: _let(x, lambda x: x * 0.5 * (1.0 + _erf(x * (1 / sqrt(2))))),
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "silu": lambda x: _let(x, lambda x: x * _sigmoid(x)),
    "hard_swish": lambda x: _let(x, lambda x: x * _clip(x + 3.0, 0.0, 6.0) * (1 / 6)),
}
