"""Functions of one tensor, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import tirx

from compiler.tvm_backend.operators.cast import cast_value
from compiler.tvm_backend.operators.elements import (
    NARROW,
    dtype_of,
    elementwise,
    is_nan,
    literal,
    maximum,
    minimum,
    negated,
)
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Tensor, Unsupported
from compiler.tvm_backend.operators.wrapping import multiply, subtract


def _const(value: float, like: Expr) -> Expr:
    return literal(value, dtype_of(like))


def _unary(function: Callable[[Expr], Expr], dtype: str | None = None) -> Converter:
    return lambda node: elementwise(node, function, node.x, dtype=dtype)


def _with_attributes(function: Callable[..., Expr], **defaults: float) -> Converter:
    """A function of an element and of attributes, which have defaults."""

    def convert(node: Node) -> Tensor:
        numbers = [float(node.attribute(name, default)) for name, default in defaults.items()]
        if all(numbers):
            return elementwise(node, lambda x: function(x, *(_const(number, x) for number in numbers)), node.x)
        # TVM simplifies 0 * x to 0, which is wrong for infinities and NaN.
        dtype = "float32" if node.x.dtype in NARROW else node.x.dtype
        tensors = [Tensor.constant(np.array(number, dtype)) for number in numbers]
        return elementwise(node, function, node.x, *tensors, literals=False)

    return convert


def _abs(x: Expr) -> Expr:
    if "uint" in dtype_of(x):
        return x
    return tirx.Select(x < _const(0, x), subtract(_const(0, x), x), x) if "int" in dtype_of(x) else tirx.abs(x)


def _neg(x: Expr) -> Expr:
    # -1 * x, because 0 - x has the wrong sign for 0.
    return multiply(x, _const(-1, x))


def _sign(x: Expr) -> Expr:
    zero = _const(0, x)
    positive = tirx.Select(x > zero, _const(1, x), zero)
    if "uint" in dtype_of(x):
        return positive
    signed = tirx.Select(x < zero, _const(-1, x), positive)
    return tirx.Select(is_nan(x), x, signed) if "float" in dtype_of(x) else signed


def _relu(x: Expr) -> Expr:
    return tirx.Select(x < _const(0, x), _const(0, x), x)  # NaN stays NaN


def _elu(x: Expr, alpha: Expr) -> Expr:
    return tirx.Select(x < _const(0, x), alpha * (tirx.exp(x) - _const(1, x)), x)


def _celu(x: Expr, alpha: Expr) -> Expr:
    zero = _const(0, x)
    return maximum(x, zero) + minimum(alpha * (tirx.exp(x / alpha) - _const(1, x)), zero)


def _selu(x: Expr, alpha: Expr, gamma: Expr) -> Expr:
    return gamma * tirx.Select(x > _const(0, x), x, alpha * (tirx.exp(x) - _const(1, x)))


def _leaky_relu(x: Expr, alpha: Expr) -> Expr:
    return tirx.Select(x < _const(0, x), alpha * x, x)


def _erf(node: Node) -> Tensor:
    """Integers are computed in float32."""

    def error(x: Expr) -> Expr:
        return tirx.erf(x if "float" in dtype_of(x) else x.astype("float32"))

    return elementwise(node, error, node.x)


def _thresholded_relu(x: Expr, alpha: Expr) -> Expr:
    return tirx.Select(x > alpha, x, _const(0, x))


def _clipped(x: Expr, low: float, high: float) -> Expr:
    low_, high_ = _const(low, x), _const(high, x)
    return tirx.Select(x < low_, low_, tirx.Select(x > high_, high_, x))


def _hard_sigmoid(x: Expr, alpha: Expr, beta: Expr) -> Expr:
    return _clipped(alpha * x + beta, 0, 1)


def _hard_swish(x: Expr) -> Expr:
    return x * _clipped(x * _const(float(np.float32(1 / 6)), x) + _const(0.5, x), 0, 1)


def sigmoid(x: Expr) -> Expr:
    return _const(1, x) / (_const(1, x) + tirx.exp(x * _const(-1, x)))


def softplus(x: Expr) -> Expr:
    """log(1 + exp(x)) as max(x, 0) + log1p(exp(-|x|)), which neither overflows nor loses small values."""
    positive = tirx.Select(x < _const(0, x), _const(0, x), x)
    return positive + tirx.log1p(tirx.exp(tirx.abs(x) * _const(-1, x)))


def _tanh(x: Expr) -> Expr:
    # TVM's formula for float64 loses digits of small values.
    return tirx.call_pure_extern("float64", "tanh", x) if dtype_of(x) == "float64" else tirx.tanh(x)


def _mish(x: Expr) -> Expr:
    """x tanh(log(1 + e)) with e = exp(x), as x n / (n + 2) with n = e (e + 2). Beyond 20 the quotient is 1."""
    e = tirx.exp(minimum(x, _const(20, x)))
    n = e * (e + _const(2, x))
    return x * (n / (n + _const(2, x)))


def _softsign(x: Expr) -> Expr:
    return x / (_const(1, x) + tirx.abs(x))


def _shrink(node: Node) -> Tensor:
    lambd, bias = float(node.attribute("lambd", 0.5)), float(node.attribute("bias", 0.0))

    def function(x: Expr) -> Expr:
        wide = x if "float" in dtype_of(x) else x.astype("float32")
        limit, shift = _const(lambd, wide), _const(bias, wide)
        above = tirx.Select(wide > limit, wide - shift, _const(0, wide))
        shrunk = tirx.Select(wide < _const(-lambd, wide), wide + shift, above)  # first, if lambd is negative
        return shrunk if dtype_of(x) == dtype_of(wide) else cast_value(shrunk, dtype_of(x))

    return elementwise(node, function, node.x)


def _gelu(node: Node) -> Tensor:
    approximate = node.attribute("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise Unsupported(f"approximate is {approximate!r}; it must be 'none' or 'tanh'")

    def exact(x: Expr) -> Expr:
        return _const(0.5, x) * x * (_const(1, x) + tirx.erf(x * _const(math.sqrt(0.5), x)))

    def by_tanh(x: Expr) -> Expr:
        inner = _const(math.sqrt(2 / math.pi), x) * (x + _const(0.044715, x) * x * x * x)
        return _const(0.5, x) * x * (_const(1, x) + tirx.tanh(inner))

    return elementwise(node, exact if approximate == "none" else by_tanh, node.x)


def _swish(x: Expr, alpha: Expr) -> Expr:
    return x * sigmoid(alpha * x)


def _is_inf(node: Node) -> Tensor:
    positive, negative = node.attribute("detect_positive", 1), node.attribute("detect_negative", 1)

    def infinite(x: Expr) -> Expr:
        found = []
        if positive:
            found.append(tirx.EQ(x, _const(math.inf, x)))
        if negative:
            found.append(tirx.EQ(x, _const(-math.inf, x)))
        return tirx.Or(*found) if len(found) == 2 else found[0] if found else literal(False, "bool")

    return elementwise(node, infinite, node.x, dtype="bool")


def _asinh(x: Expr) -> Expr:
    """sign(x) log(|x| + sqrt(x^2 + 1)), rearranged so that small values keep their digits."""
    size = tirx.abs(x)
    one = _const(1, x)
    # x^2 overflows for large values, whose asinh is log(2 |x|).
    large = tirx.log(size) + _const(math.log(2), x)
    small = tirx.log1p(size + size * size / (one + tirx.sqrt(size * size + one)))
    result = tirx.Select(size > _const(1e9, x), large, small)
    return tirx.Select(x < _const(0, x), result * _const(-1, x), result)


def _acosh(x: Expr) -> Expr:
    one = _const(1, x)
    large = tirx.log(x) + _const(math.log(2), x)
    small = tirx.log1p((x - one) + tirx.sqrt((x - one) * (x + one)))
    return tirx.Select(x > _const(1e9, x), large, small)


def _atanh(x: Expr) -> Expr:
    return _const(0.5, x) * tirx.log1p(_const(2, x) * x / (_const(1, x) - x))


def _sinh(x: Expr) -> Expr:
    """Without the loss of digits near 0, and without overflow of exp(x) before sinh(x)."""
    half = tirx.exp(tirx.abs(x) * _const(0.5, x))
    inverse = _const(1, x) / half
    large = _const(0.5, x) * half * half - _const(0.5, x) * inverse * inverse
    square = x * x
    series = _const(1 / 5040, x)
    for coefficient in (1 / 120, 1 / 6, 1.0):
        series = series * square + _const(coefficient, x)
    signed = tirx.Select(x < _const(0, x), large * _const(-1, x), large)
    return tirx.Select(tirx.abs(x) < _const(0.5, x), x * series, signed)


def _cosh(x: Expr) -> Expr:
    half = tirx.exp(tirx.abs(x) * _const(0.5, x))
    inverse = _const(1, x) / half
    return _const(0.5, x) * half * half + _const(0.5, x) * inverse * inverse


_FUNCTIONS: Mapping[str, Callable[[Any], Expr]] = {
    "Abs": _abs,
    "Acos": tirx.acos,
    "Acosh": _acosh,
    "Asin": tirx.asin,
    "Asinh": _asinh,
    "Atan": tirx.atan,
    "Atanh": _atanh,
    "BitwiseNot": tirx.bitwise_not,
    "Ceil": tirx.ceil,
    "Cos": tirx.cos,
    "Cosh": _cosh,
    "Exp": tirx.exp,
    "Floor": tirx.floor,
    "HardSwish": _hard_swish,
    "Log": tirx.log,
    "Mish": _mish,
    "Neg": _neg,
    "Not": negated,
    "Reciprocal": lambda x: _const(1, x) / x,
    "Relu": _relu,
    "Round": tirx.nearbyint,  # to even, as ONNX says
    "Sigmoid": sigmoid,
    "Sign": _sign,
    "Sin": tirx.sin,
    "Sinh": _sinh,
    "Softplus": softplus,
    "Softsign": _softsign,
    "Sqrt": tirx.sqrt,
    "Tan": tirx.tan,
    "Tanh": _tanh,
}

CONVERTERS: Mapping[str, Converter] = {
    **{name: _unary(function) for name, function in _FUNCTIONS.items()},
    "Celu": _with_attributes(_celu, alpha=1.0),
    "Elu": _with_attributes(_elu, alpha=1.0),
    "Erf": _erf,
    "Gelu": _gelu,
    "HardSigmoid": _with_attributes(_hard_sigmoid, alpha=0.2, beta=0.5),
    "IsInf": _is_inf,
    "IsNaN": _unary(is_nan, "bool"),
    "LeakyRelu": _with_attributes(_leaky_relu, alpha=0.01),
    "Selu": _with_attributes(_selu, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "Shrink": _shrink,
    "Swish": _with_attributes(_swish, alpha=1.0),
    "ThresholdedRelu": _with_attributes(_thresholded_relu, alpha=1.0),
}
