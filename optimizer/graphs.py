"""Changes of ONNX graphs that several parts of the optimizer need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import helper, numpy_helper

import graph_passes
from graph_passes.lazy import ir
from optimizer.messages import one_line

INTEGER_OPERATORS = frozenset(
    "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul QuantizeLinear".split()
)


def loaded(model: str | Path | onnx.ModelProto, passes: Sequence[str]) -> onnx.ModelProto:
    """Returns a model after graph passes, with the weights of its external data.

    Raises:
        ValueError: the model is not valid; the message is one line.
        OSError: a file cannot be read.
    """
    optimized = graph_passes.optimize(model, passes=passes).ir_model
    ir.external_data.load_to_model(optimized)
    return ir.serde.serialize_model(optimized)


def in_opset(model: onnx.ModelProto, oldest: int, wanted: int, problem: str) -> onnx.ModelProto:
    """Returns a model, converted to the opset ``wanted`` if its own is older than ``oldest``.

    Raises:
        ValueError: it cannot be converted; the message is one line, in which ``problem`` follows the opset.
    """
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if opset >= oldest:
        return model
    try:
        return onnx.version_converter.convert_version(model, wanted)
    except Exception as error:  # noqa: BLE001 - its errors share no base class
        raise ValueError(f"opset {opset} {problem}: {one_line(error)}") from None


def check_not_quantized(model: onnx.ModelProto, advice: str = "") -> None:
    """
    Raises:
        ValueError: the model has operators of integers; the message is one line, which ends with ``advice``.
    """
    if found := sorted({node.op_type for node in model.graph.node} & INTEGER_OPERATORS):
        raise ValueError(f"the model is quantized already: it has {', '.join(found)}{advice}")


def name_nodes(graph: onnx.GraphProto) -> None:
    """Gives each node a name that no other node has; a name that is the only one stays."""
    names = Counter(node.name for node in graph.node)
    for index, node in enumerate(graph.node):
        if not node.name or names[node.name] > 1:
            name = node.name or f"{node.op_type}_{index}"
            while names[name]:
                name += "_"
            names[name] += 1
            node.name = name


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Returns the attributes of a node by name; texts are ``str``."""
    found = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def inputs_of(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Returns the inputs of a model without its weights, which are inputs, too, in old models."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Replaces Constant nodes that have a tensor."""
    kept = []
    for node in graph.node:
        attributes = attributes_of(node)
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or "value" not in attributes:
            kept.append(node)
            continue
        graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(attributes["value"]), node.output[0]))
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)


def separate_vectors(graph: onnx.GraphProto) -> None:
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


def reads(node: onnx.NodeProto) -> set[str]:
    """Returns the names of all tensors that a node and its subgraphs read."""
    return {*node.input, *inner_reads(node)} - {""}


def inner_reads(node: onnx.NodeProto) -> set[str]:
    """Returns the names that the subgraphs of a node read."""
    found: set[str] = set()
    for attribute in node.attribute:
        graphs: Sequence[onnx.GraphProto] = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
        for graph in graphs:
            found |= {output.name for output in graph.output}
            for inner in graph.node:
                found |= reads(inner)
    return found - {""}


def with_outputs(model: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    """Returns a copy of a model that returns these tensors in place of its outputs."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    changed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return changed
