"""What a model costs: nodes, parameters and multiply-adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from graph_passes.base import DOMAIN, every_graph
from graph_passes.lazy import ir
from graph_passes.values import STANDARD, data_input, is_op, static_shape


@dataclass(frozen=True)
class Cost:
    """``macs`` counts the multiply-adds of convolutions, matrix products and attention; None where shapes are unknown."""

    nodes: int
    params: int
    macs: int | None

    @classmethod
    def of(cls, model: ir.Model) -> Cost:
        nodes = [node for graph in every_graph(model) for node in graph if not is_op(node, "Constant")]
        tensors = [v.const_value for graph in every_graph(model) for v in graph.initializers.values()]
        held = [node for graph in every_graph(model) for node in graph if is_op(node, "Constant")]
        tensors += [a.as_tensor() for node in held for n, a in node.attributes.items() if n == "value"]
        works = [macs(node) for node in nodes]
        return cls(
            nodes=len(nodes),
            params=sum(tensor.size for tensor in tensors if tensor is not None),
            macs=None if None in works else sum(work for work in works if work is not None),
        )


def operators(model: ir.Model) -> Counter[str]:
    """How many nodes of each operator, those outside of ONNX's own domain with theirs."""
    return Counter(
        node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        for graph in every_graph(model)
        for node in graph
        if not is_op(node, "Constant")
    )


def macs(node: ir.Node) -> int | None:
    """Multiply-adds of one node; 0 of an operator that has none, None where its shapes are unknown.

    A layer that is a call of a function of ours counts as its convolution or product does, in whatever layout: each
    element of the answer takes the weights of one output channel.
    """
    if node.domain == DOMAIN:
        return sum_of(_parts(node))
    op_type = node.op_type if node.domain in STANDARD else ""
    return _macs(op_type, node.inputs, node.outputs[0] if node.outputs else None, node)


def sum_of(works: Iterator[int | None]) -> int | None:
    total = 0
    for work in works:
        if work is None:
            return None
        total += work
    return total


def _parts(node: ir.Node) -> Iterator[int | None]:
    """Of the convolutions and products that one of our functions is made of."""
    first, _, second = node.op_type.partition("_then_")
    output = node.outputs[0]
    if second:  # depthwise, then pointwise: the first keeps the channels of the second's input, at the output's pixels
        weights = [static_shape(value) for value in node.inputs[1:] if value is not None]
        kernels = [shape for shape in weights if shape is not None and len(shape) > 2]
        shape = static_shape(output)
        if shape is None or len(kernels) < 2:
            yield None
            return
        pixels = prod(shape) // kernels[1][0]
        yield pixels * prod(kernels[0])
        yield pixels * prod(kernels[1])
        return
    yield _macs(first.partition("_")[0], node.inputs, output, node)


def _macs(op: str, inputs: tuple[ir.Value | None, ...], output: ir.Value | None, node: ir.Node) -> int | None:
    if op not in ("Conv", "ConvTranspose", "Gemm", "MatMul", "Attention", "ConvInteger", "MatMulInteger", "QLinearConv"):
        return 0
    weight_place = 3 if op == "QLinearConv" else 1
    x, weight, y = static_shape(inputs[0]), static_shape(data_input(node, weight_place)), static_shape(output)
    if x is None or weight is None or y is None:
        return None
    if op in ("Conv", "ConvInteger", "QLinearConv"):
        return prod(y) * prod(weight[1:])
    if op == "ConvTranspose":
        return prod(x) * prod(weight[1:])
    if op == "Gemm":
        return prod(y) * x[0 if node.attributes.get_int("transA", 0) else 1]
    if op in ("MatMul", "MatMulInteger"):
        return prod(y) * x[-1]
    return weight[-2] * (prod(x) + prod(y))  # attention: every key with the queries, every value with the scores
