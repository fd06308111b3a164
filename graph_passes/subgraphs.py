"""Puts the nodes of a subgraph of control flow into the graph that contains its node."""

from __future__ import annotations

from collections.abc import Sequence

from graph_passes.lazy import ir
from graph_passes.values import graph_of


def splice(node: ir.Node, body: ir.Graph, arguments: Sequence[ir.Value | None]) -> list[ir.Value]:
    """Inserts a copy of ``body`` before ``node``, with ``arguments`` as its inputs. Returns the values of its outputs.

    An output may be an argument, or a value that the body reads from outside.
    """
    graph = graph_of(node)
    copy = body.clone(allow_outer_scope_values=True)
    given = dict(zip(copy.inputs, arguments, strict=True))
    outputs = list(copy.outputs)
    copy.outputs.clear()
    for old, new in given.items():
        if new is not None:
            old.replace_all_uses_with(new)
    for value in list(copy.initializers.values()):
        del copy.initializers[str(value.name)]
        _register(graph, value)
    nodes = list(copy)
    copy.remove(nodes)
    graph.insert_before(node, nodes)
    return [found for output in outputs if (found := given.get(output, output)) is not None]


def _register(graph: ir.Graph, value: ir.Value) -> None:
    name = str(value.name)
    while value.name in graph.initializers:
        value.name = f"{name}_{len(graph.initializers)}"
    graph.register_initializer(value)
