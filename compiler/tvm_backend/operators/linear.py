"""Products of matrices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tvm import relax

from compiler.tvm_backend.operators.binary import reshaped
from compiler.tvm_backend.operators.cast import converted, widened
from compiler.tvm_backend.operators.elements import broadcast_shape, elementwise
from compiler.tvm_backend.operators.movement import transposed
from compiler.tvm_backend.operators.node import Converter, Node, Tensor, Unsupported


def product(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Returns the product of matrices, with NumPy's rules for vectors and batches, in the type of ``a``."""
    dtype = a.dtype
    if not a.rank or not b.rank:
        raise Unsupported("a product needs at least one dimension in each input")
    if a.shape[-1] != b.shape[-2 if b.rank > 1 else 0]:
        raise Unsupported(f"the inner sizes of {a.shape} and {b.shape} differ")
    rows, columns = a.shape[-2:-1], b.shape[-1:] if b.rank > 1 else ()
    shape = (*broadcast_shape([a.shape[:-2], b.shape[:-2]]), *rows, *columns)
    if a.shape[-1] == 0 or 0 in shape:
        return Tensor.constant(np.zeros(shape, dtype))
    a, b = widened(node, a), widened(node, b)
    # TVM's own products of vectors have outputs without axes, which cannot be scheduled.
    a = reshaped(node, a, (1, *a.shape)) if a.rank == 1 else a
    b = reshaped(node, b, (*b.shape, 1)) if b.rank == 1 else b
    result = node.emitted(relax.op.matmul(a.expr, b.expr))
    return converted(node, reshaped(node, result, shape), dtype)


def _gemm(node: Node) -> Tensor:
    a, b = node.input(0), node.input(1)
    if a.rank != 2 or b.rank != 2:
        raise Unsupported("its inputs must be matrices")
    a = transposed(node, a, (1, 0)) if node.attribute("transA", 0) else a
    b = transposed(node, b, (1, 0)) if node.attribute("transB", 0) else b
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    result = product(node, a, b)
    dtype = result.dtype
    if a.kind in "iu" and not (alpha.is_integer() and beta.is_integer()):
        result = converted(node, result, "float64")
    shape = result.shape
    if alpha != 1:
        result = _scaled(node, result, alpha)
    if node.has(2):
        c = node.input(2)
        c = converted(node, c, result.dtype)
        if beta != 1:
            c = _scaled(node, c, beta)
        if node.opset < 7 and c.rank == 1 and c.shape != shape[1:]:
            c = reshaped(node, c, (c.size, 1))
        result = elementwise(node, lambda x, y: x + y, result, c)
        if result.shape != shape:
            raise Unsupported(f"C of shape {c.shape} does not fit the product of shape {shape}")
    return converted(node, result, dtype)


def _scaled(node: Node, x: Tensor, factor: float) -> Tensor:
    return elementwise(node, lambda a, b: a * b, x, Tensor.constant(np.asarray(factor, x.dtype)), literals=factor != 0)


CONVERTERS: Mapping[str, Converter] = {
    "Gemm": _gemm,
    "MatMul": lambda node: product(node, node.input(0), node.input(1)),
}
