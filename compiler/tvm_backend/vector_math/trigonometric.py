"""sin, cos, tan, asin, acos and atan of float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tvm import tirx

from compiler.tvm_backend.vector_math.expressions import Expr, bits, let, number, polynomial

_CHUNK_BITS = 29  # with the 24 of a float32 at most the 53 of a float64, so that products are exact
_CHUNKS = 7  # 203 bits: 128 for the largest exponent, the others for the fraction
_TWO_OVER_PI = 0xA2F9836E4E441529FC2757D1F534DDC0DB6295993C439041FE  # its first 200 bits
_BITS = 200
# Cephes' sinf and cosf for |r| <= pi / 4.
_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)


def _chunks() -> list[float]:
    """Returns 1 / (2 pi) as a sum of numbers of at most 29 bits, largest first."""
    digits, chunks = _TWO_OVER_PI, []
    for place in range(1, _CHUNKS + 1):
        rest = max(_BITS - place * _CHUNK_BITS, 0)
        whole, digits = divmod(digits, 1 << rest)
        chunks.append(math.ldexp(whole, rest - _BITS - 2))
    return chunks


def _reduced(x: Expr, body: Callable[[Expr, Expr], Expr]) -> Expr:
    """Returns ``body(r, n)`` with x = n pi / 2 + r modulo 2 pi, |r| <= pi / 4; ``n`` is int32. NaN if x is not finite.

    The turns x / (2 pi) are summed modulo 1 in float64, smallest first (Payne and Hanek, SIGNUM 1983). Their error is
    about 2^-51 if |x| < 2^29, and 2^-49 beyond.
    """
    wide = x.astype("float64")
    *large, second, last = _chunks()

    def fraction(product: Expr) -> Expr:
        return let(product, lambda p: p - tirx.floor(p + number(0.5, "float64")))

    def of(wide: Expr) -> Expr:
        turns: Any = wide * number(last, "float64") + wide * number(second, "float64")
        for chunk in reversed(large):
            turns = turns + fraction(wide * number(chunk, "float64"))

        def of_quarters(quarters: Expr, n: Expr) -> Expr:
            r = ((quarters - n) * number(math.pi / 2, "float64")).astype("float32")
            return let(r, lambda r: let(n.astype("int32"), lambda n: body(r, n)))

        def rounded(quarters: Expr) -> Expr:
            return let(tirx.floor(quarters + number(0.5, "float64")), lambda n: of_quarters(quarters, n))

        return let(turns * number(4, "float64"), rounded)

    return let(wide, of)


def _sin_and_cos(r: Expr, body: Callable[[Expr, Expr], Expr]) -> Expr:
    def of_square(z: Expr) -> Expr:
        sine = polynomial(z, _SIN) * z * r + r
        cosine = polynomial(z, _COS) * z * z - z * number(0.5) + number(1)
        return let(sine, lambda s: let(cosine, lambda c: body(s, c)))

    return let(r * r, of_square)


def _has_bit(n: Expr, bit: int) -> Expr:
    return tirx.NE(tirx.bitwise_and(n, tirx.const(bit, "int32")), tirx.const(0, "int32"))


def _of_quarter(r: Expr, n: Expr) -> Expr:
    """Returns sin(r + n pi / 2)."""

    def chosen(s: Expr, c: Expr) -> Expr:
        value = tirx.Select(_has_bit(n, 1), c, s)
        return let(value, lambda value: tirx.Select(_has_bit(n, 2), -value, value))

    return _sin_and_cos(r, chosen)


def sin(x: Expr) -> Expr:
    """Returns sin(x). The error is at most 2 ulp of the result, or of 2^-24 if that is larger."""
    return let(x, lambda x: tirx.Select(tirx.EQ(x, number(0)), x, _reduced(x, _of_quarter)))  # -0 stays


def cos(x: Expr) -> Expr:
    """Returns cos(x), with the error of :func:`sin`."""
    return let(x, lambda x: _reduced(x, lambda r, n: let(n + 1, lambda n: _of_quarter(r, n))))


def tan(x: Expr) -> Expr:
    """Returns tan(x). The error is at most 4 ulp of the result, or of 2^-24 if that is larger."""

    def of(r: Expr, n: Expr) -> Expr:
        is_odd = _has_bit(n, 1)
        return _sin_and_cos(r, lambda s, c: tirx.Select(is_odd, -c, s) / tirx.Select(is_odd, s, c))

    return let(x, lambda x: tirx.Select(tirx.EQ(x, number(0)), x, _reduced(x, of)))


def _with_sign_of(x: Expr, size: Expr) -> Expr:
    return let(size, lambda size: tirx.Select(bits(x) < 0, -size, size))


def atan(x: Expr) -> Expr:
    """Returns atan(x), by Cephes' atanf. The error is at most 3 ulp."""
    p = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)

    def of(size: Expr) -> Expr:
        is_large, is_middle = size > number(2.414213562373095), size > number(0.4142135623730950)
        middle = tirx.Select(is_middle, (size - number(1)) / (size + number(1)), size)
        t = tirx.Select(is_large, number(-1) / size, middle)
        base = tirx.Select(is_large, number(math.pi / 2), tirx.Select(is_middle, number(math.pi / 4), number(0)))
        return let(t, lambda t: base + let(t * t, lambda z: polynomial(z, p) * z * t + t))

    return let(x, lambda x: _with_sign_of(x, let(tirx.abs(x), of)))


def _asin_of_small(x: Expr, z: Expr) -> Expr:
    """Returns asin(x) for 0 <= x <= 1/2, by Cephes' asinf; ``z`` is x^2."""
    p = (4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1)
    return polynomial(z, p) * z * x + x


def _asin_parts(size: Expr, body: Callable[[Expr, Expr], Expr]) -> Expr:
    """Returns ``body(is_large, a)``: a = asin(size), or asin(sqrt((1 - size) / 2)) if size > 1/2."""
    is_large = size > number(0.5)
    z = tirx.Select(is_large, number(0.5) * (number(1) - size), size * size)
    root = let(z, lambda z: let(tirx.Select(is_large, tirx.sqrt(z), size), lambda t: _asin_of_small(t, z)))
    return let(root, lambda a: body(is_large, a))


def asin(x: Expr) -> Expr:
    """Returns asin(x); NaN if |x| > 1. The error is at most 4 ulp."""

    def of(size: Expr) -> Expr:
        return _asin_parts(size, lambda large, a: tirx.Select(large, number(math.pi / 2) - a - a, a))

    return let(x, lambda x: _with_sign_of(x, let(tirx.abs(x), of)))


def acos(x: Expr) -> Expr:
    """Returns acos(x); NaN if |x| > 1. The error is at most 3 ulp."""

    def of(x: Expr) -> Expr:
        def chosen(is_large: Expr, a: Expr) -> Expr:
            far = tirx.Select(x < number(0), number(math.pi) - a - a, a + a)
            near = number(math.pi / 2) - tirx.Select(x < number(0), -a, a)
            return tirx.Select(is_large, far, near)

        return let(tirx.abs(x), lambda size: _asin_parts(size, chosen))

    return let(x, of)
