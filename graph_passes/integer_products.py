"""Computes products of 8-bit integers in float32, which has kernels and is equally exact.

With integers x - a and w - b of at most 9 bits::

    ConvInteger(x, w, a, b)    =  Cast(Round(Conv(float(x) - a, float(w) - b)))      padding, which is a, becomes 0
    MatMulInteger(x, w, a, b)  =  Cast(Round(MatMul(float(x) - a, float(w) - b)))

Sums are exact up to 2^24; above, each addition rounds. Round is needed for inexact convolution algorithms such as
Winograd's: a Cast alone turns 4.9999 into 4. Values that were quantized just before are never stored as integers.
DynamicQuantizeLinear computes x = clip(round(v / s) + a, 0, 255), so::

    float(x) - a  =  min(max(round(v / s), -a), 255 - a)

A Cast of the result back to float32 is removed, also after a sum with other integers. Constant weights become float32
constants, and so do constants that a DequantizeLinear converts, such as the weights of a Conv between quantizers. The
pass is not part of the default passes, since other runtimes have integer kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

import numpy as np

from graph_passes.base import Pass, Remark, described, every_node, too_old
from graph_passes.lazy import ir
from graph_passes.replacement import Replacement, infer_shapes
from graph_passes.values import bypass, constant, data_input, is_op, producer, required, static_shape

OLDEST_OPSET = 11  # the first with DynamicQuantizeLinear; later opsets did not change the operators that are used
PRODUCTS = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
LARGEST_EXACT = 2**24  # float32 represents all integers up to it
WHOLE = ("Ceil", "Floor", "Round")


@dataclass(frozen=True)
class IntegerProducts(Pass):
    name: ClassVar[str] = "integer_products"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        remark = too_old(model, OLDEST_OPSET)
        if not any(is_op(node, *PRODUCTS, "DequantizeLinear") for node in every_node(model)):
            return
        if remark is not None:
            yield remark
            return
        writing = _Writing()
        for node in every_node(model):
            if is_op(node, "DynamicQuantizeLinear"):
                writing.quantization(node)
            elif is_op(node, *PRODUCTS):
                yield from writing.product(node)
            elif is_op(node, "DequantizeLinear"):
                writing.dequantization(node)
            elif is_op(node, "Add"):
                writing.sum(node)
            elif is_op(node, "Cast") and node.attributes.get_int("to", 0) == ir.DataType.FLOAT:
                writing.cast(node)
        infer_shapes(model)


@dataclass
class _Writing:
    """The rewriting of one model, and the float32 values that it created.

    Attributes:
        centered: The difference of a quantized value and its zero point in float32, by both.
        weights: The same for constants, by graph, weight and zero point. The steps of an LSTM share weights.
        floats: The float32 equivalent of an int32 value.
    """

    centered: dict[tuple[ir.Value, ir.Value], ir.Value] = field(default_factory=dict)
    weights: dict[tuple[ir.Graph | None, ir.Value, ir.Value | None], ir.Value] = field(default_factory=dict)
    floats: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def quantization(self, node: ir.Node) -> None:
        """Replaces a DynamicQuantizeLinear with products as readers by float32 operators."""
        y, _, y_zero = node.outputs
        if not any(is_op(use.node, *PRODUCTS) and y_zero in use.node.inputs for use in y.uses()):
            return
        new = Replacement(node)
        x = node.inputs[0]
        least, most = new.constant("least", np.float32(0)), new.constant("most", np.float32(255))
        one = new.constant("one", np.float32(1))
        low = new.op("Min", new.op("ReduceMin", x, keepdims=0), least)
        span = new.op("Sub", new.op("Max", new.op("ReduceMax", x, keepdims=0), least), low)
        # If all elements are zero, the scale is 1 as in ONNX Runtime; the function body in ONNX divides 0 by 0.
        scale = new.op("Where", new.op("Equal", span, least), one, new.op("Div", span, most))
        zero = new.op("Round", new.op("Div", new.op("Sub", least, low), scale))
        steps = new.op("Round", new.op("Div", x, scale))
        steps = new.op("Max", steps, new.op("Sub", least, zero))
        steps = new.op("Min", steps, new.op("Sub", most, zero))
        whole = new.op("Cast", new.op("Add", steps, zero), to=ir.DataType.UINT8)
        whole_zero = new.op("Cast", zero, to=ir.DataType.UINT8)
        new.replace(whole, scale, whole_zero)
        self.centered[whole, whole_zero] = steps

    def product(self, node: ir.Node) -> Iterator[Remark]:
        """Replaces an integer product by a float32 product."""
        new = Replacement(node)
        unknown = [
            zero for place in (0, 1) if (zero := data_input(node, place + 2)) and _zero_shape(node, place) is None
        ]
        if unknown:
            yield Remark(described(node), f"not replaced: the shape of its zero point {unknown[0].name} is unknown")
            return
        operands = [self._centered(node, new, place) for place in (0, 1)]
        attributes = {name: attribute.value for name, attribute in node.attributes.items()}
        self._put(new, new.op("Round", new.op(PRODUCTS[node.op_type], *operands, **attributes)))

    def dequantization(self, node: ir.Node) -> None:
        """Replaces the conversion of a constant by a constant."""
        output = node.outputs[0]
        array = None if output.is_graph_output() else _dequantized(node)
        if array is not None:
            new = Replacement(node)
            new.replace(new.constant("real", array))

    def _put(self, new: Replacement, product: ir.Value) -> None:
        """Replaces an int32 output by a Cast of ``product``. Readers that accept float32 read ``product`` instead."""
        whole = new.op("Cast", product, to=ir.DataType.INT32)
        new.replace(whole)
        self.floats[whole] = product

    def _centered(self, node: ir.Node, new: Replacement, place: int) -> ir.Value:
        """Returns an operand minus its zero point, in float32."""
        x, zero = required(node.inputs[place]), data_input(node, place + 2)
        if zero is not None and (x, zero) in self.centered:
            return self.centered[x, zero]
        shape = _zero_shape(node, place) or ()
        array, zeros = constant(x), np.zeros((), np.uint8) if zero is None else constant(zero)
        if array is not None and zeros is not None:
            key = (node.graph, x, zero)
            if key not in self.weights:
                centered = array.astype(np.float32) - zeros.astype(np.float32).reshape(shape)
                self.weights[key] = new.constant("weight", centered)
            return self.weights[key]
        x = new.op("Cast", x, to=ir.DataType.FLOAT)
        if zero is None:
            return x
        zero = new.op("Cast", zero, to=ir.DataType.FLOAT)
        return new.op("Sub", x, new.op("Reshape", zero, new.constant("zero_shape", np.array(shape, np.int64))))

    def sum(self, node: ir.Node) -> None:
        """Replaces an int32 sum by a float32 sum if both operands have float32 equivalents."""
        if not any(value in self.floats for value in node.inputs):
            return
        new = Replacement(node)
        operands = [self._as_float(required(value), new) for value in node.inputs]
        if None not in operands:
            self._put(new, new.op("Add", *operands))

    def _as_float(self, value: ir.Value, new: Replacement) -> ir.Value | None:
        """Returns the float32 equivalent of an int32 value; None if it is unknown or not exact."""
        if value in self.floats:
            return self.floats[value]
        array = constant(value)
        if array is not None and np.abs(array.astype(np.int64)).max(initial=0) <= LARGEST_EXACT:
            return new.constant("float", array.astype(np.float32))
        node = producer(value)
        if node is not None and is_op(node, "Cast") and is_op(producer(node.inputs[0]), *WHOLE):
            whole = required(node.inputs[0])
            return whole if whole.dtype == ir.DataType.FLOAT else None
        if node is not None and is_op(node, "Reshape"):
            whole = self._as_float(required(node.inputs[0]), new)
            return None if whole is None else new.op("Reshape", whole, node.inputs[1])
        return None

    def cast(self, node: ir.Node) -> None:
        """Removes a Cast to float32 of a value with a float32 equivalent."""
        if node.inputs[0] in self.floats:
            bypass(node, self.floats[node.inputs[0]])


def _dequantized(node: ir.Node) -> np.ndarray | None:
    """Returns a constant that a DequantizeLinear converts, in float32; None if it is not constant."""
    given = [constant(value) for value in node.inputs if value is not None]
    if any(array is None for array in given) or node.outputs[0].dtype not in (None, ir.DataType.FLOAT):
        return None
    x, scale, *zeros = (array for array in given if array is not None)
    if scale.dtype != np.float32 or x.dtype.kind not in "iuV":
        return None
    zero = zeros[0] if zeros else np.zeros(scale.shape, np.int32)
    if scale.size == 1:
        scale, zero = scale.reshape(()), zero.reshape(())
    elif scale.ndim != 1 or zero.shape != scale.shape or node.attributes.get_int("block_size", 0):
        return None
    else:
        axis = node.attributes.get_int("axis", 1)
        if not -x.ndim <= axis < x.ndim or x.shape[axis] != scale.size:
            return None
        along = [-1 if place == axis % x.ndim else 1 for place in range(x.ndim)]
        scale, zero = scale.reshape(along), zero.reshape(along)
    return (x.astype(np.int64) - zero.astype(np.int64)).astype(np.float32) * scale


def _zero_shape(node: ir.Node, place: int) -> tuple[int, ...] | None:
    """Returns the shape in which a zero point broadcasts to its operand; None if it is unknown."""
    zero = data_input(node, place + 2)
    shape = () if zero is None else static_shape(zero)
    if shape is None or prod(shape) == 1:
        return None if shape is None else ()
    if len(shape) != 1 or (place == 1 and is_op(node, "MatMulInteger")):
        return shape  # of matrices, or one number per column
    if place == 0:
        return (*shape, 1)  # one number per row
    weight = node.inputs[1]
    rank = None if weight is None or weight.shape is None else len(weight.shape)
    return None if rank is None else (*shape, *[1] * (rank - 1))  # one number per output channel
