"""Parts of the functions of this package: values that are computed once, polynomials, powers of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tvm import te, tirx

Expr: TypeAlias = Any  # TVM's annotations declare no operators of expressions


def let(value: Expr, body: Callable[[Expr], Expr]) -> Expr:
    """Returns ``body`` of a value that is computed once; an element of a tensor expression is a value too."""
    value = value.asobject() if isinstance(value, te.tensor.TensorSlice) else value
    variable = tirx.Var("t", value.ty)
    return tirx.Let(variable, value, body(variable))


def number(value: float, dtype: str = "float32") -> Expr:
    return tirx.const(value, dtype)


def clip(x: Expr, low: float, high: float) -> Expr:
    return tirx.max(tirx.min(x, number(high)), number(low))


def polynomial(x: Expr, coefficients: Sequence[float], dtype: str = "float32") -> Expr:
    """Evaluates a polynomial by Horner's rule; the coefficient of the highest power comes first."""
    y: Expr = number(coefficients[0], dtype)
    for c in coefficients[1:]:
        y = y * x + number(c, dtype)
    return y


def power_of_two(n: Expr) -> Expr:
    """Returns 2^n in float32 for int32 ``n`` from -126 to 127."""
    return tirx.reinterpret("float32", (n + 127) << 23)


def scaled_by_power_of_two(x: Expr, n: Expr) -> Expr:
    """Returns x * 2^n for int32 ``n`` from -252 to 254, in two factors, so that the product overflows where it must."""

    def of_whole(whole: Expr) -> Expr:
        half = whole >> 1
        return x * power_of_two(half) * power_of_two(whole - half)

    return let(n, of_whole)


def within(x: Expr, low: float, high: float, body: Callable[[Expr], Expr], dtype: str = "float32") -> Expr:
    """Returns ``body`` of ``x`` clipped to a range. Unlike maximum and minimum, this propagates NaN."""
    lowest, highest = number(low, dtype), number(high, dtype)

    def above(x: Expr) -> Expr:
        return let(tirx.Select(x < lowest, lowest, x), body)

    return let(x, lambda x: let(tirx.Select(x > highest, highest, x), above))


def bits(x: Expr) -> Expr:
    """Returns the bits of a float32 as int32. They are negative if the sign is minus."""
    return tirx.reinterpret("int32", x)


def is_nan(x: Expr) -> Expr:
    """Returns whether x is NaN, by its bits: TVM does not vectorize its own test, and simplifies comparisons."""
    size = tirx.bitwise_and(bits(x), tirx.const(0x7FFFFFFF, "int32"))
    return size > tirx.const(0x7F800000, "int32")
