"""log and log1p of float32."""

from __future__ import annotations

import math
from collections.abc import Callable

from tvm import tirx

from compiler.tvm_backend.vector_math.expressions import Expr, bits, let, number, polynomial

_SMALLEST_NORMAL = 2.0**-126
_ROOT_OF_HALF = 0x3F3504F3  # the bits of sqrt(1/2)
# Cephes' logf: log(1 + f) = f - f^2 / 2 + f^3 P(f).
_P = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1)
_P += (-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)


def split(x: Expr, body: Callable[[Expr, Expr], Expr]) -> Expr:
    """Returns ``body(m, k)`` with x = m * 2^k, sqrt(1/2) <= m < sqrt(2), for positive finite ``x``; ``k`` is int32."""
    lift = 24  # makes every subnormal normal
    is_small = x < number(_SMALLEST_NORMAL)
    normal = tirx.Select(is_small, x * number(2.0**lift), x)
    below = tirx.Select(is_small, tirx.const(lift, "int32"), tirx.const(0, "int32"))

    def of_bits(above: Expr) -> Expr:
        m = tirx.reinterpret("float32", tirx.bitwise_and(above, tirx.const(0x7FFFFF, "int32")) + _ROOT_OF_HALF)
        return let(m, lambda m: let((above >> 23) - below, lambda k: body(m, k)))

    return let(bits(normal) - _ROOT_OF_HALF, of_bits)


def log(x: Expr) -> Expr:
    """Returns log(x). The error is at most 2 ulp."""

    def of_parts(m: Expr, k: Expr) -> Expr:
        def of_fraction(f: Expr, e: Expr) -> Expr:
            small = polynomial(f, _P) * f * f * f + e * number(-2.12194440e-4) - f * f * number(0.5)
            return f + small + e * number(0.693359375)

        return let(m - number(1), lambda f: let(k.astype("float32"), lambda e: of_fraction(f, e)))

    def with_limits(x: Expr) -> Expr:
        finite = tirx.Select(x < number(math.inf), split(x, of_parts), x)  # NaN and infinity stay
        positive = tirx.Select(tirx.EQ(x, number(0)), number(-math.inf), finite)
        return tirx.Select(x < number(0), number(math.nan), positive)

    return let(x, with_limits)


def log1p(x: Expr) -> Expr:
    """Returns log(1 + x). The error is at most 3 ulp.

    The rounding of u = 1 + x is x - (u - 1), and log(u + d) is about log(u) + d / u.
    """

    def of_sum(x: Expr, u: Expr) -> Expr:
        is_regular = tirx.And(u > number(0), u < number(math.inf))
        lost = tirx.Select(is_regular, (x - (u - number(1))) / u, number(0))
        return tirx.Select(tirx.EQ(u, number(1)), x, log(u) + lost)

    return let(x, lambda x: let(x + number(1), lambda u: of_sum(x, u)))
