"""Flattens elementwise functions: one loop over all elements, whatever the axes of the tensors.

TVM simplifies the indices of each axis before it computes offsets. If no vector divides the last axis, as the channels
of many images, it then no longer sees that the offsets of a vector are consecutive, and loads element by
element: an addition of 1x74x32x24 elements took 43 us instead of 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import tvm_ffi
from tvm import ir, s_tir, te, tirx

from compiler.tvm_backend.generic_access import MOST_ELEMENTS, is_tensor, static_sizes


def flattened(function: Any) -> Any:
    """Returns a PrimFunc with flat parameters that computes the same; the function itself if it is not elementwise.

    Its only block must read and write tensors of one static shape at the position of the element, or tensors of one
    element. Callers pass the same memory: generated code does not check the ranks of its arguments.
    """
    block, parameters = _only_block(function), list(function.params)
    if block is None or not isinstance(block.body, tirx.BufferStore) or not all(map(is_tensor, parameters)):
        return function
    store: Any = block.body
    shape, axes = static_sizes(store.buffer.shape), [axis.var for axis in block.iter_vars]
    if shape is None or len(shape) < 2 or not 1 < prod(shape) <= MOST_ELEMENTS:
        return function
    *inputs, output = parameters
    if not output.same_as(store.buffer) or not _is_position(store.indices, axes, shape):
        return function
    sizes = [size for size in (static_sizes(tensor.shape) for tensor in inputs) if size is not None]
    if len(sizes) < len(inputs):
        return function
    flat: list[Any] = [
        te.placeholder((prod(shape),) if size == shape else size, tensor.dtype, tensor.name)
        for tensor, size in zip(inputs, sizes, strict=True)
    ]
    failed = False

    def element(position: Any) -> Any:
        def load(node: Any) -> Any:
            nonlocal failed
            place = next((place for place, tensor in enumerate(inputs) if tensor.same_as(node.source)), None)
            if place is not None and sizes[place] == shape and _is_position(node.indices, axes, shape):
                return flat[place](position)
            if place is not None and prod(sizes[place]) == 1:
                return flat[place](*([0] * len(sizes[place])))
            failed = True
            return node

        return tvm_ffi.structural_map(store.value, (ir.TensorLoad, load))

    answer: Any = te.compute((prod(shape),), element, name=block.name_hint)
    if failed or _uses(answer.op.body, axes):
        return function
    made = te.create_prim_func([*flat, answer])
    for name, value in (function.attrs or {}).items():
        made = made.with_attr(name, value)
    return made


def _only_block(function: Any) -> Any:
    statement = function.body.block.body if isinstance(function.body, s_tir.SBlockRealize) else None
    while isinstance(statement, tirx.For):
        statement = statement.body
    if not isinstance(statement, s_tir.SBlockRealize):
        return None
    return statement.block if all(axis.iter_type == axis.DataPar for axis in statement.block.iter_vars) else None


def _is_position(indices: Sequence[Any], axes: Sequence[Any], shape: Sequence[int]) -> bool:
    """Returns whether the indices are those of the element; an axis of one element may have the index 0."""
    return len(indices) == len(axes) and all(
        (isinstance(index, tirx.Var) and index.same_as(axis)) or (size == 1 and isinstance(index, tirx.IntImm))
        for index, axis, size in zip(indices, axes, shape, strict=True)
    )


def _uses(expressions: Sequence[Any], variables: Sequence[Any]) -> bool:
    found = False

    def visit(variable: Any) -> Any:
        nonlocal found
        found = found or any(variable.same_as(other) for other in variables)
        return variable

    for expression in expressions:
        tvm_ffi.structural_map(expression, (tirx.Var, visit))
    return found
