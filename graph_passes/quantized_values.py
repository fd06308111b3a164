"""Rounds activations to the steps of their quantization in float32, without integers in between.

QuantizeLinear and DequantizeLinear with the same scale s and zero point a, whose type holds ``low`` to ``high``::

    DequantizeLinear(QuantizeLinear(x, s, a), s, a)  =  clip(round(x / s), low - a, high - a) s

Integers of at most 16 bits are exact in float32, so both sides are equal. (NaN, which ONNX does not define here, stays
NaN.) Other passes fold the division and the product into the weights of neighboring layers. Further rules:

- Operators between both that only move or compare elements, such as Reshape or MaxPool, move the floats.
- Values that are on the same steps already, such as those of a MaxPool between two pairs, are not rounded again.
- A Relu before a quantization whose lowest step is 0 is removed.

An integer that other nodes read becomes a Cast of the steps, unless layers of integers read it. The pass is not part of
the default passes, since other runtimes have integer kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from graph_passes.base import Pass, Remark, every_node, too_old
from graph_passes.lazy import ir
from graph_passes.patterns.layers import FusedLayer
from graph_passes.replacement import Replacement, infer_shapes
from graph_passes.values import bypass, constant, data_input, is_op, producer, required, sole_user, static_shape

OLDEST_OPSET = 13  # the first whose Clip, Max and Min are those of the later ones, with scales per channel
LIMITS: Mapping[str, tuple[int, int]] = {
    "INT8": (-128, 127),
    "UINT8": (0, 255),
    "INT16": (-32768, 32767),
    "UINT16": (0, 65535),
}


def _undilated(node: ir.Node) -> bool:
    """A dilated window may contain nothing but padding, which is another number for integers than for floats."""
    return len(node.outputs) == 1 and all(dilation == 1 for dilation in node.attributes.get_ints("dilations", ()))


def _nearest(node: ir.Node) -> bool:
    mode = node.attributes.get_string("mode", "nearest")
    crops = node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    return mode == "nearest" and not crops


def _pads_on_steps(node: ir.Node) -> bool:
    """Whether the padding is an element of the data, or 0, which is a step of every quantization."""
    value = data_input(node, 2)
    if node.attributes.get_string("mode", "constant") != "constant" or value is None:
        return True
    array = constant(value)
    return array is not None and not array.any()


def _always(_: ir.Node) -> bool:
    return True


# Operators whose output elements are elements of the input, and the forms of them for which this is so.
MOVES: Mapping[str, Callable[[ir.Node], bool]] = {
    **dict.fromkeys(("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity"), _always),
    **dict.fromkeys(("Reshape", "Slice", "SpaceToDepth", "Squeeze", "Tile", "Transpose", "Unsqueeze"), _always),
    "MaxPool": _undilated,
    "Resize": _nearest,
}
# More operators that keep floats on their steps.
KEEPS: Mapping[str, Callable[[ir.Node], bool]] = {
    **MOVES,
    **dict.fromkeys(("GlobalMaxPool", "ReduceMax", "ReduceMin", "Relu", "Split"), _always),
    "Pad": _pads_on_steps,
}


@dataclass(frozen=True)
class QuantizedValues(Pass):
    name: ClassVar[str] = "quantized_values"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        nodes = [node for node in every_node(model) if is_op(node, "DequantizeLinear")]
        if not nodes:
            return
        remark = too_old(model, OLDEST_OPSET)
        if remark is not None:
            yield remark
            return
        rounding = _Rounding()
        changed = False
        for node in every_node(model):
            if is_op(node, "DequantizeLinear"):
                changed |= rounding.dequantization(node)
            elif is_op(node, *KEEPS):
                rounding.movement(node)
        if changed:
            infer_shapes(model)


@dataclass(frozen=True)
class _Steps:
    """What a quantization rounds to.

    Attributes:
        scale: what two equal scales have in common: their numbers, or the value if it is not constant.
        zero: the zero points.
        dtype: the type of the integers.
        axis: that of the scales; None for a single scale.
        low, high: the lowest and the highest step, in multiples of the scale.
    """

    scale: object
    zero: bytes
    dtype: str
    axis: int | None
    low: np.ndarray
    high: np.ndarray

    def same(self, other: _Steps) -> bool:
        mine, others = (
            (self.scale, self.zero, self.dtype, self.axis),
            (other.scale, other.zero, other.dtype, other.axis),
        )
        return mine == others

    def contains(self, other: _Steps) -> bool:
        """Whether rounding changes no value that is on the other steps."""
        if self.scale != other.scale or self.axis is not None or other.axis is not None:
            return False
        return bool((self.low <= other.low).all() and (self.high >= other.high).all())


def _steps(node: ir.Node, dtype: ir.DataType | None) -> _Steps | None:
    """Returns the steps of a conversion from or to integers of ``dtype``; None if it has another form."""
    if dtype is None or dtype.name not in LIMITS or node.attributes.get_int("block_size", 0):
        return None
    scale, given = required(node.inputs[1]), data_input(node, 2)
    shape = static_shape(scale)
    zero = np.zeros((), np.float32) if given is None else constant(given)
    if scale.dtype != ir.DataType.FLOAT or shape is None or len(shape) > 1 or zero is None:
        return None
    size = shape[0] if shape else 1
    zero = zero.reshape(-1).astype(np.float32)
    if zero.size not in (1, size):
        return None
    numbers = constant(scale)
    axis = None
    if size != 1:
        rank = None if node.inputs[0] is None or node.inputs[0].shape is None else len(node.inputs[0].shape)
        if rank is None or numbers is None:
            return None
        axis = node.attributes.get_int("axis", 1) % rank
    low, high = LIMITS[dtype.name]
    key = scale if numbers is None else numbers.tobytes()
    return _Steps(key, zero.tobytes(), dtype.name, axis, low - zero, high - zero)


@dataclass
class _Rounding:
    """The rewriting of one model.

    Attributes:
        reals: The float32 equivalents of integers, by value and steps.
        on_steps: Floats that are multiples of a scale.
    """

    reals: dict[ir.Value, tuple[_Steps, ir.Value]] = field(default_factory=dict)
    on_steps: dict[ir.Value, _Steps] = field(default_factory=dict)

    def dequantization(self, node: ir.Node) -> bool:
        """Replaces the output by floats. Returns whether its input is quantized with the same steps."""
        x, output = required(node.inputs[0]), node.outputs[0]
        steps = _steps(node, x.dtype)
        if steps is None or output.dtype not in (None, ir.DataType.FLOAT) or not self._is_quantized(x, steps):
            return False
        real = self._real(x, steps)
        if not bypass(node, real):
            new = Replacement(node)
            new.replace(new.op("Identity", real))
        return True

    def movement(self, node: ir.Node) -> None:
        """Notes that an operator returns elements of its inputs, all of which are on the same steps."""
        data = node.inputs if is_op(node, "Concat") else node.inputs[:1]
        found = [None if value is None else self.on_steps.get(value) for value in data]
        first = found[0] if found else None
        if first is None or first.axis is not None or not KEEPS[node.op_type](node):
            return
        if all(steps is not None and steps.contains(first) and first.contains(steps) for steps in found):
            self.on_steps.update(dict.fromkeys(node.outputs, first))

    def _is_quantized(self, value: ir.Value, steps: _Steps) -> bool:
        """Returns whether a value consists of integers that QuantizeLinear made with these steps."""
        if value in self.reals:
            return self.reals[value][0].same(steps)
        node = producer(value)
        if node is not None and is_op(node, "QuantizeLinear"):
            if any((layer := FusedLayer.of(use.node)) is not None and layer.of_integers for use in value.uses()):
                return False  # there are integers in any case
            own = _steps(node, value.dtype)
            is_float = required(node.inputs[0]).dtype == ir.DataType.FLOAT
            return is_float and own is not None and own.same(steps) and not node.attributes.get_int("precision", 0)
        if node is None or steps.axis is not None or not is_op(node, *MOVES) or not MOVES[node.op_type](node):
            return False
        data = node.inputs if is_op(node, "Concat") else node.inputs[:1]
        return all(given is not None and self._is_quantized(given, steps) for given in data)

    def _real(self, value: ir.Value, steps: _Steps) -> ir.Value:
        """Returns the float32 equivalent of integers that are quantized with these steps."""
        if value in self.reals:
            return self.reals[value][1]
        node = producer(value)
        if node is None:
            raise ValueError(f"{value.name} is not quantized")
        if is_op(node, "QuantizeLinear"):
            real = self._rounded(node, steps)
        else:
            new = Replacement(node)
            count = len(node.inputs) if is_op(node, "Concat") else 1
            data = [self._real(required(given), steps) for given in node.inputs[:count]]
            attributes = {name: attribute.value for name, attribute in node.attributes.items()}
            real = new.op(node.op_type, *data, *node.inputs[count:], **attributes)
            real.shape = None if value.shape is None else value.shape.copy()
        real.type = ir.TensorType(ir.DataType.FLOAT)
        self.reals[value] = (steps, real)
        self.on_steps.setdefault(real, steps)
        return real

    def _rounded(self, node: ir.Node, steps: _Steps) -> ir.Value:
        """Returns the input of a QuantizeLinear, rounded to its steps. Its integers become a Cast of them if needed."""
        x, whole = required(node.inputs[0]), node.outputs[0]
        known = self.on_steps.get(x)
        if known is not None and steps.contains(known):
            return x
        relu = producer(x)
        if relu is not None and is_op(relu, "Relu") and sole_user(x) is node and (steps.low >= 0).all():
            x = required(relu.inputs[0])
        new = Replacement(node)
        scale = self._operand(new, node, steps, "scale", required(node.inputs[1]))
        counted = new.op("Round", new.op("Div", x, scale))
        if steps.low.size == 1:
            low, high = new.constant("low", steps.low.reshape(())), new.constant("high", steps.high.reshape(()))
            counted = new.op("Clip", counted, low, high)
        else:
            for name, op_type, array in (("low", "Max", steps.low), ("high", "Min", steps.high)):
                counted = new.op(op_type, counted, new.constant(name, _along(array, node, steps)))
        real = new.op("Mul", counted, scale)
        for made in (counted, real):
            made.shape, made.type = None if x.shape is None else x.shape.copy(), ir.TensorType(ir.DataType.FLOAT)
        if whole.is_graph_output() or any(not _reads_floats(use.node) for use in whole.uses()):
            self._keep_integers(node, new, counted, steps, real)
        return real

    def _keep_integers(self, node: ir.Node, new: Replacement, counted: ir.Value, steps: _Steps, real: ir.Value) -> None:
        """Computes the integers from the steps."""
        whole = node.outputs[0]
        zeros = np.frombuffer(steps.zero, np.float32)
        zero = zeros.reshape(()) if zeros.size == 1 else _along(zeros, node, steps)
        integers = new.op("Add", counted, new.constant("zero", zero)) if zeros.any() else counted
        cast = new.op("Cast", integers, to=ir.DataType[steps.dtype])
        cast.shape, cast.type = whole.shape, whole.type
        new.replace(cast)
        self.reals[cast] = (steps, real)

    def _operand(self, new: Replacement, node: ir.Node, steps: _Steps, name: str, scale: ir.Value) -> ir.Value:
        numbers = constant(scale)
        if numbers is None:
            return new.op("Reshape", scale, new.constant("scalar", np.array([], np.int64)))
        return new.constant(name, _along(numbers, node, steps))


def _along(numbers: np.ndarray, node: ir.Node, steps: _Steps) -> np.ndarray:
    """Returns one number per channel in a shape that broadcasts to the data."""
    shape = required(node.inputs[0]).shape
    if numbers.size == 1 or shape is None or steps.axis is None:
        return numbers.reshape(())
    return numbers.reshape(-1, *[1] * (len(shape) - 1 - steps.axis))


def _reads_floats(node: ir.Node) -> bool:
    """Whether a reader of integers is likely to read floats after the pass."""
    return is_op(node, "DequantizeLinear", *MOVES)
