"""Operators that compute each element alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import torch
from torch.nn import functional as F

from optimizer.training.operators.call import Call


def _unary(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Call], torch.Tensor]:
    return lambda call: function(call[0])


def _binary(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[[Call], torch.Tensor]:
    return lambda call: function(call[0], call[1])


def _all(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[[Call], torch.Tensor]:
    return lambda call: reduce(function, [call[place] for place in range(len(call.inputs))])


def _divide(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _clip(call: Call) -> torch.Tensor:
    least, most = call.number(1, "min"), call.number(2, "max")
    return call[0] if least is None and most is None else torch.clamp(call[0], least, most)


def _prelu(call: Call) -> torch.Tensor:
    x, slopes = call[0], call[1]
    return torch.where(x < 0, x * slopes, x)


def _mean(call: Call) -> torch.Tensor:
    return ELEMENTWISE["Sum"](call) / len(call.inputs)


def _hard_sigmoid(call: Call) -> torch.Tensor:
    return torch.clamp(call.attribute("alpha", 0.2) * call[0] + call.attribute("beta", 0.5), 0, 1)


def _selu(call: Call) -> torch.Tensor:
    alpha, gamma = (
        call.attribute("alpha", 1.67326319217681884765625),
        call.attribute("gamma", 1.05070102214813232421875),
    )
    return gamma * torch.where(call[0] > 0, call[0], alpha * torch.expm1(torch.clamp(call[0], max=0)))


ELEMENTWISE: Mapping[str, Callable[[Call], torch.Tensor]] = {
    "Abs": _unary(torch.abs),
    "Add": _binary(torch.add),
    "And": _binary(torch.logical_and),
    "Ceil": _unary(torch.ceil),
    "Clip": _clip,
    "Cos": _unary(torch.cos),
    "Div": _binary(_divide),
    "Dropout": _unary(lambda x: x),  # with the graph of inference
    "Elu": lambda call: F.elu(call[0], call.attribute("alpha", 1.0)),
    "Equal": _binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor),
    "Gelu": lambda call: F.gelu(call[0], approximate=call.attribute("approximate", "none")),
    "Greater": _binary(torch.gt),
    "GreaterOrEqual": _binary(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(F.hardswish),
    "Identity": _unary(lambda x: x),
    "LeakyRelu": lambda call: F.leaky_relu(call[0], call.attribute("alpha", 0.01)),
    "Less": _binary(torch.lt),
    "LessOrEqual": _binary(torch.le),
    "Log": _unary(torch.log),
    "Max": _all(torch.maximum),
    "Mean": _mean,
    "Min": _all(torch.minimum),
    "Mish": _unary(F.mish),
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "PRelu": _prelu,
    "Pow": lambda call: torch.pow(call[0], call[1]).to(call[0].dtype),
    "Reciprocal": _unary(torch.reciprocal),
    "Relu": _unary(torch.relu),
    "Round": _unary(torch.round),
    "Selu": _selu,
    "Sigmoid": _unary(torch.sigmoid),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Softplus": _unary(lambda x: F.softplus(x, threshold=1e9)),
    "Softsign": _unary(F.softsign),
    "Sqrt": _unary(torch.sqrt),
    "Sub": _binary(torch.sub),
    "Sum": _all(torch.add),
    "Swish": lambda call: call[0] * torch.sigmoid(call.attribute("alpha", 1.0) * call[0]),
    "Tanh": _unary(torch.tanh),
    "Where": lambda call: torch.where(call[0].bool(), call[1], call[2]),
}
