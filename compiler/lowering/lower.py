"""Lowers an optimized model: puts calls of our kernels into the graph, and inlines all other functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from compiler.lowering.choose import Options, Plan, choose
from compiler.lowering.recognize import Match, recognize
from compiler.lowering.rewrite import rewrite
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target
from graph_passes.base import release
from graph_passes.inline_functions import inline_calls
from graph_passes.subgraphs import with_branches

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Lowered:
    """A lowered model.

    Attributes:
        model: a model without functions. Nodes of the domain ``loopwright.kernels`` are calls of kernels; their
            attribute "place" is the index of a layer. All other nodes are standard operators.
        layers: the layers that the calls refer to.
    """

    model: onnx.ModelProto
    layers: tuple[Layer, ...]


def lower(model: ir.Model, target: Target, options: Options) -> Lowered:
    """Lowers a model of static shapes, which becomes the lowered one and loses its constants."""
    layers = put_kernels(model, target, options)
    for graph in with_branches(model.graph):
        for name, weight in list(graph.initializers.items()):
            if not weight.uses() and not weight.is_graph_output():  # of a kernel
                del graph.initializers[name]
                release([weight])
    inline_calls(model)
    lowered = Lowered(ir.serde.serialize_model(model), layers)
    constants = list(model.graph.initializers.values())
    model.graph.initializers.clear()
    release(constants)  # their memory is needed for packed weights
    return lowered


def put_kernels(model: ir.Model, target: Target, options: Options) -> tuple[Layer, ...]:
    """Replaces the nodes that our kernels compute by calls of kernels; returns the layers that the calls refer to."""
    matches, plan = plan_kernels(model, target, options)
    rewrite(model, matches, plan)
    return plan.layers


def plan_kernels(model: ir.Model, target: Target, options: Options) -> tuple[tuple[Match, ...], Plan]:
    """Returns the nodes of the model that our kernels compute, and how each is computed."""
    matches = recognize(model.graph, target, options.chains, options.operators)
    return matches, choose(matches, target, options)
