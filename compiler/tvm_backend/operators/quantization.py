"""Conversions between floats and integers with a scale, and products of quantized tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import te, tirx

from compiler.tvm_backend.operators.binary import reshaped
from compiler.tvm_backend.operators.cast import converted, named
from compiler.tvm_backend.operators.convolution import windowed, with_bias
from compiler.tvm_backend.operators.elements import dtype_of, elementwise, literal, widened
from compiler.tvm_backend.operators.linear import product
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Shape, Tensor, Unsupported, checked_axis
from compiler.tvm_backend.operators.reductions import max_of, min_of, over


def _place(node: Node, parameter: Tensor, shape: Shape) -> Callable[[Any, tuple[Expr, ...]], Expr]:
    """Returns how the parameter of an element is read: one for all, one per index of an axis, or one per block."""
    if parameter.size == 1:
        return lambda tensor, _index: tensor(*(0 for _ in tensor.shape))
    axis = checked_axis(int(node.attribute("axis", 1)), len(shape))
    block = int(node.attribute("block_size", 0))
    if parameter.rank == 1 and not block:
        if parameter.size != shape[axis]:
            raise Unsupported(f"{parameter.size} scales do not fit axis {axis} of size {shape[axis]}")
        return lambda tensor, index: tensor(index[axis])
    if not block or parameter.rank != len(shape):
        raise Unsupported(f"scales of shape {parameter.shape} do not fit data of shape {shape}")
    blocks = tuple(-(-size // block) if a == axis else size for a, size in enumerate(shape))
    if parameter.shape != blocks:
        raise Unsupported(f"scales of shape {parameter.shape} do not fit blocks of {block} in data of shape {shape}")
    return lambda tensor, index: tensor(*(tirx.floordiv(i, block) if a == axis else i for a, i in enumerate(index)))


def _check_zero(scale: Tensor, zero: Tensor | None) -> None:
    if zero is not None and zero.shape != scale.shape and not zero.size == scale.size == 1:
        raise Unsupported(f"a zero point of shape {zero.shape} does not fit a scale of shape {scale.shape}")


def _limits(dtype: str) -> tuple[int, int]:
    if np.dtype(dtype).kind not in "iu":
        raise Unsupported(f"quantization to {dtype} is not supported")
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def rounded(value: Expr, zero: Expr, dtype: str) -> Expr:
    """Returns a float rounded to an integer type: to even, shifted by the zero point, and saturated.

    NaN becomes the lower limit, as in ONNX Runtime. Each step reads the one before once: a Select would repeat it, and
    the code of a series of quantizations would grow exponentially.
    """
    low, high = _limits(dtype)
    wide = dtype_of(value)
    shifted: Any = tirx.nearbyint(value) + zero
    bounded: Any = tirx.min(tirx.max(shifted, literal(low, wide)), literal(high, wide))
    return bounded.astype("int32").astype(dtype)


def _quantize(node: Node) -> Tensor:
    x, scale, zero = node.x, node.input(1), node.optional(2)
    if zero is not None:
        dtype = zero.dtype
    else:
        dtype = named(int(node.attributes["output_dtype"])) if node.attribute("output_dtype", 0) else "uint8"
    place = _place(node, scale, x.shape)
    _check_zero(scale, zero)
    _limits(dtype)

    def compute(data: Any, scales: Any, *zeros: Any) -> Any:
        def element(*index: Expr) -> Expr:
            value = widened(data(*index))
            value = value.astype("float32") if "int" in dtype_of(value) else value
            offset = place(zeros[0], index).astype(dtype_of(value)) if zeros else literal(0, dtype_of(value))
            return rounded(tirx.div(value, widened(place(scales, index)).astype(dtype_of(value))), offset, dtype)

        return te.compute(x.shape, element, name="quantize")

    return node.computed(compute, x, scale, *([zero] if zero is not None else []))


def _dequantize(node: Node) -> Tensor:
    x, scale, zero = node.x, node.input(1), node.optional(2)
    place = _place(node, scale, x.shape)
    _check_zero(scale, zero)
    dtype = named(int(node.attributes["output_dtype"])) if node.attribute("output_dtype", 0) else scale.dtype

    def compute(data: Any, scales: Any, *zeros: Any) -> Any:
        def element(*index: Expr) -> Expr:
            value = data(*index).astype("int32")
            value = value - place(zeros[0], index).astype("int32") if zeros else value
            factor = widened(place(scales, index))
            return (value.astype(dtype_of(factor)) * factor).astype(dtype)

        return te.compute(x.shape, element, name="dequantize")

    return node.computed(compute, x, scale, *([zero] if zero is not None else []))


def _dynamic_quantize(node: Node) -> list[Tensor]:
    """Chooses scale and zero point so that 0 and all elements are within 0 to 255."""
    x = node.x
    axes = list(range(x.rank))
    if not x.size:
        raise Unsupported("the data have no elements")

    def parameters(data: Any) -> Any:
        low = over(x.shape, axes, min_of, lambda *i: data(*i), "low")
        high = over(x.shape, axes, max_of, lambda *i: data(*i), "high")
        zero = literal(0, "float32")

        def bounds(index: tuple[Expr, ...]) -> tuple[Expr, Expr]:
            smallest, largest = low(*index), high(*index)
            return tirx.Select(smallest > zero, zero, smallest), tirx.Select(largest < zero, zero, largest)

        def scale(*index: Expr) -> Expr:
            smallest, largest = bounds(index)
            span = tirx.div(largest - smallest, literal(255, "float32"))
            return tirx.Select(tirx.EQ(span, zero), literal(1, "float32"), span)  # of zeros, as in ONNX Runtime

        scales: Any = te.compute(low.shape, scale, name="scale")

        def offset(*index: Expr) -> Expr:
            return rounded(tirx.div(bounds(index)[0] * literal(-1, "float32"), scales(*index)), zero, "uint8")

        return [scales, te.compute(low.shape, offset, name="zero_point")]

    scale, zero = (reshaped(node, tensor, ()) for tensor in node.computed(parameters, x))

    def quantized(value: Expr, by: Expr, offset: Expr) -> Expr:
        return rounded(tirx.div(value, by), offset.astype("float32"), "uint8")

    return [elementwise(node, quantized, x, scale, zero, dtype="uint8", literals=False), scale, zero]


def _shifted(node: Node, x: Tensor, zero: Tensor | None, axis: int | None = None) -> Tensor:
    """Returns the integers in int32 without their zero point, which may be one per index of an axis."""
    if zero is None:
        return converted(node, x, "int32")
    if axis is not None and zero.size > 1:
        sizes = [1] * x.rank
        sizes[axis] = zero.size
        zero = reshaped(node, zero, sizes)
    elif zero.size == 1:
        zero = reshaped(node, zero, ())
    return elementwise(node, lambda a, b: a.astype("int32") - b.astype("int32"), x, zero, dtype="int32")


def _matmul_integer(node: Node) -> Tensor:
    a, b = node.input(0), node.input(1)
    return _integer_product(node, a, node.optional(2), b, node.optional(3))


def _integer_product(node: Node, a: Tensor, a_zero: Tensor | None, b: Tensor, b_zero: Tensor | None) -> Tensor:
    rows = a.rank - 2 if a.rank > 1 else None
    left = _shifted(node, a, a_zero, rows)
    return product(node, left, _shifted(node, b, b_zero, b.rank - 1))


def _conv_integer(node: Node) -> Tensor:
    x = _shifted(node, node.input(0), node.optional(2))
    return windowed(node, x, _shifted(node, node.input(1), node.optional(3), 0))


def _requantized(
    node: Node, total: Tensor, scales: tuple[Tensor, Tensor, Tensor], zero: Tensor, channel_axis: int
) -> Tensor:
    """Returns int32 sums in the scale and the type of the output."""

    def fitted(parameter: Tensor) -> Tensor:
        if parameter.size == 1:
            return reshaped(node, parameter, ())
        if parameter.size != total.shape[channel_axis]:
            raise Unsupported(f"{parameter.size} scales do not fit {total.shape[channel_axis]} channels")
        sizes = [1] * total.rank
        sizes[channel_axis] = parameter.size
        return reshaped(node, parameter, sizes)

    def result(value: Expr, a: Expr, b: Expr, y: Expr, offset: Expr) -> Expr:
        factor = tirx.div(a.astype("float32") * b.astype("float32"), y.astype("float32"))
        return rounded(value.astype("float32") * factor, offset.astype("float32"), zero.dtype)

    tensors = [total, *map(fitted, (*scales, zero))]
    return elementwise(node, result, *tensors, dtype=zero.dtype, literals=False)


def _qlinear_conv(node: Node) -> Tensor:
    x, x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero = (node.input(i) for i in range(8))
    total = windowed(node, _shifted(node, x, x_zero), _shifted(node, weight, w_zero, 0))
    return _requantized(node, with_bias(node, total, node.optional(8)), (x_scale, w_scale, y_scale), y_zero, 1)


def _qlinear_matmul(node: Node) -> Tensor:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = (node.input(i) for i in range(8))
    for parameter in (a_scale, a_zero):
        if parameter.size != 1:
            raise Unsupported("the first matrix must have one scale and one zero point")
    total = _integer_product(node, a, a_zero, b, b_zero)
    return _requantized(node, total, (a_scale, b_scale, y_scale), y_zero, total.rank - 1)


CONVERTERS: Mapping[str, Converter] = {
    "ConvInteger": _conv_integer,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize,
}
