"""Lets nodes that compute the same from the same constants share one result.

A model that applies a layer several times may convert the layer's weights in each place. Folded one by one, they would
take the memory of as many weights.
"""

from __future__ import annotations

from graph_passes.lazy import ir
from graph_passes.values import STANDARD

_RANDOM = frozenset({"Bernoulli", "Dropout", "Multinomial", "RandomNormalLike", "RandomUniformLike"})


def share_constants(model: ir.Model) -> None:
    """Replaces later nodes of the main graph by the first one with the same operator, inputs and attributes."""
    first: dict[tuple[object, ...], ir.Node] = {}
    known = set(model.graph.initializers.values())
    for node in list(model.graph):
        if not _is_plain(node) or not all(value is None or value in known for value in node.inputs):
            continue
        known.update(node.outputs)
        attributes = tuple(
            (name, ir.serde.serialize_attribute(attribute).SerializeToString())
            for name, attribute in sorted(node.attributes.items())
        )
        key = (node.op_type, tuple(id(value) for value in node.inputs), len(node.outputs), attributes)
        shared = first.setdefault(key, node)
        if shared is node or any(output.is_graph_output() for output in node.outputs):
            continue
        for output, same in zip(node.outputs, shared.outputs, strict=True):
            ir.convenience.replace_all_uses_with(output, same)
        model.graph.remove(node, safe=True)


def _is_plain(node: ir.Node) -> bool:
    """Whether equal inputs give equal outputs. A node without inputs may hold a large constant in an attribute."""
    bodies = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return (
        node.domain in STANDARD
        and node.op_type not in _RANDOM
        and any(value is not None for value in node.inputs)
        and not any(attribute.is_ref() or attribute.type in bodies for attribute in node.attributes.values())
    )
