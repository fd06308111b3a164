"""Lowers optimized ONNX to a Relax module that calls our kernels where there is one, and TVM's operators elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from compiler.lowering.choose import Options, Plan, choose
from compiler.lowering.recognize import Match, recognize
from compiler.lowering.rewrite import rewrite
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target

if TYPE_CHECKING:
    import tvm


@dataclass(frozen=True)
class Lowered:
    """A lowered model.

    Attributes:
        module: its function ``main`` takes the model's inputs and then the layers, an opaque object, and returns a
            tuple of the model's outputs.
        layers: the layers that calls of ``loopwright.*`` in the module refer to, by their second argument.
    """

    module: tvm.IRModule
    layers: tuple[Layer, ...]


def lower(model: ir.Model, target: Target, options: Options) -> Lowered:
    """Lowers a model of static shapes. Changes the model.

    Raises:
        ValueError: the model has operators that cannot be compiled; the message names all of them.
    """
    from compiler.program import tvm_pair

    tvm_pair.load()
    import graph_passes
    from compiler.tvm_backend.importer import import_model

    layers = put_kernels(model, target, options)
    proto = graph_passes.inline(ir.serde.serialize_model(model))
    return Lowered(import_model(proto, layers), layers)


def put_kernels(model: ir.Model, target: Target, options: Options) -> tuple[Layer, ...]:
    """Replaces the nodes that our kernels compute by calls of kernels; returns the layers that the calls refer to."""
    matches, plan = plan_kernels(model, target, options)
    rewrite(model, matches, plan)
    return plan.layers


def plan_kernels(model: ir.Model, target: Target, options: Options) -> tuple[tuple[Match, ...], Plan]:
    """Returns the nodes of the main graph that our kernels compute, and how each is computed."""
    matches = recognize(model.graph, target, options.chains)
    return matches, choose(matches, target, options)
