"""Products of quantized tensors: QLinearConv and QLinearMatMul as float32 products of integers, as in integer_products.

::

    QLinearMatMul (a, sa, za, b, sb, zb, s, z)  =  QuantizeLinear (MatMul (a - za, b - zb) (sa sb / s), 1, z)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from graph_passes.lazy import ir
from graph_passes.replacement import Replacement
from graph_passes.values import data_input, required, static_shape


def quantized_convolution(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``QLinearConv (x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias)``."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = map(required, node.inputs[:8])
    if w.shape is None or w_scale.shape is None or w_zero.shape is None:
        return None
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    ones = [1] * (len(w.shape) - 1)
    weight = _centered(new, w, w_zero, [-1, *ones] if len(w_zero.shape) else None)
    product = new.op("Round", new.op("Conv", _centered(new, x, x_zero), weight, **attributes))
    bias = data_input(node, 8)
    if bias is not None:
        wide = new.constant("wide", np.array([1, -1, *ones[1:]], np.int64))
        product = new.op("Add", product, new.op("Reshape", new.op("Cast", bias, to=ir.DataType.FLOAT), wide))
    scale = new.op("Div", new.op("Mul", x_scale, w_scale), y_scale)
    if len(w_scale.shape):
        scale = new.op("Reshape", scale, new.constant("wide", np.array([1, -1, *ones[1:]], np.int64)))
    return [_quantized(new, new.op("Mul", product, scale), y_zero)]


def quantized_product(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``QLinearMatMul (a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)``.

    Each tensor has one scale and zero point; b may have one per column.
    """
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = map(required, node.inputs[:8])
    numbers = (a_scale, a_zero, y_scale, y_zero)
    shapes = [static_shape(value) for value in (*numbers, b_scale, b_zero)]
    if any(shape is None for shape in shapes) or any(prod(shape or ()) != 1 for shape in shapes[: len(numbers)]):
        return None
    if any(len(shape or ()) > 1 for shape in shapes):
        return None
    scalar = new.constant("scalar", np.array([], np.int64))
    y_scale, y_zero = new.op("Reshape", y_scale, scalar), new.op("Reshape", y_zero, scalar)
    a_scale, b_scale, y_scale = (new.op("Cast", scale, to=ir.DataType.FLOAT) for scale in (a_scale, b_scale, y_scale))
    product = new.op("Round", new.op("MatMul", _centered(new, a, a_zero), _centered(new, b, b_zero)))
    scale = new.op("Div", new.op("Mul", a_scale, b_scale), y_scale)
    return [_quantized(new, new.op("Mul", product, scale), y_zero)]


def _quantized(new: Replacement, x: ir.Value, zero: ir.Value) -> ir.Value:
    """Rounds x. ONNX Runtime divides by the scale before, and another order would round some sums to another step."""
    return new.op("QuantizeLinear", x, new.constant("one", np.array(1, np.float32)), zero)


def _centered(new: Replacement, x: ir.Value, zero: ir.Value, shape: Sequence[int] | None = None) -> ir.Value:
    """Returns x minus its zero point, in float32."""
    zero = new.op("Cast", zero, to=ir.DataType.FLOAT)
    if shape is not None:
        zero = new.op("Reshape", zero, new.constant("wide", np.array(shape, np.int64)))
    return new.op("Sub", new.op("Cast", x, to=ir.DataType.FLOAT), zero)
