"""Elementwise operators, and reductions of booleans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph_passes.lazy import ir
from graph_passes.replacement import Replacement
from graph_passes.values import data_input, required, scalar

LARGEST_POWER = 8  # of integers, as a product


def power(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``Pow (x, y)`` with an exponent of another type; integers as products, or in float64 as ONNX Runtime does."""
    x, y = map(required, node.inputs)
    if x.dtype is None or y.dtype is None:
        return None
    exponent = scalar(y)
    if not x.dtype.is_floating_point():
        whole = exponent is not None and exponent.is_integer() and 1 <= exponent <= LARGEST_POWER
        if not whole or y.shape is None or len(y.shape):
            double = [new.op("Cast", value, to=ir.DataType.DOUBLE) for value in (x, y)]
            return [new.op("Cast", new.op("Pow", *double), to=x.dtype)]
        product = x
        for _ in range(int(exponent or 1) - 1):
            product = new.op("Mul", product, x)
        return [new.op("Identity", x) if product is x else product]
    return None if x.dtype == y.dtype else [new.op("Pow", x, new.op("Cast", y, to=x.dtype))]


def mish(node: ir.Node, new: Replacement) -> Sequence[ir.Value]:
    """``Mish (x) = x tanh(log(1 + e))`` with e = exp(x), which is x n / (n + 2) with n = e (e + 2).

    TVM computes the logarithm, which overflows for large x and loses digits for small ones. The quotient is 1 from 20
    on.
    """
    x = required(node.inputs[0])
    two, largest = _number(new, x, 2.0), _number(new, x, 5.0 if x.dtype == ir.DataType.FLOAT16 else 20.0)
    e = new.op("Exp", new.op("Min", x, largest))
    n = new.op("Mul", e, new.op("Add", e, two))
    return [new.op("Mul", x, new.op("Div", n, new.op("Add", n, two)))]


def elu(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``Elu`` and ``Selu`` of other types than float32: gamma alpha (exp(x) - 1) below zero, gamma x above."""
    x = required(node.inputs[0])
    if x.dtype in (None, ir.DataType.FLOAT):
        return None
    selu = node.op_type == "Selu"
    alpha = node.attributes.get_float("alpha", 1.67326319217681884765625 if selu else 1.0)
    gamma = node.attributes.get_float("gamma", 1.05070102214813232421875) if selu else 1.0
    zero, one, by = (_number(new, x, number) for number in (0.0, 1.0, alpha or 0.0))
    below = new.op("Mul", new.op("Sub", new.op("Exp", new.op("Min", x, zero)), one), by)
    answer = new.op("Where", new.op("Less", x, zero), below, x)
    return [new.op("Mul", answer, _number(new, x, gamma or 0.0)) if selu else answer]


def celu(node: ir.Node, new: Replacement) -> Sequence[ir.Value]:
    """``Celu (x)`` is x above zero, and alpha (exp(x / alpha) - 1) below."""
    x = required(node.inputs[0])
    zero, one = _number(new, x, 0.0), _number(new, x, 1.0)
    alpha = _number(new, x, node.attributes.get_float("alpha", 1.0) or 0.0)
    below = new.op("Sub", new.op("Exp", new.op("Div", new.op("Min", x, zero), alpha)), one)
    return [new.op("Where", new.op("Less", x, zero), new.op("Mul", below, alpha), x)]


def swish(node: ir.Node, new: Replacement) -> Sequence[ir.Value]:
    """``Swish (x) = x sigmoid(alpha x)``."""
    x = required(node.inputs[0])
    alpha = _number(new, x, node.attributes.get_float("alpha", 1.0) or 0.0)
    return [new.op("Mul", x, new.op("Sigmoid", new.op("Mul", x, alpha)))]


def thresholded_relu(node: ir.Node, new: Replacement) -> Sequence[ir.Value]:
    """``ThresholdedRelu (x)`` is x above alpha, and 0 below."""
    x = required(node.inputs[0])
    alpha = _number(new, x, node.attributes.get_float("alpha", 1.0) or 0.0)
    return [new.op("Where", new.op("Greater", x, alpha), x, _number(new, x, 0.0))]


def is_infinite(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``IsInf`` of one sign; TVM ignores the attributes."""
    x = required(node.inputs[0])
    negative, positive = (node.attributes.get_int(f"detect_{sign}", 1) for sign in ("negative", "positive"))
    if negative and positive:
        return None
    zero = _number(new, x, 0.0)
    if not negative and not positive:
        return [new.op("Less", new.op("Abs", x), zero)]
    sign = new.op("Less", x, zero) if negative else new.op("Greater", x, zero)
    return [new.op("And", new.op("IsInf", x), sign)]


def boolean_equality(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``Equal`` of booleans, for which TVM generates a comparison of floating-point numbers."""
    x, y = map(required, node.inputs)
    return [new.op("Not", new.op("Xor", x, y))] if x.dtype == ir.DataType.BOOL else None


def half_precision(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """Trigonometric and hyperbolic functions of float16, in float32: TVM has no code for them."""
    x = required(node.inputs[0])
    if x.dtype != ir.DataType.FLOAT16:
        return None
    answer = new.op(node.op_type, new.op("Cast", x, to=ir.DataType.FLOAT))
    return [new.op("Cast", answer, to=ir.DataType.FLOAT16)]


def boolean_reduction(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``ReduceMax`` and ``ReduceMin`` of booleans, as integers."""
    x = required(node.inputs[0])
    if x.dtype != ir.DataType.BOOL:
        return None
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    whole = new.op("Cast", x, to=ir.DataType.INT32)
    reduced = new.op(node.op_type, whole, data_input(node, 1), **attributes)
    return [new.op("Cast", reduced, to=ir.DataType.BOOL)]


def _number(new: Replacement, like: ir.Value, number: float) -> ir.Value:
    """Returns a constant of the type of ``like``."""
    dtype = (like.dtype or ir.DataType.FLOAT).numpy()
    return new.constant("number", np.array(number, dtype))
