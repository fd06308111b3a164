"""Functions of two or more tensors, element by element: arithmetic, comparisons, logic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np
from tvm import relax, tirx
from tvm.ir import StringImm

from compiler.tvm_backend.operators.cast import converted
from compiler.tvm_backend.operators.elements import (
    NARROW,
    broadcast_shape,
    differ,
    dtype_of,
    elementwise,
    literal,
    maximum,
    minimum,
    power,
)
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Tensor, Unsupported, checked_axis, shape_expr
from compiler.tvm_backend.operators.wrapping import add, multiply, subtract

_ARITHMETIC_OPSET = 7  # the first with NumPy's broadcasting; before, ``broadcast`` and ``axis`` place the second tensor


def _operands(node: Node) -> tuple[Tensor, Tensor]:
    """Returns both tensors; the second one in the place that ``axis`` gives it in old opsets."""
    a, b = node.input(0), node.input(1)
    if node.opset < _ARITHMETIC_OPSET and node.attribute("broadcast", 0) and "axis" in node.attributes:
        axis = checked_axis(int(node.attributes["axis"]), a.rank)
        shape = (*b.shape, *(1,) * (a.rank - axis - b.rank))
        b = reshaped(node, b, shape)
    return a, b


def reshaped(node: Node, x: Tensor, shape: Sequence[int]) -> Tensor:
    """Returns the same elements in another shape of the same size."""
    shape = tuple(shape)
    if x.shape == shape:
        return x
    if 0 in shape:
        return Tensor.constant(np.zeros(shape, x.dtype))
    if x.array is not None:
        return Tensor.constant(x.array.reshape(shape))
    return node.emitted(relax.op.reshape(x.expr, shape_expr(shape)))


def _is_integer(x: Expr) -> bool:
    return "int" in dtype_of(x)


def _binary(function: Callable[[Expr, Expr], Expr], dtype: str | None = None) -> Converter:
    return lambda node: elementwise(node, function, *_operands(node), dtype=dtype)


def _arithmetic(function: Callable[[Expr, Expr], Expr]) -> Converter:
    def convert(node: Node) -> Tensor:
        a, b = _operands(node)
        # TVM simplifies 0 * x and 0 / x to 0, which is wrong if x is infinite or NaN.
        return elementwise(node, function, a, b, literals=not (a.is_zero() or b.is_zero()))

    return convert


def _nonzero(node: Node, divisor: Tensor) -> Tensor:
    """Returns the divisor of integers, which is checked: the CPU ends the process at a division by zero."""
    if divisor.array is not None:
        if not divisor.array.all():
            raise Unsupported("division of integers by zero")
        return divisor
    return node.called("loopwright.checked_divisors", [divisor, StringImm(str(node))], divisor)


def _divisible(node: Node) -> tuple[Tensor, Tensor]:
    a, b = _operands(node)
    return (a, b) if a.kind == "f" else (a, _nonzero(node, b))


def _quotient(a: Expr, b: Expr) -> Expr:
    """The quotient, truncated for integers. The CPU ends the process at the smallest integer over -1."""
    dtype = dtype_of(a)
    if not _is_integer(a):
        return tirx.div(a, b)
    if dtype.startswith("uint"):
        return tirx.truncdiv(a, b)
    minus_one = literal(-1, dtype)
    negative = subtract(literal(0, dtype), a)
    safe = tirx.Select(tirx.EQ(b, minus_one), literal(1, dtype), b)
    return tirx.Select(tirx.EQ(b, minus_one), negative, tirx.truncdiv(a, safe))


def _div(node: Node) -> Tensor:
    a, b = _divisible(node)
    return elementwise(node, _quotient, a, b, literals=a.kind == "f" and not (a.is_zero() or b.is_zero()))


def _remainder(a: Expr, b: Expr) -> Expr:
    """The remainder with the sign of the dividend."""
    dtype = dtype_of(a)
    if not _is_integer(a):
        # TVM has fmod, but generates no code for it.
        return tirx.call_pure_extern(dtype, "fmodf" if dtype == "float32" else "fmod", a, b)
    if dtype.startswith("uint"):
        return tirx.truncmod(a, b)
    minus_one = literal(-1, dtype)
    safe = tirx.Select(tirx.EQ(b, minus_one), literal(1, dtype), b)
    return tirx.truncmod(a, safe)


def _modulus(a: Expr, b: Expr) -> Expr:
    """The remainder with the sign of the divisor."""
    rest = _remainder(a, b)
    zero = literal(0, dtype_of(a))
    if dtype_of(a).startswith("uint"):
        return rest
    wrong_sign = tirx.And(tirx.NE(rest, zero), differ(rest < zero, b < zero))
    return tirx.Select(wrong_sign, rest + b, rest)


def _mod(node: Node) -> Tensor:
    a, b = _divisible(node)
    return elementwise(node, _remainder if node.attribute("fmod", 0) else _modulus, a, b, literals=False)


def _pow(node: Node) -> Tensor:
    """Base and exponent may differ in type; the result has the base's."""
    a, b = _operands(node)
    if b.is_scalar_constant() and b.item() in (2, 3):
        cube = b.item() == 3
        return elementwise(node, lambda x, _: multiply(multiply(x, x), x) if cube else multiply(x, x), a, b)

    if b.is_scalar_constant() and a.dtype in ("float32", *NARROW):
        exponent = float(b.item())
        if float(np.float32(exponent)) == exponent:
            return elementwise(node, lambda x, _: power(x, literal(exponent, "float32")), a, b)

    if a.kind in "iu" and b.kind in "iu":
        return _integer_power(node, a, b)

    def powered(x: Expr, y: Expr) -> Expr:
        wide = "float64" if _is_integer(x) or "float64" in (dtype_of(x), dtype_of(y)) else "float32"
        if _is_integer(y) and dtype_of(y)[-2:] in ("32", "64"):
            wide = "float64"
        return power(x.astype(wide), y.astype(wide))

    return elementwise(node, powered, a, b, dtype=a.dtype)


