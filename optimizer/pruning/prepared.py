"""The form of a model in which its channels are found."""

from __future__ import annotations

from math import prod
from pathlib import Path

import onnx

import graph_passes
from graph_passes.lazy import ir
from optimizer.graphs import constants_to_initializers, name_nodes

# Batch normalization becomes part of the convolution before it, so that the size of weights has its factor.
PASSES = ("inline_functions", "fold_constants", "fold_batch_norm")
QUANTIZED = frozenset(
    "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul QuantizeLinear".split()
)


def prepared(model: str | Path | onnx.ModelProto) -> onnx.ModelProto:
    """Returns a model with folded constants and normalizations, inferred shapes, and a name for each node.

    Raises:
        ValueError: the model is not valid, or is quantized already. The message is one line.
        OSError: a file cannot be read.
    """
    optimized = graph_passes.optimize(model, passes=PASSES).ir_model
    ir.external_data.load_to_model(optimized)
    proto = ir.serde.serialize_model(optimized)
    if found := sorted({node.op_type for node in proto.graph.node} & QUANTIZED):
        raise ValueError(f"the model is quantized already: it has {', '.join(found)}; prune it before")
    constants_to_initializers(proto.graph)
    _separate_vectors(proto.graph)
    name_nodes(proto.graph)
    return onnx.shape_inference.infer_shapes(proto)


def _separate_vectors(graph: onnx.GraphProto) -> None:
    """Gives each reader of a vector, such as a bias, its own copy: equal ones need not stay equal without channels.

    Larger constants that several nodes read stay one, and then the nodes lose the same channels.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    vectors = {name for name, tensor in tensors.items() if max(tensor.dims, default=1) == prod(tensor.dims) > 1}
    vectors -= {value.name for value in graph.input}
    seen = set()
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name not in vectors or tensors[name].data_type != onnx.TensorProto.FLOAT:
                continue
            if name in seen:
                copy = f"{name}/{len(tensors)}"
                while copy in tensors:
                    copy += "_"
                tensors[copy] = onnx.TensorProto()
                tensors[copy].CopyFrom(tensors[name])
                tensors[copy].name = node.input[place] = copy
                graph.initializer.append(tensors[copy])
            seen.add(name)
