"""Checks of indices: code that reads or writes at them would leave the tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import tirx
from tvm.ir import StringImm

from compiler.tvm_backend.operators.elements import elementwise, literal
from compiler.tvm_backend.operators.node import Node, Tensor, Unsupported, shape_expr


def checked(node: Node, indices: Tensor, limits: Sequence[int]) -> Tensor:
    """Returns indices from 0 to the limit, which negative ones count from.

    Args:
        limits: one for all indices, or one for each element of their last axis.

    Raises:
        Unsupported: a constant index is out of range. For other indices, the program raises ValueError.
    """
    if indices.array is None:
        if indices.size and min(limits) == 0:
            raise Unsupported("it reads an axis of size 0, which has no valid index")
        return node.called("loopwright.checked_indices", [indices, shape_expr(limits), StringImm(str(node))], indices)
    array = indices.array
    bounds = np.asarray(limits if len(limits) > 1 else limits[0], np.int64)
    wrong = (array < -bounds) | (array >= bounds)
    if wrong.any():
        bound = np.broadcast_to(bounds, array.shape)[wrong].reshape(-1)[0]
        index = array[wrong].reshape(-1)[0]
        raise Unsupported(
            f"index {index} is out of range for an axis of size {bound}; it must be from {-bound} to {bound - 1}"
        )
    return Tensor.constant(np.where(array < 0, array + bounds, array).astype(array.dtype))


def without_negative(node: Node, indices: Tensor) -> Tensor:
    """Makes negative indices fail :func:`checked`, which would take them to count from the end."""
    dtype = indices.dtype
    zero, highest = literal(0, dtype), literal(int(np.iinfo(dtype).max), dtype)
    if indices.array is not None:
        return Tensor.constant(np.where(indices.array < 0, np.iinfo(dtype).max, indices.array).astype(dtype))
    return elementwise(node, lambda i: tirx.Select(i < zero, highest, i), indices, literals=False)
