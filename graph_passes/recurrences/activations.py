"""The activations of recurrent operators, in standard operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from graph_passes.lazy import ir
from graph_passes.replacement import Replacement


@dataclass(frozen=True)
class Activation:
    """An activation, and its parameters where it has any; ``alpha`` and ``beta`` are None where it has none."""

    name: str
    alpha: float | None = None
    beta: float | None = None

    def __call__(self, new: Replacement, x: ir.Value, number: Number) -> ir.Value:
        """Adds the nodes that apply the activation to ``x``."""
        return _TABLE[self.name](new, x, self, number)


Number = Callable[[float], "ir.Value"]  # returns a constant of the type of the elements
_Function = Callable[[Replacement, "ir.Value", Activation, Number], "ir.Value"]

# With ONNX's default parameters.
ACTIVATIONS: Mapping[str, Activation] = {
    activation.name.lower(): activation
    for activation in (
        Activation("Sigmoid"),
        Activation("Tanh"),
        Activation("Relu"),
        Activation("Softsign"),
        Activation("Softplus"),
        Activation("LeakyRelu", 0.01),
        Activation("ThresholdedRelu", 1.0),
        Activation("Elu", 1.0),
        Activation("HardSigmoid", 0.2, 0.5),
        Activation("Affine", 1.0, 0.0),
        Activation("ScaledTanh", 1.0, 1.0),
    )
}


def chosen(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> tuple[Activation, ...] | None:
    """Returns the activations of a node; None if one is unknown.

    Each activation with a parameter takes the next number of the list, as long as there is one.
    """
    found, alphas, betas = [], list(alphas), list(betas)
    for name in names:
        activation = ACTIVATIONS.get(name.lower())
        if activation is None:
            return None
        if activation.alpha is not None and alphas:
            activation = replace(activation, alpha=float(alphas.pop(0)))
        if activation.beta is not None and betas:
            activation = replace(activation, beta=float(betas.pop(0)))
        found.append(activation)
    return tuple(found)


def _operator(*parameters: str) -> _Function:
    """Returns a function that adds one node of the activation's name with these attributes."""

    def add(new: Replacement, x: ir.Value, activation: Activation, _: Number) -> ir.Value:
        return new.op(activation.name, x, **{name: getattr(activation, name) for name in parameters})

    return add


def _affine(new: Replacement, x: ir.Value, activation: Activation, number: Number) -> ir.Value:
    alpha, beta = _parameters(activation, number)
    return new.op("Add", new.op("Mul", x, alpha), beta)


def _scaled_tanh(new: Replacement, x: ir.Value, activation: Activation, number: Number) -> ir.Value:
    alpha, beta = _parameters(activation, number)
    return new.op("Mul", new.op("Tanh", new.op("Mul", x, beta)), alpha)


def _parameters(activation: Activation, number: Number) -> tuple[ir.Value, ir.Value]:
    return number(activation.alpha or 0.0), number(activation.beta or 0.0)


_TABLE: Mapping[str, _Function] = {
    **{name: _operator() for name in ("Sigmoid", "Tanh", "Relu", "Softsign", "Softplus")},
    **{name: _operator("alpha") for name in ("LeakyRelu", "ThresholdedRelu", "Elu")},
    "HardSigmoid": _operator("alpha", "beta"),
    "Affine": _affine,
    "ScaledTanh": _scaled_tanh,
}
