"""Tensor expressions that compute each element from the elements at the same place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import te, tirx

from compiler.tvm_backend.operators.node import Expr, Node, Shape, Tensor, Unsupported

# Types that are computed in float32 and rounded at the end: the CPU has no arithmetic, and C no functions, of them.
NARROW = ("float16",)


def literal(value: float, dtype: str) -> Expr:
    return tirx.const(value, dtype)


def dtype_of(value: Expr) -> str:
    return str(value.ty.dtype)


def read(tensor: Any, index: Sequence[Expr]) -> Expr:
    """Returns the element of a tensor that is broadcast to the shape that ``index`` has."""
    shape = [int(size) for size in tensor.shape]
    own = index[len(index) - len(shape) :]
    return tensor(*(0 if size == 1 else i for size, i in zip(shape, own, strict=True)))


def widened(value: Expr) -> Expr:
    return value.astype("float32") if dtype_of(value) in NARROW else value


def broadcast_shape(shapes: Sequence[Shape]) -> Shape:
    """Returns the common shape.

    Raises:
        Unsupported: the shapes do not fit.
    """
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        listed = ", ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)
        raise Unsupported(f"shapes {listed} cannot be broadcast together") from None


def require_broadcast(parameter: Tensor, x: Tensor, what: str) -> None:
    """Checks that a parameter can be broadcast to the data: code that reads it would read outside of it.

    Raises:
        Unsupported: it cannot.
    """
    if broadcast_shape([parameter.shape, x.shape]) != x.shape:
        raise Unsupported(f"{what} of shape {parameter.shape} does not fit data of shape {x.shape}")


def elementwise(
    node: Node,
    function: Callable[..., Expr],
    *tensors: Tensor,
    dtype: str | None = None,
    literals: bool = True,
) -> Tensor:
    """Emits ``function`` of the elements of tensors that are broadcast to one shape.

    float16 elements are widened to float32 for ``function``, and its result is rounded.

    Args:
        dtype: of the result; that of the first tensor by default.
        literals: whether a constant of one element becomes a literal. TVM simplifies literals: not for 0 * x, which
            is NaN if x is not finite.
    """
    result_dtype = dtype or tensors[0].dtype
    shape = broadcast_shape([tensor.shape for tensor in tensors])
    as_literal = [literals and _is_literal(tensor) for tensor in tensors]
    if all(as_literal):
        as_literal[0] = False

    def compute(*arguments: Any) -> Any:
        def element(*index: Expr) -> Expr:
            waiting = iter(arguments)
            values = [
                literal(tensor.item(), tensor.dtype) if inline else read(next(waiting), index)
                for tensor, inline in zip(tensors, as_literal, strict=True)
            ]
            result = function(*map(widened, values))
            return result if dtype_of(result) == result_dtype else result.astype(result_dtype)

        return te.compute(shape, element, name=node.op.lower())

    return node.computed(compute, *(t for t, inline in zip(tensors, as_literal, strict=True) if not inline))


def _is_literal(tensor: Tensor) -> bool:
    """An integer outside of 0 to 2^63 - 1 is not one: TVM cannot convert it between signed and unsigned."""
    if tensor.array is None or tensor.array.size != 1:
        return False
    return tensor.kind not in "iu" or 0 <= tensor.array.item() < 2**63


def differ(a: Expr, b: Expr) -> Expr:
    """Returns whether two elements of type bool differ. TVM generates no valid code that compares them."""
    return tirx.NE(a.astype("uint8"), b.astype("uint8"))


def negated(x: Expr) -> Expr:
    """Returns whether an element of type bool is false. TVM would make ``b <= a`` of ``not a < b``: wrong for NaN."""
    return tirx.EQ(x.astype("uint8"), literal(0, "uint8"))


def power(x: Expr, y: Expr) -> Expr:
    """Returns x^y. TVM's own function prints a warning about large constant exponents whenever it sees one."""
    dtype = dtype_of(x)
    return tirx.call_pure_extern(dtype, "powf" if dtype == "float32" else "pow", x, y)


def is_nan(x: Expr) -> Expr:
    return tirx.isnan(x)  # TVM simplifies x != x to false


def maximum(a: Expr, b: Expr) -> Expr:
    """Returns the larger value, and NaN if either is NaN, unlike TVM's max."""
    if "float" in dtype_of(a):
        return tirx.Select(tirx.Or(a > b, is_nan(a)), a, b)
    return tirx.max(a, b)


def minimum(a: Expr, b: Expr) -> Expr:
    """Returns the smaller value, and NaN if either is NaN, unlike TVM's min."""
    if "float" in dtype_of(a):
        return tirx.Select(tirx.Or(a < b, is_nan(a)), a, b)
    return tirx.min(a, b)
