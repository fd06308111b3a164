"""Indices of 32 bits for functions with partial loops: TVM does not partition loops over 64 bits."""

from __future__ import annotations

from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import ir, tirx

from compiler.tvm_backend.generic_access import MOST_ELEMENTS, is_tensor, static_sizes

PARTITION = "pragma_loop_partition_hint"  # annotation of a loop: TVM peels the last, partial iteration
_WIDE = ("int64", "uint64")


def narrowed(function: Any) -> Any:
    """Returns a function whose loops and indices have 32 bits if it has a loop to partition and is narrowable."""
    if not _is_partitioned(function) or not is_narrowable(function):
        return function
    module = tirx.transform.ForceNarrowIndexToInt32()(tvm.IRModule({"main": function}))
    return module["main"]


def is_narrowable(function: Any) -> bool:
    """Whether 32 bits count the elements of all tensors, and no integer of 64 bits is among them."""
    return all(map(_is_narrow, function.params)) and not _has_wide_values(function)


def _is_partitioned(function: Any) -> bool:
    found: list[Any] = []

    tvm_ffi.structural_walk(
        function.body, (tirx.For, lambda loop: found.append(loop) if PARTITION in loop.annotations else None)
    )
    return bool(found)


def _is_narrow(parameter: Any) -> bool:
    """Whether a parameter is a tensor of a static shape with few elements, which are not integers of 64 bits."""
    sizes = static_sizes(parameter.shape) if is_tensor(parameter) else None
    return sizes is not None and prod(sizes) <= MOST_ELEMENTS and str(parameter.dtype) not in _WIDE


def _has_wide_values(function: Any) -> bool:
    """Whether the function computes integers of 64 bits from others, or reads them from intermediate buffers."""
    found: list[Any] = []

    def note(node: Any) -> None:
        if str(node.ty) in _WIDE:
            found.append(node)

    tvm_ffi.structural_walk(function.body, (tirx.Cast, note))
    tvm_ffi.structural_walk(function.body, (ir.TensorLoad, note))
    return bool(found)
