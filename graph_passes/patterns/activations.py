"""The activations of fused layers, each defined by standard operators.

``x`` is the input, ``y`` the output and ``@name`` an attribute of the layer. ``function`` computes the activation in
float64; ``exported_forms`` compares values with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))  # does not overflow, unlike 1 / (1 + exp(-x))


def hard_sigmoid(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.clip(alpha * x + beta, 0, 1)


@dataclass(frozen=True)
class Activation:
    """``body`` is in ONNX's text format; ``attributes`` are floats that a call of the layer must set.

    With an ``operand``, the name of another input of the layer, it is not a function of one number.
    """

    body: str
    function: Callable[..., np.ndarray]
    attributes: tuple[str, ...] = ()
    operand: str | None = None


ACTIVATIONS: Mapping[str, Activation] = {
    "relu": Activation("y = Relu (x)", lambda x: np.maximum(x, 0)),
    "relu6": Activation(
        "low = Constant <value_float: float = 0.0> ()  high = Constant <value_float: float = 6.0> ()"
        "  y = Clip (x, low, high)",
        lambda x: np.clip(x, 0, 6),
    ),
    "clip": Activation(
        "low = Constant <value_float: float = @min> ()  high = Constant <value_float: float = @max> ()"
        "  y = Clip (x, low, high)",
        lambda x, min, max: np.clip(x, min, max),  # noqa: A006
        ("min", "max"),
    ),
    "leaky_relu": Activation(
        "y = LeakyRelu <alpha: float = @alpha> (x)", lambda x, alpha: np.where(x < 0, alpha * x, x), ("alpha",)
    ),
    "prelu": Activation("y = PRelu (x, slope)", lambda x, slope: np.where(x < 0, slope * x, x), operand="slope"),
    "sigmoid": Activation("y = Sigmoid (x)", sigmoid),
    "tanh": Activation("y = Tanh (x)", np.tanh),
    "silu": Activation("s = Sigmoid (x)  y = Mul (x, s)", lambda x: x * sigmoid(x)),
    "hard_sigmoid": Activation(
        "y = HardSigmoid <alpha: float = @alpha, beta: float = @beta> (x)", hard_sigmoid, ("alpha", "beta")
    ),
    "hard_swish": Activation("y = HardSwish (x)", lambda x: x * hard_sigmoid(x, 1 / 6, 0.5)),
    "gelu": Activation(
        "root = Constant <value_float: float = 1.4142135381698608> ()  half = Constant <value_float: float = 0.5> ()"
        "  one = Constant <value_float: float = 1.0> ()  scaled = Div (x, root)  bent = Erf (scaled)"
        "  raised = Add (bent, one)  halved = Mul (x, half)  y = Mul (halved, raised)",
        lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    ),
    "gelu_tanh": Activation(
        "cubic = Constant <value_float: float = 0.044715> ()"
        "  rate = Constant <value_float: float = 0.7978845834732056> ()"
        "  half = Constant <value_float: float = 0.5> ()  one = Constant <value_float: float = 1.0> ()"
        "  squared = Mul (x, x)  cubed = Mul (squared, x)  bend = Mul (cubed, cubic)  sum = Add (x, bend)"
        "  scaled = Mul (sum, rate)  bent = Tanh (scaled)  raised = Add (bent, one)  halved = Mul (x, half)"
        "  y = Mul (halved, raised)",
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))),
    ),
}
