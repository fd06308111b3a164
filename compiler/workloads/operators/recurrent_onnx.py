"""The attributes of ONNX's RNN, GRU and LSTM as those of a recurrent layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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

# The places of the node's inputs after x.
PLACES = {"w": 1, "r": 2, "b": 3, "sequence_lens": 4, "initial_h": 5, "initial_c": 6, "p": 7}
WEIGHTS = ("w", "r", "b", "p")
STATES = ("sequence_lens", "initial_h", "initial_c")
OUTPUTS = ("y", "y_h", "y_c")


def layer_attributes(op: str, attributes: Mapping[str, Any], x: Sequence[int], units: int) -> dict[str, Any] | None:
    """Returns the attributes of a layer except those of optional inputs and outputs.

    Returns None for an unknown direction or activation, a wrong number of activations, or a limit that is not positive.

    Args:
        attributes: of the node, by name.
        x: the shape of its first input.
        units: ``hidden_size``.
    """
    reverse = _REVERSE.get(attributes.get("direction", "forward"))
    clip = attributes.get("clip")
    if reverse is None or len(x) != 3 or (clip is not None and not clip > 0):
        return None
    activations = _activations(op, attributes, len(reverse))
    if activations is None:
        return None
    batch_first = bool(attributes.get("layout", 0))
    steps, batch, inputs = (x[1], x[0], x[2]) if batch_first else x
    return {
        "cell": op.lower(),
        "sizes": [steps, batch, inputs, units],
        "reverse": list(reverse),
        "activations": activations,
        "clip": None if clip is None else float(clip),
        "input_forget": bool(attributes.get("input_forget", 0)),
        "linear_before_reset": bool(attributes.get("linear_before_reset", 0)),
        "batch_first": batch_first,
    }


def input_shapes(layer: Mapping[str, Any], gates: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of all inputs of the node except x, by the names that layers have for them."""
    _steps, batch, inputs, units = layer["sizes"]
    directions, rows = len(layer["reverse"]), gates * units
    state = (batch, directions, units) if layer["batch_first"] else (directions, batch, units)
    return {
        "w": (directions, rows, inputs),
        "r": (directions, rows, units),
        "b": (directions, 2 * rows),
        "sequence_lens": (batch,),
        "initial_h": state,
        "initial_c": state,
        "p": (directions, 3 * units),
    }


def _activations(op: str, attributes: Mapping[str, Any], directions: int) -> list[dict[str, Any]] | None:
    """Returns name, alpha and beta of each activation; None if one is unknown, or the number is wrong."""
    usual = _USUAL[op] * directions
    names = [name.lower() for name in attributes.get("activations") or usual]
    if len(names) != len(usual) or not set(names) <= set(_FUNCTIONS):
        return None
    # The lists have one number for each function that takes one, in order.
    given = {key: iter(attributes.get(f"activation_{key}") or ()) for key in ("alpha", "beta")}

    def number(numbers: Iterator[float], default: float | None) -> float:
        return 0.0 if default is None else float(next(numbers, default))

    return [
        {"function": name, "alpha": number(given["alpha"], alpha), "beta": number(given["beta"], beta)}
        for name, alpha, beta in map(_FUNCTIONS.__getitem__, names)
    ]
