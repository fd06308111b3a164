"""Conversions of element types."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from tvm import te, tirx

from compiler.tvm_backend.operators.elements import dtype_of, elementwise, literal
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Tensor, Unsupported

# Types of ONNX that programs support.
DTYPES: Mapping[int, str] = {
    kind: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)).name
    for kind in (
        *(onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BOOL),
        *(onnx.TensorProto.INT8, onnx.TensorProto.INT16, onnx.TensorProto.INT32, onnx.TensorProto.INT64),
        *(onnx.TensorProto.UINT8, onnx.TensorProto.UINT16, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64),
    )
}


def named(kind: int) -> str:
    """Returns the name of a type of ONNX.

    Raises:
        Unsupported: programs do not support the type.
    """
    if kind not in DTYPES:
        name = onnx.TensorProto.DataType.Name(kind) if kind in onnx.TensorProto.DataType.values() else str(kind)
        raise Unsupported(f"elements of type {name.lower()} are not supported")
    return DTYPES[kind]


def converted(node: Node, x: Tensor, dtype: str) -> Tensor:
    """Returns the elements in another type; floats are truncated to integers."""
    if x.dtype == dtype:
        return x
    if x.array is not None:
        with np.errstate(all="ignore"):
            return Tensor.constant(x.array.astype(dtype))
    return elementwise(node, lambda value: _cast(value, dtype), x, dtype=dtype)


def _cast(value: Expr, dtype: str) -> Expr:
    source = dtype_of(value)
    if dtype == "bool":
        nonzero = tirx.NE(value, literal(0, source))
        # TVM's comparisons with NaN are false.
        return tirx.Or(tirx.isnan(value), nonzero) if "float" in source else nonzero
    if "float" in source and dtype in ("int8", "int16", "uint8", "uint16", "uint32"):
        # Out of range, the hardware's conversion wraps; LLVM's to a narrow type is undefined.
        return value.astype("int64").astype(dtype)
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
