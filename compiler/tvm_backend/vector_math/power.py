"""pow of float32, computed in float64, and simpler forms for constant exponents."""

from __future__ import annotations

import math

import numpy as np
from tvm import tirx

from compiler.tvm_backend.vector_math.expressions import (
    Expr,
    bits,
    let,
    number,
    polynomial,
    scaled_by_power_of_two,
    within,
)
from compiler.tvm_backend.vector_math.logarithm import split

# log2(1 + t) / t for sqrt(1/2) <= 1 + t <= sqrt(2), with a relative error below 3e-12: interpolated at Chebyshev nodes.
_LOG2 = (-0.0680644889731287, 0.131140367475663, -0.134790403865931, 0.130628469075385, -0.142523117420791)
_LOG2 += (0.160182270707552, -0.180432709261495, 0.206108696374565, -0.240446625929617, 0.288538762276843)
_LOG2 += (-0.360673789783042, 0.480898349073405, -0.721347520343039, 1.4426950408862)
# 2^r for |r| <= 1/2, with a relative error below 6e-11.
_EXP2 = (1.53037195525885e-05, 0.000154697557878818, 0.00133334784177791, 0.00961802553023227)
_EXP2 += (0.0555041090636217, 0.240226512141219, 0.693147180556832, 0.999999999959497)
# Beyond, 2^z is infinity or 0 in float32.
_LOWEST, _HIGHEST = -151.0, 129.0
_LARGEST_REPEATED = 64  # integer exponents up to it are products
_INF, _ONE, _ZERO = number(math.inf), number(1), number(0)


def power(x: Expr, y: Expr) -> Expr:
    """Returns x^y as C's pow does, for zeros, infinities and NaN too.

    The error is at most 1.5 ulp: two roundings for the exponents 3 and -1/2, one and a little for others.
    """
    if isinstance(y, tirx.FloatImm):
        return let(x, lambda x: _constant_power(x, float(np.float32(y.value))))

    def of(x: Expr, y: Expr) -> Expr:
        half = y * number(0.5)
        is_whole = tirx.EQ(tirx.floor(y), y)
        is_odd = tirx.And(is_whole, tirx.NE(tirx.floor(half), half))
        result = _signed(x, _of_size(x, y), is_odd)
        result = tirx.Select(tirx.And(_is_negative(x), tirx.Not(is_whole)), number(math.nan), result)
        to_infinity = tirx.And(tirx.EQ(x, number(-1)), tirx.EQ(tirx.abs(y), _INF))
        is_one = tirx.Or(tirx.Or(tirx.EQ(x, _ONE), tirx.EQ(y, _ZERO)), to_infinity)
        return tirx.Select(is_one, _ONE, result)

    return let(x, lambda x: let(y, lambda y: of(x, y)))


def _constant_power(x: Expr, y: float) -> Expr:
    if y == 0:
        return _ONE
    if y in (1, 2, 3):
        return (x, x * x, x * x * x)[int(y) - 1]
    if y == -1:
        return _ONE / x
    if y in (0.5, -0.5):  # of -0 and of minus infinity, pow is positive
        root = tirx.abs(tirx.sqrt(x))
        root = tirx.Select(tirx.EQ(x, number(-math.inf)), _INF, root)
        return root if y > 0 else _ONE / root
    if y.is_integer() and abs(y) <= _LARGEST_REPEATED:
        return _product(x.astype("float64"), int(y)).astype("float32")
    is_whole = y.is_integer() or math.isinf(y) or math.isnan(y)
    result = _of_size(x, number(y))
    if not is_whole:
        result = tirx.Select(_is_negative(x), number(math.nan), result)
    if is_whole and y % 2 == 1:
        result = _signed(x, result, None)
    is_one = tirx.EQ(tirx.abs(x) if math.isinf(y) else x, _ONE)
    return tirx.Select(is_one, _ONE, result)


def _product(x: Expr, n: int) -> Expr:
    """Returns x^n by repeated squaring. In float64 the roundings do not add up to one of float32."""
    if n < 0:
        return number(1, "float64") / _product(x, -n)
    if n == 1:
        return x
    root = _product(x, n // 2)
    return let(root, lambda root: root * root * x if n % 2 else root * root)


def _is_negative(x: Expr) -> Expr:
    """Whether x is below zero and finite, so that only whole exponents give a number."""
    return tirx.And(x < _ZERO, x > number(-math.inf))


def _signed(x: Expr, size: Expr, is_odd: Expr | None) -> Expr:
    """Returns the size with the sign of ``x`` if the exponent is odd.

    In integers, because TVM's simplifier takes seconds for the negative of a size.
    """
    sign = tirx.bitwise_and(bits(x), tirx.const(-(2**31), "int32"))
    if is_odd is not None:
        sign = tirx.Select(is_odd, sign, tirx.const(0, "int32"))
    return tirx.reinterpret("float32", tirx.bitwise_or(bits(size), sign))


def _of_size(x: Expr, y: Expr) -> Expr:
    """Returns |x|^y as 2^(y log2 |x|)."""
    size = tirx.abs(x)
    logarithm = split(size, _log2)
    finite = tirx.Select(size < _INF, logarithm, size.astype("float64"))  # NaN and infinity stay
    whole = tirx.Select(tirx.EQ(size, _ZERO), number(-math.inf, "float64"), finite)
    return within(y.astype("float64") * whole, _LOWEST, _HIGHEST, _exp2, "float64")


def _log2(m: Expr, k: Expr) -> Expr:
    t = m.astype("float64") - number(1, "float64")
    return let(t, lambda t: t * polynomial(t, _LOG2, "float64") + k.astype("float64"))


def _exp2(z: Expr) -> Expr:
    def of(z: Expr, n: Expr) -> Expr:
        fraction = let(z - n, lambda r: polynomial(r, _EXP2, "float64"))
        return scaled_by_power_of_two(fraction.astype("float32"), n.astype("int32"))

    return let(tirx.floor(z + number(0.5, "float64")), lambda n: of(z, n))
