"""rnn, gru, lstm: x (steps, batch, inputs), weight (directions, gates * units, inputs + units) -> every h.

The output is (steps, directions, batch, units). The second of two directions is the reverse one. Columns of the weight
are those of x and then those of h. There is no bias. Activations are sigmoid and tanh, and the reset gate of a gru
multiplies the product of h, as in PyTorch (``linear_before_reset`` in ONNX).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import kernels
from compiler.workloads.operators.function import check_no_schedule
from compiler.workloads.operators.operator import (
    Array,
    Arrays,
    Instance,
    LayerSchema,
    Notation,
    OperatorDef,
    Shape,
    Sizes,
)
from compiler.workloads.operators.rounded import Rounded

GATES: Mapping[str, int] = {"rnn": 1, "gru": 3, "lstm": 4}
_NETWORKS: Mapping[str, Mapping[Shape, str]] = {
    "rnn": {(1, 100, 1, 128, 128): "characters"},
    "gru": {(1, 100, 1, 114, 96): "RNNoise", (2, 50, 1, 512, 256): "lines of text"},
    "lstm": {(1, 32, 1, 128, 128): "voice activity", (2, 26, 1, 512, 256): "CRNN"},
}
_STATE = ("sequence_lens", "initial_h", "initial_c", "y", "y_h", "y_c")


def _outputs(attributes: Mapping[str, Any], _: Shape) -> tuple[Shape, ...]:
    steps, batch, _inputs, units = attributes["sizes"]
    directions = len(attributes["reverse"])
    y, state = (steps, directions, batch, units), (directions, batch, units)
    if attributes["batch_first"]:
        y, state = (batch, steps, directions, units), (batch, directions, units)
    return tuple(shape for name, shape in (("y", y), ("y_h", state), ("y_c", state)) if attributes[name])


SCHEMA = LayerSchema(
    "recurrent",
    (
        *("cell", "sizes", "reverse", "activations", "clip"),
        *("input_forget", "linear_before_reset", "batch_first", *_STATE),
    ),
    weights=lambda _: (("w", "r"), ("b", "p")),
    outputs=_outputs,
)


def _rnn(x: Rounded, h: Rounded, c: Rounded) -> tuple[Rounded, Rounded]:
    return _tanh(x + h), c


def _gru(x: Rounded, h: Rounded, state: Rounded) -> tuple[Rounded, Rounded]:
    (xz, xr, xh), (hz, hr, hh) = x.split(3), h.split(3)
    z = _sigmoid(xz + hz)
    return z.from_one() * _tanh(xh + _sigmoid(xr + hr) * hh) + z * state, state


def _lstm(x: Rounded, h: Rounded, c: Rounded) -> tuple[Rounded, Rounded]:
    i, o, f, candidate = (x + h).split(4)
    c = _sigmoid(f) * c + _sigmoid(i) * _tanh(candidate)
    return _sigmoid(o) * _tanh(c), c


def _sigmoid(x: Rounded) -> Rounded:
    return x.applied(lambda v: np.exp(-np.logaddexp(0, -v)), 0.25)


def _tanh(x: Rounded) -> Rounded:
    return x.applied(np.tanh, 1)


# From the products of x and of h with the weights of all gates, and c (of a gru: h) to h and c.
_CELLS: Mapping[str, Callable[[Rounded, Rounded, Rounded], tuple[Rounded, Rounded]]] = {
    "rnn": _rnn,
    "gru": _gru,
    "lstm": _lstm,
}


def _computed(cell: str, s: Sizes, inputs: Arrays) -> Rounded:
    y, variance = np.zeros((2, s["steps"], s["directions"], s["batch"], s["units"]))
    for d in range(s["directions"]):
        w, r = np.split(inputs["weight"][d], [s["inputs"]], axis=1)
        h = c = Rounded.exact(np.zeros((s["batch"], s["units"])))
        for t in range(s["steps"])[:: -1 if d else 1]:
            products = Rounded.exact(inputs["x"][t]).times(w), h.times(r)
            h, c = _CELLS[cell](*products, h if cell == "gru" else c)
            y[t, d], variance[t, d] = h.value, h.variance
    return Rounded(y, variance)


class _Kernel:
    """``kernels.Recurrent`` with the interface of :class:`Kernel`: its first output is the operator's."""

    def __init__(self, op: kernels.Recurrent) -> None:
        self._op = op

    def __call__(self, *, out: Array, x: Array) -> Array:
        return self._op(x, out=out)[0]

    def time(self, *, out: Array, number: int, repeat: int, x: Array) -> list[float]:
        return self._op.time(x, out=out, number=number, repeat=repeat)

    def schedule(self, *_sizes: int) -> dict[str, Any]:
        return {}


def _kernel(cell: str, workload: Instance, inputs: Arrays, *, isa: str, threads: int, schedule: Any = None) -> Any:
    check_no_schedule(schedule)
    w, r = np.split(inputs["weight"], [workload.sizes["inputs"]], axis=2)
    direction = "forward" if workload.sizes["directions"] == 1 else "bidirectional"
    return _Kernel(
        kernels.Recurrent(cell, w, r, direction=direction, linear_before_reset=cell == "gru", isa=isa, threads=threads)
    )


def _check(s: Sizes) -> None:
    if s["directions"] > 2:
        raise ValueError(f"a recurrent operator has one or two directions, got {s['directions']}")


def _definition(cell: str) -> OperatorDef:
    def inputs(s: Sizes) -> dict[str, Shape]:
        weight = (s["directions"], GATES[cell] * s["units"], s["inputs"] + s["units"])
        return {"x": (s["steps"], s["batch"], s["inputs"]), "weight": weight}

    return OperatorDef(
        name=cell,
        dims=("directions", "steps", "batch", "inputs", "units"),
        inputs=inputs,
        output=lambda s: (s["steps"], s["directions"], s["batch"], s["units"]),
        reference=lambda s, arrays: _computed(cell, s, arrays).value,
        tolerance=lambda workload, arrays, _: _computed(cell, workload.sizes, arrays).tolerance,
        kernel=lambda workload, arrays, **options: _kernel(cell, workload, arrays, **options),
        notation=Notation("1x32x1x128x128", "{steps} steps of {batch}x{inputs}, {directions}x{units} units".format_map),
        layers=(SCHEMA,),
        onnx=(cell.upper(),),
        recognizer="recurrent",
        reduction=lambda s: s["inputs"] + s["units"],
        flops=lambda s: (
            2 * s["steps"] * s["batch"] * s["directions"] * GATES[cell] * s["units"] * (s["inputs"] + s["units"])
        ),
        check=_check,
        networks=_NETWORKS[cell],
    )


RNN, GRU, LSTM = map(_definition, GATES)
