"""Channels move last through the whole interior, and transposes remain where the model begins and ends.

::

    x ── Conv ── Relu ──┬── MaxPool ── Concat ── GlobalAveragePool ── Flatten ── y
                        └──────────────┘

    x ── Transpose ── Conv_nhwc ── Relu ──┬── MaxPool_nhwc ── Concat ── GlobalAveragePool_nhwc ── Reshape ── y
                                          └───────────────────┘

Convolutions want channels last; what works on either layout may follow them, and everything else keeps the layout that
it has. Which nodes follow is a minimum cut (Ford and Fulkerson, 1956): a value that is written in one layout and read
in the other costs one transpose, however many read it, and as few elements as possible are transposed. Of equal cuts
the one nearest to the ends of the model is taken. Transposes that the model has itself, as those of TensorFlow, change
the layout for nothing: they vanish where both of their sides can do without.

Operators that mean channels by the second axis become calls of functions of the domain ``loopwright``, as
``MaxPool_nhwc``, whose body is transpose, standard operator, transpose. Weights stay as ONNX has them. All other
operators stay themselves, on other axes. Where a Flatten would need the elements in their old order, but only products
with constants read it, the rows of these constants are put in the new order.

For our lowering: a runtime without such kernels runs the bodies, transposes and all.
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
from graph_passes.values import constant


@dataclass(frozen=True)
class ChannelsLast(Pass):
    name: ClassVar[str] = "channels_last"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        refusal = too_old(model, OLDEST_OPSET)
        if refusal is not None:
            yield refusal
            return
        forms: dict[ir.Node, Form] = {}
        refusals: dict[ir.Node, str] = {}
        for node in model.graph:
            form = form_of(node)
            if isinstance(form, Form):
                forms[node] = form
            elif form:
                refusals[node] = form
        for node, reason in refusals.items():
            if wants_channels_last(node):
                yield Remark(described(node), f"keeps its layout: {reason}")
        if any(wants_channels_last(node) for node in forms):
            edit = Edit(model, forms, refusals, _cheapest(model.graph, forms))
            edit.run()
            yield from edit.remarks


def _cheapest(graph: ir.Graph, forms: Mapping[ir.Node, Form]) -> set[ir.Node]:
    """The nodes to write with channels last, of those that can be written either way."""
    nets: list[tuple[set[ir.Node | Side], int]] = []
    for value in [*graph.inputs, *(output for node in graph for output in node.outputs)]:
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
