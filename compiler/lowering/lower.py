"""Optimized ONNX -> a Relax module that calls our kernels where there is one, and TVM's operators elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from compiler import lowering as kernel_calls
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target

if TYPE_CHECKING:
    import tvm


@dataclass(frozen=True)
class Lowered:
    """Attributes:
    module: its function ``main`` takes the model's inputs and then the layers, an opaque object, and returns a tuple
        of the model's outputs.
    layers: what the module's calls of ``loopwright.*`` stand for, by their second argument.
    """

    module: tvm.IRModule
    layers: tuple[Layer, ...]


def lower(model: ir.Model, target: Target, options: kernel_calls.Options) -> Lowered:
    """Lowers a model of static shapes, which is changed on the way.

    Raises:
        ValueError: the model has operators that cannot be compiled; all of them are named.
    """
    from compiler.program import tvm_pair

    tvm_pair.load()
    import graph_passes
    from compiler.tvm_backend.importer import import_model

    layers = kernel_calls.select(model, target, options)
    proto = graph_passes.inline(ir.serde.serialize_model(model))
    return Lowered(import_model(proto, layers), tuple(layers))
