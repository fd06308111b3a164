"""Products of 8-bit integers are computed in float32, which has kernels and is as exact.

With whole numbers x - a and w - b, of at most 9 bits each::

    ConvInteger(x, w, a, b)    =  Cast(Round(Conv(float(x) - a, float(w) - b)))      padding, which is a, becomes 0
    MatMulInteger(x, w, a, b)  =  Cast(Round(MatMul(float(x) - a, float(w) - b)))

Sums are exact up to 2^24, above which each addition rounds. Round is for convolutions that are fast since they are not
exact, such as Winograd's: a Cast alone would make 4 of 4.9999. What was quantized just before is never written as
integers: DynamicQuantizeLinear gives x = clip(round(v / s) + a, 0, 255), so::

    float(x) - a  =  min(max(round(v / s), -a), 255 - a)

Nor is what is read as float32 again: a Cast back goes, also behind a sum with other whole numbers. Constant weights
become float32 constants. Other runtimes have kernels for integers, so this pass is not among the default ones.
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

OLDEST_OPSET = 11  # the first with DynamicQuantizeLinear; all that is written has been the same since
PRODUCTS = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
LARGEST_EXACT = 2**24  # float32 has all whole numbers up to it
WHOLE = ("Ceil", "Floor", "Round")


@dataclass(frozen=True)
class IntegerProducts(Pass):
    name: ClassVar[str] = "integer_products"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        refusal = too_old(model, OLDEST_OPSET)
        if not any(is_op(node, *PRODUCTS) for node in every_node(model)):
            return
        if refusal is not None:
            yield refusal
            return
        writing = _Writing()
        for node in every_node(model):
            if is_op(node, "DynamicQuantizeLinear"):
                writing.quantization(node)
            elif is_op(node, *PRODUCTS):
                yield from writing.product(node)
            elif is_op(node, "Add"):
                writing.sum(node)
            elif is_op(node, "Cast") and node.attributes.get_int("to", 0) == ir.DataType.FLOAT:
                writing.cast(node)
        infer_shapes(model)


@dataclass
class _Writing:
    """What is known of the values so far.

    Attributes:
        centred: by a quantized value and its zero point, their difference in float32.
        weights: likewise of constants, and by the graph that they stand in: the steps of an LSTM share theirs.
        floats: by a value of int32, the same numbers in float32.
    """

    centred: dict[tuple[ir.Value, ir.Value], ir.Value] = field(default_factory=dict)
    weights: dict[tuple[ir.Graph | None, ir.Value, ir.Value | None], ir.Value] = field(default_factory=dict)
    floats: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def quantization(self, node: ir.Node) -> None:
        """Writes out a DynamicQuantizeLinear that products read."""
        y, _, y_zero = node.outputs
        if not any(is_op(use.node, *PRODUCTS) and y_zero in use.node.inputs for use in y.uses()):
            return
        new = Replacement(node)
        x = node.inputs[0]
        least, most = new.constant("least", np.float32(0)), new.constant("most", np.float32(255))
        one = new.constant("one", np.float32(1))
        low = new.op("Min", new.op("ReduceMin", x, keepdims=0), least)
        span = new.op("Sub", new.op("Max", new.op("ReduceMax", x, keepdims=0), least), low)
        # Of zeros alone, the scale is 1 in ONNX Runtime; ONNX's own function divides 0 by 0 then.
        scale = new.op("Where", new.op("Equal", span, least), one, new.op("Div", span, most))
        zero = new.op("Round", new.op("Div", new.op("Sub", least, low), scale))
        steps = new.op("Round", new.op("Div", x, scale))
        steps = new.op("Max", steps, new.op("Sub", least, zero))
        steps = new.op("Min", steps, new.op("Sub", most, zero))
        whole = new.op("Cast", new.op("Add", steps, zero), to=ir.DataType.UINT8)
        whole_zero = new.op("Cast", zero, to=ir.DataType.UINT8)
        new.replace(whole, scale, whole_zero)
        self.centred[whole, whole_zero] = steps

    def product(self, node: ir.Node) -> Iterator[Remark]:
        new = Replacement(node)
        unknown = [
            zero for place in (0, 1) if (zero := data_input(node, place + 2)) and _zero_shape(node, place) is None
        ]
        if unknown:
            yield Remark(described(node), f"left as it is: the shape of its zero point {unknown[0].name} is unknown")
            return
        operands = [self._centred(node, new, place) for place in (0, 1)]
        attributes = {name: attribute.value for name, attribute in node.attributes.items()}
        self._put(new, new.op("Round", new.op(PRODUCTS[node.op_type], *operands, **attributes)))

    def _put(self, new: Replacement, product: ir.Value) -> None:
        """What was int32 is read from float32 where possible; the Cast goes where it always is."""
        whole = new.op("Cast", product, to=ir.DataType.INT32)
        new.replace(whole)
        self.floats[whole] = product

    def _centred(self, node: ir.Node, new: Replacement, place: int) -> ir.Value:
        """An operand less its zero point, in float32."""
        x, zero = required(node.inputs[place]), data_input(node, place + 2)
        if zero is not None and (x, zero) in self.centred:
            return self.centred[x, zero]
        shape = _zero_shape(node, place) or ()
        array, zeros = constant(x), np.zeros((), np.uint8) if zero is None else constant(zero)
        if array is not None and zeros is not None:
            key = (node.graph, x, zero)
            if key not in self.weights:
                centred = array.astype(np.float32) - zeros.astype(np.float32).reshape(shape)
                self.weights[key] = new.constant("weight", centred)
            return self.weights[key]
        x = new.op("Cast", x, to=ir.DataType.FLOAT)
        if zero is None:
            return x
        zero = new.op("Cast", zero, to=ir.DataType.FLOAT)
        return new.op("Sub", x, new.op("Reshape", zero, new.constant("zero_shape", np.array(shape, np.int64))))

    def sum(self, node: ir.Node) -> None:
        """A sum of int32 of which one operand was float32 just before."""
        if not any(value in self.floats for value in node.inputs):
            return
        new = Replacement(node)
        operands = [self._as_float(required(value), new) for value in node.inputs]
        if None not in operands:
            self._put(new, new.op("Add", *operands))

    def _as_float(self, value: ir.Value, new: Replacement) -> ir.Value | None:
        """The same whole numbers in float32, where that is exact."""
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
        if node.inputs[0] in self.floats:
            bypass(node, self.floats[node.inputs[0]])


def _zero_shape(node: ir.Node, place: int) -> tuple[int, ...] | None:
    """The shape in which the zero point of an operand is subtracted from it; None where that is unknown."""
    zero = data_input(node, place + 2)
    shape = () if zero is None else static_shape(zero)
    if shape is None or prod(shape) == 1:
        return None if shape is None else ()
    if len(shape) != 1 or (place == 1 and is_op(node, "MatMulInteger")):
        return shape  # of matrices, or one a column
    if place == 0:
        return (*shape, 1)  # one a row
    weight = node.inputs[1]
    rank = None if weight is None or weight.shape is None else len(weight.shape)
    return None if rank is None else (*shape, *[1] * (rank - 1))  # one an output channel
