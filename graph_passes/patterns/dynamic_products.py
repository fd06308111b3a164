"""Products of inputs that are quantized by their range, as dynamic quantizers write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.integer_weight import LONGEST_SUM, are_scales, signed_weight
from graph_passes.patterns.layers import FusedLayer, call
from graph_passes.values import (
    constant,
    data_input,
    graph_of,
    is_op,
    new_constant,
    other_operand,
    producer,
    required,
    same_graph,
    sole_user,
    supplant,
)

LAYER = FusedLayer("DynamicMatMul")


def replace_dynamic_products(model: ir.Model, node: ir.Node, products: Sequence[Product]) -> None:
    """Replaces the products of all readers of a DynamicQuantizeLinear by layers, and removes it."""
    for product in products:
        product.write(model, required(node.inputs[0]))
    graph_of(node).remove(node, safe=True)


@dataclass(frozen=True)
class Product:
    """One product of a quantized input.

    Attributes:
        nodes: MatMulInteger, Cast and Mul.
        factor: the Mul of both scales, which other products may read, too.
        weight: (k, n) of int8.
        scales: (n,) of float32.
    """

    nodes: tuple[ir.Node, ir.Node, ir.Node]
    factor: ir.Node
    weight: np.ndarray
    scales: np.ndarray

    @classmethod
    def of(cls, node: ir.Node, quantization: ir.Node) -> Product | None:
        """Returns the product of a reader of a DynamicQuantizeLinear; None if it has another form."""
        y, scale, zero = quantization.outputs
        if not is_op(node, "MatMulInteger") or node.inputs[0] is not y or data_input(node, 2) is not zero:
            return None
        weight = _weight(node)
        cast = sole_user(node.outputs[0])
        if weight is None or cast is None or not is_op(cast, "Cast"):
            return None
        last = sole_user(cast.outputs[0])
        if cast.attributes.get_int("to", 0) != ir.DataType.FLOAT or last is None or not is_op(last, "Mul"):
            return None
        factor = producer(other_operand(last, cast.outputs[0]))
        if factor is None or not is_op(factor, "Mul") or scale not in factor.inputs or not same_graph(factor, node):
            return None
        scales = constant(other_operand(factor, scale))
        columns = weight.shape[1]
        if scales is None or not are_scales(scales) or scales.size not in (1, columns) or scales.ndim > 1:
            return None
        if not same_graph(last, node) or not same_graph(quantization, node):
            return None
        return cls((node, cast, last), factor, weight, np.broadcast_to(scales.reshape(-1), (columns,)))

    def write(self, model: ir.Model, x: ir.Value) -> None:
        node = self.nodes[0]
        graph, name = graph_of(node), required(node.inputs[1]).name
        weight = new_constant(graph, f"{name}_signed", self.weight)
        scales = new_constant(graph, f"{name}_scales", np.ascontiguousarray(self.scales))
        layer = call(model, LAYER, [x, weight, scales], [])
        layer.name = node.name
        supplant(self.nodes, [layer])
        if not self.factor.outputs[0].uses():
            graph.remove(self.factor, safe=True)


def products_of(node: ir.Node) -> Sequence[Product]:
    """Returns the products of all readers; nothing if one of them has another form."""
    if any(value.is_graph_output() for value in node.outputs):
        return ()
    y, scale, zero = node.outputs
    products = [Product.of(use.node, node) for use in y.uses()]
    known = [product for product in products if product is not None]
    factors, readers = {product.factor for product in known}, {product.nodes[0] for product in known}
    alone = {use.node for use in scale.uses()} == factors and {use.node for use in zero.uses()} == readers
    lasts = {product.nodes[2] for product in known}
    scaled = all(use.node in lasts for factor in factors for use in factor.outputs[0].uses())
    scaled &= not any(factor.outputs[0].is_graph_output() for factor in factors)
    return known if len(known) == len(products) and alone and scaled else ()


def _weight(node: ir.Node) -> np.ndarray | None:
    """Returns the weight of a product as int8; None for other forms, and if its sums may exceed int32."""
    zero = data_input(node, 3)
    weight = signed_weight(constant(node.inputs[1]), np.zeros((), np.int8) if zero is None else constant(zero))
    return weight if weight is not None and weight.ndim == 2 and weight.shape[0] <= LONGEST_SUM else None
