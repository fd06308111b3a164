"""exp, sigmoid, tanh and erf as vectorizable arithmetic. TVM would call the C library for each lane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Any, TypeAlias

import tvm_ffi
from tvm import ir, tirx

Expr: TypeAlias = Any  # TVM's annotations declare no operators of expressions


def let(value: Expr, body: Callable[[Expr], Expr]) -> Expr:
    """Returns ``body`` of a value that is computed once."""
    variable = tirx.Var("t", "float32")
    return tirx.Let(variable, value, body(variable))


def clip(x: Expr, low: float, high: float) -> Expr:
    return tirx.max(tirx.min(x, tirx.const(high, "float32")), tirx.const(low, "float32"))


def _polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    """Evaluates a polynomial by Horner's rule; the coefficient of the highest power comes first."""
    y: Expr = tirx.const(coefficients[0], "float32")
    for c in coefficients[1:]:
        y = y * x + tirx.const(c, "float32")
    return y


def _power_of_two(n: Expr) -> Expr:
    return tirx.reinterpret("float32", (n + 127) << 23)


def _within(x: Expr, low: float, high: float, body: Callable[[Expr], Expr]) -> Expr:
    """Returns ``body`` of ``x`` clipped to a range. Unlike maximum and minimum, this propagates NaN."""
    lowest, highest = tirx.const(low, "float32"), tirx.const(high, "float32")

    def above(x: Expr) -> Expr:
        return let(tirx.Select(x < lowest, lowest, x), body)

    return let(x, lambda x: let(tirx.Select(x > highest, highest, x), above))


def _saturated(x: Expr, limit: float, body: Callable[[Expr], Expr]) -> Expr:
    """Returns ``body`` of ``x`` within a limit, and exactly -1 or 1 beyond."""
    low, high = tirx.const(-limit, "float32"), tirx.const(limit, "float32")

    def bounded(x: Expr) -> Expr:
        below = tirx.Select(x < low, tirx.const(-1, "float32"), body(x))
        return tirx.Select(x > high, tirx.const(1, "float32"), below)

    return let(x, bounded)


def exp(x: Expr) -> Expr:
    """Returns exp(x) as 2**n * exp(r), |r| <= ln(2) / 2, with Cephes' expf polynomial.

    The power is split into two factors, whose product overflows to infinity or underflows to zero correctly.
    """

    def scaled(r: Expr, n: Expr) -> Expr:
        e = _polynomial(r, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5))
        whole = n.astype("int32")
        half = whole >> 1
        return (e * r * r + r + 1.0) * _power_of_two(half) * _power_of_two(whole - half)

    def reduced(x: Expr) -> Expr:
        n = tirx.floor(x * (1 / log(2)) + 0.5)
        # ln(2) in two parts. The first has so few digits that its product with n is exact.
        return let(n, lambda n: let(x - n * 0.693359375 - n * -2.12194440e-4, lambda r: scaled(r, n)))

    return _within(x, -105.0, 89.0, reduced)


def sigmoid(x: Expr) -> Expr:
    return 1.0 / (1.0 + exp(-x))


def tanh(x: Expr) -> Expr:
    """Returns tanh(x) by Eigen's rational approximation. In float32, tanh is 1 beyond 7.9 and x below 0.0004."""
    p = (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08)
    p += (1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03)
    q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)

    def rational(x: Expr) -> Expr:
        return let(x * x, lambda square: x * _polynomial(square, p) / _polynomial(square, q))

    return _saturated(x, 7.90531110763549805, rational)


def erf(x: Expr) -> Expr:
    """Returns erf(x) by Eigen's rational approximation. In float32, erf is 1 beyond 4."""
    p = (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05)
    p += (-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02)
    q = (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03)
    q += (-1.42647390514189e-02,)

    def rational(x: Expr) -> Expr:
        return let(x * x, lambda square: x * _polynomial(square, p) / _polynomial(square, q))

    return _saturated(x, 4.0, rational)


FUNCTIONS: Mapping[str, Callable[[Expr], Expr]] = {
    "tirx.exp": exp,
    "tirx.sigmoid": sigmoid,
    "tirx.tanh": tanh,
    "tirx.erf": erf,
}


def vectorizable(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Replaces the calls of exp, sigmoid, tanh and erf of float32 in a function by arithmetic."""

    def rewrite(call: Any) -> Any:
        name = operator_name(call)
        if name in FUNCTIONS and call.ty == ir.PrimType("float32"):
            return FUNCTIONS[name](call.args[0])
        return call

    return tvm_ffi.structural_map(function, (ir.Call, rewrite))


def operator_name(call: Any) -> str:
    """Returns the name of the called operator; empty if the callee is a function."""
    return call.op.name if isinstance(call.op, ir.Op) else ""  # type: ignore[attr-defined]
