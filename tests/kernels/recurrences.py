"""The recurrent operators of ONNX in float64, written from their definitions, with the error that float32 may add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from compiler.workloads.operators.rounded import Rounded

Array = np.ndarray
Function = tuple[str, float, float]  # name, alpha, beta
Activation = Callable[[Rounded], Rounded]

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
USUAL = {"rnn": ("tanh",), "gru": ("sigmoid", "tanh"), "lstm": ("sigmoid", "tanh", "tanh")}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_NEAR_A_STEP, _STEP = 1e-4, 1e9

# For each function: its value and the largest slope.
FUNCTIONS: Mapping[str, tuple[Callable[[Array, float, float], Array], Callable[[float, float], float]]] = {
    "sigmoid": (lambda x, _a, _b: np.exp(-np.logaddexp(0, -x)), lambda _a, _b: 0.25),
    "tanh": (lambda x, _a, _b: np.tanh(x), lambda _a, _b: 1),
    "relu": (lambda x, _a, _b: np.maximum(x, 0), lambda _a, _b: 1),
    "affine": (lambda x, a, b: a * x + b, lambda a, _b: abs(a)),
    "leaky_relu": (lambda x, a, _b: np.where(x < 0, a * x, x), lambda a, _b: max(1, abs(a))),
    "thresholded_relu": (lambda x, a, _b: np.where(x > a, x, 0), lambda _a, _b: 1),
    "scaled_tanh": (lambda x, a, b: a * np.tanh(b * x), lambda a, b: abs(a * b)),
    "hard_sigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), lambda a, _b: abs(a)),
    "elu": (lambda x, a, _b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x), lambda a, _b: max(1, abs(a))),
    "softsign": (lambda x, _a, _b: x / (1 + np.abs(x)), lambda _a, _b: 1),
    "softplus": (lambda x, _a, _b: np.logaddexp(0, x), lambda _a, _b: 1),
}


class Weights(NamedTuple):
    """As the arguments of :class:`kernels.Recurrent`."""

    w: Array
    r: Array
    b: Array | None = None
    p: Array | None = None


class Form(NamedTuple):
    """What one operator does in addition to its weights."""

    cell: str
    direction: str = "forward"
    activations: tuple[Function, ...] | None = None
    clip: float | None = None
    input_forget: bool = False
    linear_before_reset: bool = False
    batch_first: bool = False


def oracle(
    form: Form,
    weights: Weights,
    x: Array,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
) -> list[Rounded]:
    """Returns every h, the last h, and of an LSTM the last c."""

    def steps_first(array: Array) -> Array:
        wide = array.astype(np.float64)
        return wide.swapaxes(0, 1) if form.batch_first else wide

    x = steps_first(x)
    steps, batch, _ = x.shape
    directions, _, units = weights.r.shape
    shape = (directions, batch, units)
    h0, c0 = (np.zeros(shape) if state is None else steps_first(state) for state in (initial_h, initial_c))
    lengths = np.full(batch, steps) if sequence_lens is None else sequence_lens
    y = [np.zeros((steps, *shape)) for _ in range(2)]  # values, variances
    last = [[np.zeros(shape) for _ in range(2)] for _ in range(2)]  # of h and c
    for d in range(directions):
        step = _step(form, weights, d)
        for n in range(batch):
            if lengths[n] == 0:
                continue
            h, c = Rounded.exact(h0[d, n]), Rounded.exact(c0[d, n])
            for t in range(lengths[n])[:: -1 if DIRECTIONS[form.direction][d] else 1]:
                h, c = step(Rounded.exact(x[t, n]), h, c)
                y[0][t, d, n], y[1][t, d, n] = h.value, h.variance
            for state, kept in zip((h, c), last, strict=True):
                kept[0][d, n], kept[1][d, n] = state.value, state.variance
    if form.batch_first:
        y = [array.transpose(2, 0, 1, 3) for array in y]
        last = [[array.swapaxes(0, 1) for array in pair] for pair in last]
    answers = [Rounded(*pair) for pair in (y, *last)]
    return answers if form.cell == "lstm" else answers[:2]


def _step(form: Form, weights: Weights, d: int) -> Callable[[Rounded, Rounded, Rounded], tuple[Rounded, Rounded]]:
    """Returns a function from the inputs of a step, h and c to h and c after it."""
    usual = USUAL[form.cell]
    named = form.activations or tuple((name, 0.0, 0.0) for name in usual * len(weights.w))
    f = [_activation(function, form.clip) for function in named[d * len(usual) : (d + 1) * len(usual)]]
    w, r = (array[d].astype(np.float64) for array in weights[:2])
    biases = np.zeros((2, len(w))) if weights.b is None else weights.b[d].astype(np.float64).reshape(2, -1)
    wb, rb = map(Rounded.exact, biases)
    peepholes = np.zeros(3 * weights.r.shape[2]) if weights.p is None else weights.p[d].astype(np.float64)
    pi, po, pf = Rounded.exact(peepholes).split(3)

    def rnn(x: Rounded, h: Rounded, c: Rounded) -> tuple[Rounded, Rounded]:
        return f[0](x.times(w) + h.times(r) + wb + rb), c

    def gru(x: Rounded, h: Rounded, c: Rounded) -> tuple[Rounded, Rounded]:
        (xz, xr, xh), (bz, br, bh) = (x.times(w) + wb).split(3), rb.split(3)
        rz, rr, rh = np.split(r, 3)
        z, reset = f[0](xz + h.times(rz) + bz), f[0](xr + h.times(rr) + br)
        product = reset * (h.times(rh) + bh) if form.linear_before_reset else (reset * h).times(rh) + bh
        return z.from_one() * f[1](xh + product) + z * h, c

    def lstm(x: Rounded, h: Rounded, c: Rounded) -> tuple[Rounded, Rounded]:
        i, o, forget, candidate = (x.times(w) + h.times(r) + wb + rb).split(4)
        i, forget = f[0](i + pi * c), forget + pf * c
        c = (i.from_one() if form.input_forget else f[0](forget)) * c + i * f[1](candidate)
        return f[0](o + po * c) * _activation(named[d * 3 + 2], None)(c), c

    return {"rnn": rnn, "gru": gru, "lstm": lstm}[form.cell]


def _activation(function: Function, clip: float | None) -> Activation:
    name, alpha, beta = function
    value, slope = FUNCTIONS[name]

    def applied(x: Rounded) -> Rounded:
        clipped = x if clip is None else Rounded(np.clip(x.value, -clip, clip), x.variance)
        steep = np.full(x.value.shape, slope(alpha, beta), np.float64)
        if name == "thresholded_relu":  # either side of its step is right
            steep[np.abs(clipped.value - alpha) < _NEAR_A_STEP] = _STEP
        return clipped.applied(lambda v: value(v, alpha, beta), steep)

    return applied
