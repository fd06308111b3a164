"""Integer arithmetic modulo 2^n.

LLVM may assume that the sums and products of 32 and 64 bits that TVM generates do not overflow, signed or unsigned, and
then decides comparisons with them incorrectly. The functions here have no operation that overflows: up to 32 bits they
compute in a wider type, and 64 bits as two halves. Elements that are not integers are computed as they are.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from compiler.tvm_backend.operators.elements import dtype_of, literal
from compiler.tvm_backend.operators.node import Expr

_HALF = 32  # bits
_WIDER = {8: 32, 16: 32, 32: 64}


def add(a: Expr, b: Expr) -> Expr:
    return _computed(a, b, lambda x, y: x + y, lambda x, y: _joined(_low(x) + _low(y), _high(x) + _high(y)), "int")


def subtract(a: Expr, b: Expr) -> Expr:
    return _computed(a, b, lambda x, y: x - y, lambda x, y: _joined(_low(x) - _low(y), _high(x) - _high(y)), "int")


def multiply(a: Expr, b: Expr) -> Expr:
    kind = "uint" if dtype_of(a).startswith("uint") else "int"
    return _computed(a, b, lambda x, y: x * y, _product, kind)


def _computed(
    a: Expr, b: Expr, function: Callable[[Expr, Expr], Expr], of_halves: Callable[[Expr, Expr], Expr], kind: str
) -> Expr:
    """Returns the result of ``function`` in a wider type of a kind, or of ``of_halves`` for 64 bits."""
    dtype = dtype_of(a)
    if "int" not in dtype:
        return function(a, b)
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    if bits == 2 * _HALF:
        return of_halves(a.astype("int64"), b.astype("int64")).astype(dtype)
    wide = f"{kind}{_WIDER[bits]}"
    return function(a.astype(wide), b.astype(wide)).astype(dtype)


def _product(a: Expr, b: Expr) -> Expr:
    """Long multiplication of int64. The product of the high halves is beyond 64 bits."""
    a_low, b_low = (_low(x).astype("uint64") for x in (a, b))
    a_high, b_high = (_low(_high(x)).astype("uint64") for x in (a, b))
    low = a_low * b_low
    high = _high(low) + _low(a_high * b_low) + _low(a_low * b_high)
    return _joined(_low(low).astype("int64"), high.astype("int64"))


def _joined(low: Expr, high: Expr) -> Expr:
    """Returns ``low + 2^32 high`` of int64 modulo 2^64. ``low`` may exceed 32 bits.

    The high half is converted to int32, whose bounds TVM respects: it takes a shifted positive number to be positive.
    """
    top = (_high(low) + high).astype("int32").astype("int64")
    return tirx.bitwise_or(top << _half(low), _low(low))


def _low(x: Expr) -> Expr:
    return tirx.bitwise_and(x, literal(2**_HALF - 1, dtype_of(x)))


def _high(x: Expr) -> Expr:
    return x >> _half(x)


def _half(x: Expr) -> Expr:
    return literal(_HALF, dtype_of(x))
