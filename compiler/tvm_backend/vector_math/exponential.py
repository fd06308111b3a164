"""exp, sigmoid, tanh and erf of float32."""

from __future__ import annotations

from collections.abc import Callable
from math import log

from tvm import tirx

from compiler.tvm_backend.vector_math.expressions import Expr, let, number, polynomial, scaled_by_power_of_two, within


def _saturated(x: Expr, limit: float, body: Callable[[Expr], Expr]) -> Expr:
    """Returns ``body`` of ``x`` within a limit, and exactly -1 or 1 beyond."""
    low, high = number(-limit), number(limit)

    def bounded(x: Expr) -> Expr:
        below = tirx.Select(x < low, number(-1), body(x))
        return tirx.Select(x > high, number(1), below)

    return let(x, bounded)


def exp(x: Expr) -> Expr:
    """Returns exp(x) as 2**n * exp(r), |r| <= ln(2) / 2, with Cephes' expf polynomial. The error is at most 2 ulp."""

    def scaled(r: Expr, n: Expr) -> Expr:
        e = polynomial(r, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5))
        return scaled_by_power_of_two(e * r * r + r + 1.0, n.astype("int32"))

    def reduced(x: Expr) -> Expr:
        n = tirx.floor(x * (1 / log(2)) + 0.5)
        # ln(2) in two parts. The first has so few digits that its product with n is exact.
        return let(n, lambda n: let(x - n * 0.693359375 - n * -2.12194440e-4, lambda r: scaled(r, n)))

    return within(x, -105.0, 89.0, reduced)


def sigmoid(x: Expr) -> Expr:
    """Returns 1 / (1 + exp(-x)). The error is at most 4 ulp, or 2^-126 if that is larger."""
    return 1.0 / (1.0 + exp(-x))


def tanh(x: Expr) -> Expr:
    """Returns tanh(x) by Eigen's rational approximation: 1 beyond 7.9. The error is at most 6 ulp."""
    p = (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08)
    p += (1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03)
    q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)

    def rational(x: Expr) -> Expr:
        return let(x * x, lambda square: x * (polynomial(square, p) / polynomial(square, q)))

    return _saturated(x, 7.90531110763549805, rational)


def erf(x: Expr) -> Expr:
    """Returns erf(x) by Eigen's rational approximation. In float32, erf is 1 beyond 4. The error is at most 6 ulp."""
    p = (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05)
    p += (-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02)
    q = (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03)
    q += (-1.42647390514189e-02,)

    def rational(x: Expr) -> Expr:
        return let(x * x, lambda square: x * (polynomial(square, p) / polynomial(square, q)))

    return _saturated(x, 4.0, rational)
