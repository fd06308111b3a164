"""Changes of ONNX graphs that several parts of the optimizer need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import onnx
from onnx import helper, numpy_helper


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


def constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Replaces Constant nodes that have a tensor."""
    kept = []
    for node in graph.node:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or "value" not in attributes:
            kept.append(node)
            continue
        graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(attributes["value"]), node.output[0]))
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)


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
