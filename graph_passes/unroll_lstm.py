"""Unrolls an LSTM into standard operators, step by step (Hochreiter and Schmidhuber, 1997).

::

    i, o, f, c~  =  x[t] W + h R + b         the products with W for all steps at once
    c  =  sigmoid(f) c + sigmoid(i) tanh(c~)
    h  =  sigmoid(o) tanh(c)                 y[t] = h; in the reverse direction t decreases

The pass is for importers that support neither loops nor LSTM. ``com.microsoft.DynamicQuantizeLSTM``, which ONNX
Runtime's quantizer creates from an LSTM, quantizes x once for all steps, and h in each step::

    x W  =  MatMulInteger(DynamicQuantizeLinear(x), W) scale(x) scale(W)

A model grows by about 20 nodes per step and direction, so this pass is not part of the default passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

import numpy as np

from graph_passes.base import Pass, Remark, described, every_node, too_old
from graph_passes.lazy import ir
from graph_passes.replacement import Replacement, infer_shapes
from graph_passes.values import constant, data_input, is_op, known_shape, producer, required, static_shape

OLDEST_OPSET = 11  # the first with DynamicQuantizeLinear; later opsets did not change the operators that are used
DIRECTIONS: Mapping[str, Sequence[bool]] = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_ACTIVATIONS = ("sigmoid", "tanh", "tanh")


@dataclass(frozen=True)
class UnrollLstm(Pass):
    name: ClassVar[str] = "unroll_lstm"
    longest: int = field(default=128, metadata={"help": "steps above which an LSTM is not unrolled"})

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        nodes = [node for node in every_node(model) if _is_lstm(node)]
        remark = too_old(model, OLDEST_OPSET) if nodes else None
        if remark is not None:
            yield remark
            return
        for node in nodes:
            # The input of an LSTM after another LSTM has a known shape only once the first one is unrolled.
            obstacle = _obstacle(node, self.longest)
            if obstacle:
                yield Remark(described(node), f"not unrolled: {obstacle}")
                continue
            _unroll(node)
            infer_shapes(model)


def _is_lstm(node: ir.Node) -> bool:
    return is_op(node, "LSTM") or _is_quantized(node)


def _is_quantized(node: ir.Node) -> bool:
    return node.domain == "com.microsoft" and node.op_type == "DynamicQuantizeLSTM"


def _directions(node: ir.Node) -> Sequence[bool]:
    """Returns, for each direction, whether it is the reverse direction."""
    return DIRECTIONS.get(node.attributes.get_string("direction", "forward") or "", ())


def _obstacle(node: ir.Node, longest: int) -> str | None:
    """Returns why an LSTM cannot be unrolled; None if it can."""
    attributes = node.attributes
    directions = _directions(node)
    shape = static_shape(node.inputs[0])
    activations = attributes.get_strings("activations", ())
    if not directions:
        return "its direction is unknown"
    if activations and [name.lower() for name in activations] != [*_ACTIVATIONS] * len(directions):
        return f"its activations are {', '.join(activations)}"
    if attributes.get_float("clip", None) is not None or attributes.get_int("input_forget", 0):
        return "it clips its gates or couples them"
    if attributes.get_int("layout", 0):
        return "its batch comes first"
    if data_input(node, 4) is not None or data_input(node, 7) is not None:
        return "it has peepholes, or sequences of several lengths"
    places = (1, 2, *([3] if data_input(node, 3) is not None else []), *((8, 9, 10, 11) if _is_quantized(node) else ()))
    if any(constant(data_input(node, place)) is None for place in places):
        return "its weights are not constant"
    if shape is None:
        return "its number of steps is unknown"
    if shape[0] > longest:
        return f"it has {shape[0]} steps, more than {longest}"
    return None


def _unroll(node: ir.Node) -> None:
    writing = _Writing(Replacement(node), node)
    answers = [writing.direction(place, reverse) for place, reverse in enumerate(_directions(node))]
    hs, last_h, last_c = zip(*answers, strict=True)
    joined = [writing.new.op("Concat", *parts, axis=axis) for parts, axis in ((hs, 1), (last_h, 0), (last_c, 0))]
    writing.new.replace(*joined)


class _Writing:
    """Unrolls one LSTM of T steps, batch size B and H numbers per state."""

    def __init__(self, new: Replacement, node: ir.Node) -> None:
        self.new, self._node = new, node
        # Created once for both directions and all slices.
        self._quantized = cache(lambda x: new.many("DynamicQuantizeLinear", [x], 3))
        self._index = cache(lambda number: new.constant(f"at_{number}", np.array([number], np.int64)))

    def direction(self, place: int, reverse: bool) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Adds all steps of one direction. Returns every h (T, 1, B, H), the last h and the last c (1, B, H)."""
        new, x = self.new, required(self._node.inputs[0])
        steps, batch, _ = known_shape(x)
        times_w, times_r = (self._product(index, place) for index in (1, 2))
        size = min(self._weight(2).shape[1:])  # of (H, 4 H) or (4 H, H)
        biases = self._weight(3)[place] if data_input(self._node, 3) is not None else None
        bias = None if biases is None else new.constant("bias", biases.reshape(2, -1).sum(0))
        all_gates = times_w(x)
        h, c = (self._initial(index, place) for index in (5, 6))
        hs: dict[int, ir.Value] = {}
        for t in reversed(range(steps)) if reverse else range(steps):
            gates = self._slice(all_gates, t, t + 1, 0)
            # ONNX Runtime adds in this order. Another order could round an h to another quantized step.
            gates = gates if h is None else new.op("Add", times_r(h), gates)
            gates = gates if bias is None else new.op("Add", gates, bias)
            h, c = self._step(gates, c, size)
            hs[t] = h
        shape = new.constant("shape", np.array([steps, 1, batch, size], np.int64))
        joined = new.op("Concat", *(hs[t] for t in range(steps)), axis=0)
        return new.op("Reshape", joined, shape), required(h), required(c)

    def _step(self, gates: ir.Value, c: ir.Value | None, size: int) -> tuple[ir.Value, ir.Value]:
        """Adds one step. Returns h and c after it; None for the previous c means zeros."""
        op = self.new.op
        i, o, f, candidate = (self._slice(gates, gate * size, (gate + 1) * size, 2) for gate in range(4))
        renewed = op("Mul", op("Sigmoid", i), op("Tanh", candidate))
        if c is not None:
            renewed = op("Add", op("Mul", op("Sigmoid", f), c), renewed)
        return op("Mul", op("Sigmoid", o), op("Tanh", renewed)), renewed

    def _product(self, index: int, place: int) -> Callable[[ir.Value], ir.Value]:
        """Returns a function that adds the product of its argument with W or R of one direction."""
        op, weight = self.new.op, self._weight(index)[place]
        name = ("x", "w", "r")[index]
        if not _is_quantized(self._node):
            transposed = self.new.constant(name, weight.T)
            return lambda x: op("MatMul", x, transposed)
        scale, zero = (self._weight(2 * index + offset)[place] for offset in (6, 7))
        whole = self.new.constant(name, weight)
        whole_scale = self.new.constant(f"{name}_scale", scale)
        whole_zero = self.new.constant(f"{name}_zero", zero.reshape(-1)[0])  # the same for all columns

        def times(x: ir.Value) -> ir.Value:
            y, y_scale, y_zero = self._quantized(x)
            sums = op("Cast", op("MatMulInteger", y, whole, y_zero, whole_zero), to=ir.DataType.FLOAT)
            return op("Mul", sums, op("Mul", y_scale, whole_scale))

        return times

    def _weight(self, index: int) -> np.ndarray:
        """Returns a constant input. _obstacle has checked that it is constant."""
        array = constant(self._node.inputs[index])
        if array is None:
            raise ValueError(f"{described(self._node)} has no constant input {index}")
        return array

    def _initial(self, index: int, place: int) -> ir.Value | None:
        """Returns the initial h or c of a direction (1, B, H); None if it is zero."""
        state = data_input(self._node, index)
        return None if state is None or _is_zeros(state) else self._slice(state, place, place + 1, 0)

    def _slice(self, x: ir.Value, start: int, end: int, axis: int) -> ir.Value:
        return self.new.op("Slice", x, *map(self._index, (start, end, axis)))


def _is_zeros(value: ir.Value) -> bool:
    array, node = constant(value), producer(value)
    if node is not None and is_op(node, "ConstantOfShape"):
        fill = node.attributes.get("value")
        array = np.zeros(1) if fill is None else fill.as_tensor().numpy()
    return array is not None and not array.any()
