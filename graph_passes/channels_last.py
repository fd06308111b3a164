"""Moves channels to the last axis inside a model. Transposes remain at the model's inputs and outputs.

::

    x ── Conv ── Relu ──┬── MaxPool ── Concat ── GlobalAveragePool ── Flatten ── y
                        └──────────────┘

    x ── Transpose ── Conv_nhwc ── Relu ──┬── MaxPool_nhwc ── Concat ── GlobalAveragePool_nhwc ── Reshape ── y
                                          └───────────────────┘

Convolutions require channels last. Operators that support both layouts may follow them; all others keep their layout. A
minimum cut (Ford and Fulkerson, 1956) selects the operators that follow. A value that is written in one layout and read
in the other needs one transpose for all its readers, and the cut minimizes the number of transposed elements. Of equal
cuts, the one nearest to the inputs and outputs of the model is taken. Transposes of the original model, such as
TensorFlow's, change the layout at no cost. They are removed if both of their sides use the other layout.

Operators that define the second axis as channels become calls of functions of the domain ``loopwright``, such as
``MaxPool_nhwc``, with a body of transpose, standard operator, transpose. Weights keep ONNX's layout. All other
operators remain and use other axes. If a Flatten needs the elements in the original order, but only products with
constants read it, the rows of these constants are permuted instead.

The pass is for our lowering. A runtime without kernels for these functions runs their bodies with all transposes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from graph_passes.base import Pass, Remark, described, too_old
from graph_passes.fuse_layers import OLDEST_OPSET
from graph_passes.layout.axes import dims_of, is_image, keeps_order
from graph_passes.layout.edit import Edit, Form, Side
from graph_passes.layout.forms import form_of
from graph_passes.layout.functions import wants_channels_last
from graph_passes.layout.minimum_cut import source_side
from graph_passes.lazy import ir
from graph_passes.subgraphs import with_branches
from graph_passes.values import constant


@dataclass(frozen=True)
class ChannelsLast(Pass):
    name: ClassVar[str] = "channels_last"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        remark = too_old(model, OLDEST_OPSET)
        if remark is not None:
            yield remark
            return
        for graph in with_branches(model.graph):
            yield from _rewrite(model, graph)


def _rewrite(model: ir.Model, graph: ir.Graph) -> Iterator[Remark]:
    forms: dict[ir.Node, Form] = {}
    obstacles: dict[ir.Node, str] = {}
    for node in graph:
        form = form_of(node)
        if isinstance(form, Form):
            forms[node] = form
        elif form:
            obstacles[node] = form
    for node, reason in obstacles.items():
        if wants_channels_last(node):
            yield Remark(described(node), f"keeps its layout: {reason}")
    if any(wants_channels_last(node) for node in forms):
        edit = Edit(model, graph, forms, obstacles, _cheapest(graph, forms))
        edit.run()
        yield from edit.remarks


def _cheapest(graph: ir.Graph, forms: Mapping[ir.Node, Form]) -> set[ir.Node]:
    """Returns the nodes to rewrite with channels last, of those that support both layouts."""
    nets: list[tuple[set[ir.Node | Side], int]] = []
    written = [output for node in graph for output in node.outputs]
    read = [value for node in graph for value in node.inputs if value is not None]  # of a branch also from outside
    for value in dict.fromkeys([*graph.inputs, *written, *read]):
        if is_image(value) and constant(value) is None:
            dims = dims_of(value)
            cost = 1 if keeps_order(dims) else prod(dim for dim in dims if isinstance(dim, int))
            nets.append((_members(graph, value, forms), cost))
    return {member for member in source_side(nets, Side.LAST, Side.FIRST) if isinstance(member, ir.Node)}


def _members(graph: ir.Graph, value: ir.Value, forms: Mapping[ir.Node, Form]) -> set[ir.Node | Side]:
    """The sides of a value's writer and readers: nodes that can choose, or the layout that is fixed."""
    sides: set[ir.Node | Side] = {Side.FIRST} if value.is_graph_output() else set()
    writer = value.producer()
    form = None if writer is None else forms.get(writer)
    if writer is None or form is None:
        sides.add(Side.FIRST)
    else:
        sides.add(writer if form.writes is Side.NODE else form.writes)
    for user, place in value.uses():
        form = forms.get(user) if user.graph is graph else None
        if form is None or place not in form.images:
            sides.add(Side.FIRST)
        elif form.reads is not Side.EITHER:
            sides.add(user if form.reads is Side.NODE else form.reads)
    return sides
