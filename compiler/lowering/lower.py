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
    """Lowers a model of static shapes. The model loses its constants."""
    import graph_passes

    layers = put_kernels(model, target, options)
    constants = dict(model.graph.initializers)
    for name, weight in constants.items():
        if not weight.uses() and not weight.is_graph_output():  # of a kernel
            del model.graph.initializers[name]
            release([weight])
    lowered = Lowered(graph_passes.inline(ir.serde.serialize_model(model)), layers)
    model.graph.initializers.clear()  # their memory is needed for packed weights
    release(constants.values())
    return lowered


def put_kernels(model: ir.Model, target: Target, options: Options) -> tuple[Layer, ...]:
    """Replaces the nodes that our kernels compute by calls of kernels; returns the layers that the calls refer to."""
    matches, plan = plan_kernels(model, target, options)
    rewrite(model, matches, plan)
    return plan.layers


def plan_kernels(model: ir.Model, target: Target, options: Options) -> tuple[tuple[Match, ...], Plan]:
    """Returns the nodes of the main graph that our kernels compute, and how each is computed."""
    matches = recognize(model.graph, target, options.chains)
    return matches, choose(matches, target, options)
