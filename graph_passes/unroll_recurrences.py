"""Unrolls LSTM, GRU and RNN into standard operators, step by step.

::

    LSTM   i, o, f, c~ = x[t] W + h R + b      c = sigmoid(f) c + sigmoid(i) tanh(c~)    h = sigmoid(o) tanh(c)
    GRU    z, r = sigmoid(x[t] W + h R + b)    h~ = tanh(x[t] W + (r h) R + b)           h = (1 - z) h~ + z h
    RNN    h = tanh(x[t] W + h R + b)

The products with W are computed for all steps at once. In the reverse direction t decreases. The pass is for importers
that support neither loops nor recurrent operators. It supports every form of the three operators: directions,
activations, peepholes, initial states, sequences of different lengths, and weights that are not constant. After its
last step, a sequence keeps its state, and its outputs are zero.

A model grows by 10 to 20 nodes per step and direction, so this pass is not part of the default passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

import numpy as np

from graph_passes.base import Pass, Remark, described, every_node, too_old
from graph_passes.lazy import ir
from graph_passes.recurrences.cells import Cell, State, Weights
from graph_passes.recurrences.form import GATES, Form, form_of
from graph_passes.replacement import Replacement, infer_shapes
from graph_passes.values import constant, data_input, is_op, required, static_shape

OLDEST_OPSET = 18  # in which Split takes a number of parts


@dataclass(frozen=True)
class UnrollRecurrences(Pass):
    name: ClassVar[str] = "unroll_recurrences"
    longest: int = field(default=512, metadata={"help": "steps above which a recurrence is not unrolled"})

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        nodes = [node for node in every_node(model) if is_op(node, *GATES)]
        remark = too_old(model, OLDEST_OPSET) if nodes else None
        if remark is not None:
            yield remark
            return
        for node in nodes:
            # The input of an LSTM after another one has a known shape only once the first one is unrolled.
            form = form_of(node)
            obstacle = form if isinstance(form, str) else _obstacle(node, form, self.longest)
            if obstacle:
                yield Remark(described(node), f"not unrolled: {obstacle}")
            elif isinstance(form, Form):
                _Unrolling(node, form).replace()
                infer_shapes(model)


def _obstacle(node: ir.Node, form: Form, longest: int) -> str | None:
    """Returns why a recurrence cannot be unrolled; None if it can."""
    steps, hidden = _steps(node, form), _hidden(node)
    if steps is None:
        return "its number of steps is unknown"
    if steps > longest:
        return f"it has {steps} steps, more than {longest}"
    if steps == 0:
        return "it has no steps"
    return "its number of units is unknown" if hidden is None else None


def _steps(node: ir.Node, form: Form) -> int | None:
    shape = required(node.inputs[0]).shape
    size = None if shape is None or len(shape) != 3 else shape[1 if form.batch_first else 0]
    return size if isinstance(size, int) else None


def _hidden(node: ir.Node) -> int | None:
    """Returns the number of units: the last axis of R."""
    shape = static_shape(data_input(node, 2))
    return shape[-1] if shape else node.attributes.get_int("hidden_size", 0) or None


class _Unrolling:
    """Unrolls one recurrence of T steps, batch size B and H units, with G gates."""

    def __init__(self, node: ir.Node, form: Form) -> None:
        self._node, self._form = node, form
        self._new = Replacement(node)
        self._steps = _steps(node, form) or 0
        self._hidden = _hidden(node) or 0
        x = required(node.inputs[0])
        self._x = self._new.op("Transpose", x, perm=(1, 0, 2)) if form.batch_first else x
        dtype = required(node.inputs[1]).dtype or ir.DataType.FLOAT
        self._number = cache(lambda number: self._new.constant("number", np.array(number, dtype.numpy())))
        self._integers = cache(lambda *numbers: self._new.constant("at", np.array(numbers, np.int64)))
        self._running = self._masks()

    def replace(self) -> None:
        """Replaces the node by its steps."""
        answers = [self._direction(place, reverse) for place, reverse in enumerate(self._form.directions)]
        op = self._new.op
        hs, *states = (
            parts[0] if len(parts) == 1 else op("Concat", *parts, axis=axis)
            for parts, axis in zip(zip(*answers, strict=True), (1, 0, 0), strict=False)
        )
        if self._form.batch_first:
            hs = op("Transpose", hs, perm=(2, 0, 1, 3))
            states = [op("Transpose", state, perm=(1, 0, 2)) for state in states]
        # Outputs take over names, so no two may be the same value.
        self._new.replace(hs, *(op("Identity", state) for state in states))

    def _masks(self) -> list[ir.Value] | None:
        """Returns, for each step, which sequences have not ended (1, B, 1); None if all have the same length."""
        lengths = data_input(self._node, 4)
        if lengths is None:
            return None
        known = constant(lengths)
        if known is not None and (known == self._steps).all():
            return None
        op = self._new.op
        wide = op("Reshape", op("Cast", lengths, to=ir.DataType.INT64), self._integers(1, -1, 1))
        return [op("Less", self._integers(t), wide) for t in range(self._steps)]

    def _direction(self, place: int, reverse: bool) -> tuple[ir.Value, ...]:
        """Adds all steps of one direction. Returns every h (T, 1, B, H) and the last states (1, B, H)."""
        op, steps = self._new.op, self._steps
        weights, bias = self._weights(place)
        products = op("MatMul", self._x, self._transposed(self._part(1, place)))
        products = products if bias is None else op("Add", products, bias)
        xs = [products] if steps == 1 else self._new.many("Split", [products], steps, axis=0, num_outputs=steps)
        cell = Cell(self._new, self._form, self._form.activations[place], weights, self._number)
        state: State = tuple(
            self._initial(index, place) for index in ((5, 6) if self._form.operator == "LSTM" else (5,))
        )
        hs: dict[int, ir.Value] = {}
        for t in reversed(range(steps)) if reverse else range(steps):
            renewed = cell.step(xs[t], state)
            hs[t] = required(renewed[0])
            if self._running is not None:
                running = self._running[t]
                hs[t] = op("Where", running, hs[t], self._number(0))
                pairs = zip(renewed, state, strict=True)
                renewed = tuple(op("Where", running, new, old or self._number(0)) for new, old in pairs)
            state = renewed
        joined = hs[0] if steps == 1 else op("Concat", *(hs[t] for t in range(steps)), axis=0)
        return op("Unsqueeze", joined, self._integers(1)), *map(required, state)

    def _weights(self, place: int) -> tuple[Weights, ir.Value | None]:
        """Returns the weights of each step of a direction, and the bias of the products with x."""
        hidden, gates = self._hidden, self._form.gates
        recurrent = self._part(2, place)
        bias = recurrent_bias = None
        if data_input(self._node, 3) is not None:
            both = self._part(3, place)
            size = gates * hidden
            bias, recurrent_bias = self._slice(both, 0, size), self._slice(both, size, 2 * size)
        if self._form.operator != "GRU":
            bias = bias if bias is None or recurrent_bias is None else self._sum(bias, recurrent_bias)
            looks = [] if data_input(self._node, 7) is None else self._peepholes(place)
            return Weights(self._transposed(recurrent), peepholes=looks), bias
        if not self._form.linear_before_reset:
            bias = bias if bias is None or recurrent_bias is None else self._sum(bias, recurrent_bias)
            opening = self._slice(recurrent, 0, 2 * hidden)
            candidate = self._slice(recurrent, 2 * hidden, 3 * hidden)
            return Weights(self._transposed(opening), self._transposed(candidate)), bias
        if bias is None or recurrent_bias is None:
            return Weights(self._transposed(recurrent)), None
        # The bias of the candidate's product with h is reset with the product.
        own = self._slice(recurrent_bias, 2 * hidden, 3 * hidden)
        parts = [self._sum(self._slice(bias, 0, 2 * hidden), self._slice(recurrent_bias, 0, 2 * hidden))]
        parts.append(self._slice(bias, 2 * hidden, 3 * hidden))
        return Weights(self._transposed(recurrent), candidate_bias=own), self._joined(parts)

    def _peepholes(self, place: int) -> list[ir.Value]:
        looks = self._part(7, place)
        return [self._slice(looks, gate * self._hidden, (gate + 1) * self._hidden) for gate in range(3)]

    def _initial(self, index: int, place: int) -> ir.Value | None:
        """Returns the initial h or c of a direction (1, B, H); None if it is zero."""
        state = data_input(self._node, index)
        if state is None:
            return None
        known = constant(state)
        if known is not None and not known.any():
            return None
        axis = 1 if self._form.batch_first else 0
        if len(self._form.directions) > 1:
            state = self._new.op("Slice", state, *map(self._integers, (place, place + 1, axis)))
        return self._new.op("Transpose", state, perm=(1, 0, 2)) if self._form.batch_first else state

    # The following are computed at once if their arguments are constants.

    def _part(self, index: int, place: int) -> ir.Value:
        """Returns the part of W, R, b or the peepholes that belongs to a direction."""
        value = required(self._node.inputs[index])
        array = constant(value)
        if array is not None:
            return self._new.constant("weight", array[place])
        return self._new.op("Gather", value, self._new.constant("place", np.array(place, np.int64)), axis=0)

    def _transposed(self, value: ir.Value) -> ir.Value:
        array = constant(value)
        if array is not None:
            return self._new.constant("weight", np.ascontiguousarray(array.T))
        return self._new.op("Transpose", value, perm=(1, 0))

    def _slice(self, value: ir.Value, start: int, end: int) -> ir.Value:
        """Returns elements of the first axis."""
        array = constant(value)
        if array is not None:
            return self._new.constant("weight", array[start:end])
        return self._new.op("Slice", value, *map(self._integers, (start, end, 0)))

    def _sum(self, one: ir.Value, other: ir.Value) -> ir.Value:
        arrays = constant(one), constant(other)
        if arrays[0] is not None and arrays[1] is not None:
            return self._new.constant("bias", arrays[0] + arrays[1])
        return self._new.op("Add", one, other)

    def _joined(self, parts: list[ir.Value]) -> ir.Value:
        arrays = [constant(part) for part in parts]
        known = [array for array in arrays if array is not None]
        if len(known) == len(parts):
            return self._new.constant("bias", np.concatenate(known))
        return self._new.op("Concat", *parts, axis=0)
