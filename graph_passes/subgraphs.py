"""Subgraphs of control flow: which of them run as part of a program, and how one replaces its node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graph_passes.lazy import ir
from graph_passes.values import graph_of, is_op, static_shape

BRANCHES = ("then_branch", "else_branch")


def with_branches(graph: ir.Graph) -> Iterator[ir.Graph]:
    """Yields a graph, and the branches of its Ifs whose outputs have equal static shapes, also of nested ones.

    A program can contain such an If, whose branches are worth the work of passes for our lowering. Bodies of loops and
    other branches run elsewhere.
    """
    yield graph
    for node in list(graph):
        for branch in equal_branches(node):
            yield from with_branches(branch)


def equal_branches(node: ir.Node) -> Sequence[ir.Graph]:
    """Returns the branches of an If if their outputs have equal static shapes and types; nothing for any other node."""
    if not is_op(node, "If"):
        return ()
    branches = [node.attributes[name].as_graph() for name in BRANCHES]
    shapes = [[(static_shape(value), value.dtype) for value in branch.outputs] for branch in branches]
    known = all(shape is not None and dtype is not None for outputs in shapes for shape, dtype in outputs)
    return branches if known and shapes[0] == shapes[1] else ()


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
