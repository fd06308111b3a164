"""One step of an LSTM, a GRU or an RNN in standard operators.

::

    LSTM   i, o, f, c~ = x W + h R + b         c = f(f) c + f(i) g(c~)          h = f(o) h(c)
    GRU    z, r = f(x W + h R + b)             h~ = g(x W + (r h) R + b)        h = (1 - z) h~ + z h
    RNN    h = f(x W + h R + b)

``x`` stands for x W + b here, computed for all steps at once. A state None means zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from graph_passes.lazy import ir
from graph_passes.recurrences.activations import Activation, Number
from graph_passes.recurrences.form import Form
from graph_passes.replacement import Replacement

State = tuple["ir.Value | None", ...]  # h, and c of an LSTM: (1, B, H)


@dataclass(frozen=True)
class Weights:
    """The weights of one direction that each step reads.

    Attributes:
        recurrent: the transposed R of all gates (H, gates H); those of z and r only for a GRU whose reset comes first.
        candidate: the transposed R of the candidate (H, H) of such a GRU.
        candidate_bias: its bias (H,) if a GRU resets the product.
        peepholes: of i, o and f, (H,) each.
    """

    recurrent: ir.Value
    candidate: ir.Value | None = None
    candidate_bias: ir.Value | None = None
    peepholes: Sequence[ir.Value] = ()


@dataclass(frozen=True)
class Cell:
    """Adds the nodes of one step of one direction; ``number`` returns a constant of its type."""

    new: Replacement
    form: Form
    activations: Sequence[Activation]
    weights: Weights
    number: Number

    def step(self, x: ir.Value, state: State) -> State:
        """Returns the state after a step, from the products of its inputs (1, B, gates H) and the state before it."""
        return _STEPS[self.form.operator](self, x, state)

    def op(self, op_type: str, *inputs: ir.Value | None) -> ir.Value:
        return self.new.op(op_type, *inputs)

    def split(self, x: ir.Value, count: int) -> Sequence[ir.Value]:
        """Splits the last axis into equal parts; their number of outputs is enough for every opset from 18 on."""
        return self.new.many("Split", [x], count, axis=2, num_outputs=count)

    def activate(self, place: int, x: ir.Value, clipped: bool = True) -> ir.Value:
        """Adds an activation. ONNX Runtime clips the gates of an LSTM, but not its c."""
        return self.activations[place](self.new, self.clipped(x) if clipped else x, self.number)

    def clipped(self, x: ir.Value) -> ir.Value:
        if self.form.clip is None:
            return x
        low, high = (self.number(sign * self.form.clip) for sign in (-1, 1))
        return self.op("Clip", x, low, high)

    def with_product(self, x: ir.Value, h: ir.Value | None, weight: ir.Value) -> ir.Value:
        return x if h is None else self.op("Add", x, self.op("MatMul", h, weight))


def _lstm(cell: Cell, x: ir.Value, state: State) -> State:
    h, c = state
    i, o, f, candidate = cell.split(cell.with_product(x, h, cell.weights.recurrent), 4)
    looks = cell.weights.peepholes
    if looks and c is not None:
        i, f = (cell.op("Add", gate, cell.op("Mul", c, looks[place])) for gate, place in ((i, 0), (f, 2)))
    opened = cell.activate(0, i)
    renewed = cell.op("Mul", opened, cell.activate(1, candidate))
    if c is not None:
        kept = cell.op("Sub", cell.number(1), opened) if cell.form.coupled else cell.activate(0, f)
        renewed = cell.op("Add", cell.op("Mul", kept, c), renewed)
    if looks:
        o = cell.op("Add", o, cell.op("Mul", renewed, looks[1]))
    return cell.op("Mul", cell.activate(0, o), cell.activate(2, renewed, clipped=False)), renewed


def _gru(cell: Cell, x: ir.Value, state: State) -> State:
    (h,) = state
    weights = cell.weights
    xz, xr, candidate = cell.split(x, 3)
    if cell.form.linear_before_reset:
        reset = weights.candidate_bias
        if h is not None:
            hz, hr, product = cell.split(cell.op("MatMul", h, weights.recurrent), 3)
            xz, xr = cell.op("Add", xz, hz), cell.op("Add", xr, hr)
            reset = product if reset is None else cell.op("Add", product, reset)
        if reset is not None:
            candidate = cell.op("Add", candidate, cell.op("Mul", cell.activate(0, xr), reset))
    elif h is not None:
        hz, hr = cell.split(cell.op("MatMul", h, weights.recurrent), 2)
        xz, xr = cell.op("Add", xz, hz), cell.op("Add", xr, hr)
        reset = cell.op("Mul", cell.activate(0, xr), h)
        candidate = cell.op("Add", candidate, cell.op("MatMul", reset, weights.candidate))
    z, new = cell.activate(0, xz), cell.activate(1, candidate)
    renewed = cell.op("Mul", cell.op("Sub", cell.number(1), z), new)
    return (renewed if h is None else cell.op("Add", renewed, cell.op("Mul", z, h)),)


def _rnn(cell: Cell, x: ir.Value, state: State) -> State:
    (h,) = state
    return (cell.activate(0, cell.with_product(x, h, cell.weights.recurrent)),)


_STEPS: Mapping[str, Callable[[Cell, ir.Value, State], State]] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
