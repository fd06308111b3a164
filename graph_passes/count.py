"""Counts nodes, parameters and multiply-adds of a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod

from graph_passes.base import DOMAIN, every_graph, every_node
from graph_passes.lazy import ir
from graph_passes.values import STANDARD, data_input, is_op, static_shape


@dataclass(frozen=True)
class Cost:
    """Size of a model.

    ``macs`` counts the multiply-adds of convolutions, matrix products and attention; None if shapes are unknown.
    """

    nodes: int
    params: int
    macs: int | None

    @classmethod
    def of(cls, model: ir.Model) -> Cost:
        nodes = [node for node in every_node(model) if not is_op(node, "Constant")]
        held = [node for node in every_node(model) if is_op(node, "Constant")]
        tensors = [v.const_value for graph in every_graph(model) for v in graph.initializers.values()]
        tensors += [a.as_tensor() for node in held for n, a in node.attributes.items() if n == "value"]
        works = [macs(node) for node in nodes]
        return cls(
            nodes=len(nodes),
            params=sum(tensor.size for tensor in tensors if tensor is not None),
            macs=None if None in works else sum(work for work in works if work is not None),
        )


def operators(model: ir.Model) -> Counter[str]:
    """Counts the nodes of each operator. Operators outside of ONNX's standard domain are named with their domain."""
    return Counter(
        node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        for node in every_node(model)
        if not is_op(node, "Constant")
    )


_CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv", "QuantizedConv")
_PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul", "DynamicMatMul", "QuantizedMatMul", "BlockMatMul")


def macs(node: ir.Node) -> int | None:
    """Returns the multiply-adds of one node; 0 for an operator without any, None if its shapes are unknown.

    A call of a layer function counts like the convolution or product in it, in either layout.
    """
    op_type = node.op_type if node.domain in STANDARD else ""
    if node.domain == DOMAIN:
        op_type = node.op_type.partition("_")[0]
    if op_type not in (*_CONVOLUTIONS, "ConvTranspose", *_PRODUCTS, "Gemm", "Attention"):
        return 0
    weight = data_input(node, 3 if op_type.startswith("QLinear") else 1)
    x, w, y = static_shape(data_input(node, 0)), static_shape(weight), static_shape(node.outputs[0])
    if not x or not w or y is None:  # unknown, or no matrices, which is illegal
        return None
    if node.domain == DOMAIN and "_then_" in node.op_type:  # depthwise, then pointwise at the same pixels
        return prod(y) // y[1] * prod(w) + prod(y) * w[0]
    if op_type in _CONVOLUTIONS:
        return prod(y) * prod(w[1:])
    if op_type == "ConvTranspose":
        return prod(x) * prod(w[1:])
    if op_type == "Gemm":
        return prod(y) * x[0 if node.attributes.get_int("transA", 0) else 1]
    if op_type == "Attention":  # queries by keys, then scores by values
        return (prod(x) + prod(y)) * w[-2]
    return prod(y) * x[-1]
