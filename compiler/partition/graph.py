"""What the nodes of an ONNX graph read and write, including the bodies of control flow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx


def values_read(node: onnx.NodeProto) -> set[str]:
    """Returns the names of the values that a node or a body of it reads from outside of the node."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            names |= _captured(body)
    return names


def names_of(graph: onnx.GraphProto) -> set[str]:
    """Returns the names of all values of a graph and of its bodies."""
    names = {value.name for value in (*graph.input, *graph.initializer)}
    for node in graph.node:
        names.update(node.output)
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                names |= names_of(body)
    return names


def _captured(graph: onnx.GraphProto) -> set[str]:
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own |= {name for node in graph.node for name in node.output}
    read = {name for node in graph.node for name in values_read(node)}
    return (read | {value.name for value in graph.output}) - own


def dependencies(nodes: Sequence[onnx.NodeProto]) -> list[set[int]]:
    """Returns for each node the indices of the nodes whose outputs it reads."""
    writer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    return [{writer[name] for name in values_read(node) if name in writer} for node in nodes]


def known_types(graph: onnx.GraphProto) -> dict[str, onnx.TypeProto]:
    """Returns the stated types of values, by name."""
    stated: Iterable[onnx.ValueInfoProto] = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type for value in stated if value.type.WhichOneof("value")}