def _integer_power(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Powers modulo 2^64, which a float64 could not hold."""
    shape = broadcast_shape([a.shape, b.shape])
    base, exponent = (elementwise(node, lambda x, _like: x.astype("int64"), x, like, dtype="int64", literals=False)
                      for x, like in ((a, b), (b, a)))  # fmt: skip
    if 0 in shape:
        return Tensor.constant(np.zeros(shape, a.dtype))
    return converted(node, node.called("loopwright.integer_power", [base, exponent], base), a.dtype)


def _equal(a: Expr, b: Expr) -> Expr:
    return tirx.Not(differ(a, b)) if dtype_of(a) == "bool" else tirx.EQ(a, b)


def _shift(node: Node) -> Tensor:
    """Shifts by the width or more give 0, where the CPU would shift by the remainder."""
    left = node.attribute("direction", "LEFT") == "LEFT"

    def shifted(a: Expr, b: Expr) -> Expr:
        dtype = dtype_of(a)
        width = int(dtype[4:]) if dtype.startswith("uint") else int(dtype[3:])
        far = tirx.Or(b >= literal(width, dtype), b < literal(0, dtype))
        near = tirx.Select(far, literal(0, dtype), b)
        if left:
            return tirx.Select(far, literal(0, dtype), a << near)
        # Of a negative integer, only its sign is left.
        rest = literal(0, dtype) if dtype.startswith("uint") else a >> literal(width - 1, dtype)
        return tirx.Select(far, rest, a >> near)

    return elementwise(node, shifted, *_operands(node))


def _prelu(node: Node) -> Tensor:
    x, slope = node.input(0), node.input(1)
    if node.opset < _ARITHMETIC_OPSET and slope.rank == 1 and x.rank > 1 and slope.size > 1:
        slope = reshaped(node, slope, (slope.size, *(1,) * (x.rank - 2)))
    result = elementwise(
        node, lambda a, b: tirx.Select(a < literal(0, dtype_of(a)), a * b, a), x, slope, literals=slope.kind != "f"
    )
    if result.shape != x.shape:
        raise Unsupported("the slope has a larger shape than the data")
    return result


def _variadic(function: Callable[[Expr, Expr], Expr], mean: bool = False) -> Converter:
    def convert(node: Node) -> Tensor:
        tensors = node.given()
        if not tensors:
            raise Unsupported("it has no inputs")

        def combined(*values: Expr) -> Expr:
            total = reduce(function, values)
            return tirx.div(total, literal(len(values), dtype_of(total))) if mean else total

        return elementwise(node, combined, *tensors)

    return convert


def _where(node: Node) -> Tensor:
    condition, x, y = node.input(0), node.input(1), node.input(2)
    return elementwise(node, tirx.Select, condition, x, y, dtype=x.dtype)


def _clip(node: Node) -> Tensor:
    """Bounds are attributes in old opsets and may be absent. NaN stays NaN; the upper bound wins over the lower one.

    Each step reads the one before once: a Select would repeat it, and the code of a series would grow exponentially.
    """
    bounds = [node.attribute("min"), node.attribute("max")]
    for place, index in enumerate((1, 2)):
        if bounds[place] is None and node.has(index):
            bounds[place] = node.input(index)
    low, high = (
        Tensor.constant(np.asarray(bound, node.x.dtype))
        if isinstance(bound, float)
        else bound and converted(node, bound, node.x.dtype)
        for bound in bounds
    )
    for bound in (low, high):
        if bound is not None and bound.size != 1:
            raise Unsupported("its bounds must be scalars")
    tensors = [node.x, *(reshaped(node, bound, ()) for bound in (low, high) if bound is not None)]

    def clipped(x: Expr, *given: Expr) -> Expr:
        limits = list(given)
        if low is not None:
            x = tirx.max(limits.pop(0), x)  # not max(x, bound), which is the bound if x is NaN
        if high is not None:
            x = tirx.min(limits.pop(0), x)
        return x

    return elementwise(node, clipped, *tensors)


CONVERTERS: Mapping[str, Converter] = {
    "Add": _arithmetic(add),
    "And": _binary(tirx.And),
    "BitShift": _shift,
    "BitwiseAnd": _binary(tirx.bitwise_and),
    "BitwiseOr": _binary(tirx.bitwise_or),
    "BitwiseXor": _binary(tirx.bitwise_xor),
    "Clip": _clip,
    "Div": _div,
    "Equal": _binary(_equal, "bool"),
    "Greater": _binary(lambda a, b: a > b, "bool"),
    "GreaterOrEqual": _binary(lambda a, b: a >= b, "bool"),
    "Less": _binary(lambda a, b: a < b, "bool"),
    "LessOrEqual": _binary(lambda a, b: a <= b, "bool"),
    "Max": _variadic(maximum),
    "Mean": _variadic(lambda a, b: a + b, mean=True),
    "Min": _variadic(minimum),
    "Mod": _mod,
    "Mul": _arithmetic(multiply),
    "Or": _binary(tirx.Or),
    "PRelu": _prelu,
    "Pow": _pow,
    "Sub": _arithmetic(subtract),
    "Sum": _variadic(lambda a, b: a + b),
    "Where": _where,
    "Xor": _binary(differ),
}
