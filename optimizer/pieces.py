"""Cuts a model into pieces that run one after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from optimizer.graphs import reads


@dataclass(frozen=True)
class Piece:
    """Consecutive nodes of a model.

    Attributes:
        model: reads values of earlier pieces and inputs of the whole model, and returns what later ones read.
        inputs: the names of what it reads.
        end: the output of its last node at which the model was cut; None in the last piece.
        unread: names of values that no later piece reads.
    """

    model: onnx.ModelProto
    inputs: tuple[str, ...]
    end: str | None
    unread: tuple[str, ...]


def pieces(model: onnx.ModelProto, ends: Collection[str]) -> Iterator[Piece]:
    """Yields the pieces of a model in the order of its nodes; each ends behind the node that makes one of ``ends``.

    A piece is made when the iterator reaches it, with the constants that the model has at that time.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.input)}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    given = {value.name: value for value in model.graph.input}
    groups = list(_groups(model.graph.node, ends))
    read = [{name for node in nodes for name in reads(node)} for nodes, _ in groups]
    last = {name: place for place, names in enumerate(read) for name in names}
    last |= {output.name: len(groups) for output in model.graph.output}
    live: set[str] = set(given) - set(constants)
    for place, (nodes, end) in enumerate(groups):
        made = {name for node in nodes for name in node.output if name}
        inputs = tuple(sorted(read[place] & live))
        later = {name for name in made if last.get(name, -1) > place} | ({end} if end else set())
        graph = helper.make_graph(
            nodes,
            "piece",
            # Without shapes, which may contradict what a runtime infers.
            [helper.make_tensor_value_info(name, types[name], None) for name in inputs],
            [onnx.ValueInfoProto(name=name) for name in sorted(later)],
            [constants[name] for name in sorted(read[place] & set(constants))],
        )
        part = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
        part.functions.extend(model.functions)
        live |= later
        unread = tuple(sorted(name for name in live if last.get(name, -1) <= place))
        live -= set(unread)
        yield Piece(part, inputs, end, unread)


def _groups(
    nodes: Sequence[onnx.NodeProto], ends: Collection[str]
) -> Iterator[tuple[list[onnx.NodeProto], str | None]]:
    group: list[onnx.NodeProto] = []
    for node in nodes:
        group.append(node)
        end = next((name for name in node.output if name in ends), None)
        if end is not None:
            yield group, end
            group = []
    if group:
        yield group, None
