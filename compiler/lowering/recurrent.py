"""Recognizes rnn, gru and lstm: RNN, GRU and LSTM with constant weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, float32_constant, is_float32
from compiler.workloads.operators.recurrent import GATES
from compiler.workloads.workload import Workload
from graph_passes.values import constant, data_input, static_shape

_REVERSE: Mapping[str, Sequence[int]] = {"forward": (0,), "reverse": (1,), "bidirectional": (0, 1)}
_USUAL = {"RNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}
# By the name in ONNX in lower case: the kernel's name, and the defaults of alpha and beta, None if not used.
_FUNCTIONS: Mapping[str, tuple[str, float | None, float | None]] = {
    "affine": ("affine", 1.0, 0.0),
    "elu": ("elu", 1.0, None),
    "hardsigmoid": ("hard_sigmoid", 0.2, 0.5),
    "leakyrelu": ("leaky_relu", 0.01, None),
    "relu": ("relu", None, None),
    "scaledtanh": ("scaled_tanh", 1.0, 1.0),
    "sigmoid": ("sigmoid", None, None),
    "softplus": ("softplus", None, None),
    "softsign": ("softsign", None, None),
    "tanh": ("tanh", None, None),
    "thresholdedrelu": ("thresholded_relu", 1.0, None),
}
_WEIGHTS = {"w": 1, "r": 2, "b": 3, "p": 7}
_LENGTHS, _INITIAL_H, _INITIAL_C = 4, 5, 6


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of an RNN, GRU or LSTM of any form whose weights are constant float32."""
    x, shape = node.inputs[0], static_shape(node.inputs[0])
    weights = _weights(node)
    reverse = _REVERSE.get(node.attributes.get_string("direction", "forward") or "")
    if x is None or not is_float32(x) or shape is None or len(shape) != 3 or weights is None or reverse is None:
        return None
    batch_first = bool(node.attributes.get_int("layout", 0))
    steps, batch, inputs = (shape[1], shape[0], shape[2]) if batch_first else shape
    cell, units = node.op_type.lower(), weights["r"].shape[-1]
    activations = _activations(node, len(reverse))
    if activations is None or not _fit(cell, weights, len(reverse), inputs, units):
        return None
    states = _states(node, (batch, len(reverse), units) if batch_first else (len(reverse), batch, units), batch)
    if states is None:
        return None
    used = [place for place, output in enumerate(node.outputs) if output.uses() or output.is_graph_output()]
    clip = node.attributes.get_float("clip", None)
    if not used or (clip is not None and not clip > 0):
        return None
    attributes = {
        "cell": cell,
        "sizes": [steps, batch, inputs, units],
        "reverse": list(reverse),
        "activations": activations,
        "clip": clip,
        "input_forget": bool(node.attributes.get_int("input_forget", 0)),
        "linear_before_reset": bool(node.attributes.get_int("linear_before_reset", 0)),
        "batch_first": batch_first,
        **{name: name in states for name in ("sequence_lens", "initial_h", "initial_c")},
        **{name: place in used for place, name in enumerate(("y", "y_h", "y_c"))},
    }
    sizes = (len(reverse), max(1, steps), max(1, batch), max(1, inputs), units)
    return Call(
        "recurrent",
        (x, *states.values()),
        attributes,
        weights,
        stages=(Workload(cell, sizes),),
        outputs=tuple(used),
    )


def _weights(node: ir.Node) -> dict[str, np.ndarray] | None:
    """Returns the weights that are present; None if one is not constant."""
    weights = {}
    for name, place in _WEIGHTS.items():
        value = data_input(node, place)
        if value is None and name in "bp":
            continue
        array = float32_constant(value)
        if array is None:
            return None
        weights[name] = np.ascontiguousarray(array)
    return weights


def _fit(cell: str, weights: Mapping[str, np.ndarray], directions: int, inputs: int, units: int) -> bool:
    rows = GATES[cell] * units
    shapes = {
        "w": (directions, rows, inputs),
        "r": (directions, rows, units),
        "b": (directions, 2 * rows),
        "p": (directions, 3 * units),
    }
    return units > 0 and all(array.shape == shapes[name] for name, array in weights.items())


def _states(node: ir.Node, shape: Sequence[int], batch: int) -> dict[str, ir.Value] | None:
    """Returns the inputs of a run in addition to x; None if one of them has a wrong shape or type."""
    states = {}
    for name, place in (("sequence_lens", _LENGTHS), ("initial_h", _INITIAL_H), ("initial_c", _INITIAL_C)):
        value = data_input(node, place)
        if value is None:
            continue
        is_lengths = name == "sequence_lens"
        kind = ir.DataType.INT32 if is_lengths else ir.DataType.FLOAT
        if value.dtype != kind or static_shape(value) != ((batch,) if is_lengths else tuple(shape)):
            return None
        array = constant(value)
        if array is None or array.any():  # states of zeros are the default
            states[name] = value
    return states


def _activations(node: ir.Node, directions: int) -> list[dict[str, Any]] | None:
    """Returns name, alpha and beta of each activation; None if one is unknown, or the number is wrong."""
    usual = _USUAL[node.op_type] * directions
    names = [name.lower() for name in node.attributes.get_strings("activations", ()) or usual]
    if len(names) != len(usual) or not set(names) <= set(_FUNCTIONS):
        return None
    # The lists have one number for each function that takes one, in order.
    given = {key: iter(node.attributes.get_floats(f"activation_{key}", ()) or ()) for key in ("alpha", "beta")}

    def number(numbers: Iterator[float], default: float | None) -> float:
        return 0.0 if default is None else float(next(numbers, default))

    return [
        {"function": name, "alpha": number(given["alpha"], alpha), "beta": number(given["beta"], beta)}
        for name, alpha, beta in map(_FUNCTIONS.__getitem__, names)
    ]
