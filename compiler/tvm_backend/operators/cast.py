"""Conversions of element types."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from tvm import te, tirx

from compiler.program.tensor_spec import DTYPES
from compiler.tvm_backend.operators.elements import NARROW, dtype_of, elementwise, literal
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Tensor, Unsupported

# Types of ONNX that programs support.
_NAMES: Mapping[int, str] = {onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name)): name for name in DTYPES}


def named(kind: int) -> str:
    """Returns the name of a type of ONNX.

    Raises:
        Unsupported: programs do not support the type.
    """
    if kind not in _NAMES:
        name = onnx.TensorProto.DataType.Name(kind) if kind in onnx.TensorProto.DataType.values() else str(kind)
        raise Unsupported(f"elements of type {name.lower()} are not supported")
    return _NAMES[kind]


def converted(node: Node, x: Tensor, dtype: str) -> Tensor:
    """Returns the elements in another type; floats are truncated to integers."""
    if x.dtype == dtype:
        return x
    if x.array is not None:
        with np.errstate(all="ignore"):
            return Tensor.constant(x.array.astype(dtype))
    return elementwise(node, lambda value: cast_value(value, dtype), x, dtype=dtype)


def widened(node: Node, x: Tensor) -> Tensor:
    """Returns a tensor of a narrow type in float32, and any other unchanged."""
    return converted(node, x, "float32") if x.dtype in NARROW else x


def cast_value(value: Expr, dtype: str) -> Expr:
    """Returns an element in another type."""
    source = dtype_of(value)
    if dtype == "bool":
        nonzero = tirx.NE(value, literal(0, source))
        # TVM's comparisons with NaN are false.
        return tirx.Or(tirx.isnan(value), nonzero) if "float" in source else nonzero
    if "float" in source and dtype in ("int8", "int16", "uint8", "uint16", "uint32"):
        # Out of range, the hardware's conversion wraps; LLVM's to a narrow type is undefined.
        return value.astype("int64").astype(dtype)
    if "float" in source and dtype == "uint64":  # the same, but its upper half is beyond int64
        return tirx.Select(value < literal(0, source), value.astype("int64").astype(dtype), value.astype(dtype))
    return value.astype(dtype)


def _cast_node(node: Node) -> Tensor:
    to = node.attribute("to")
    if isinstance(to, str):  # opset 5 and before
        to = onnx.TensorProto.DataType.Value(to.upper())
    return converted(node, node.x, named(int(to)))


def _bit_cast(node: Node) -> Tensor:
    dtype = named(int(node.attribute("to")))
    if np.dtype(dtype).itemsize != np.dtype(node.x.dtype).itemsize:
        raise Unsupported(f"{node.x.dtype} and {dtype} differ in size")
    x = node.x

    def compute(source):
        return te.compute(x.shape, lambda *i: tirx.reinterpret(dtype, source(*i)), name="bits")

    return node.computed(compute, x)


CONVERTERS: Mapping[str, Converter] = {
    "BitCast": _bit_cast,
    "Cast": _cast_node,
    "CastLike": lambda node: converted(node, node.x, node.input(1).dtype),
}
