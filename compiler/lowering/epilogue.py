"""What follows the sum of a fused layer: bias, residual, activation."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from compiler.workloads.workload import ACTIVATIONS
from graph_passes.patterns.layers import FusedLayer


def split_epilogue(node: ir.Node, fused: FusedLayer) -> tuple[tuple[str, ...], tuple[str, Mapping[str, float]] | None]:
    """Returns the epilogue that the kernel computes, and the activation that no kernel supports, as (name, numbers)."""
    parts = [name for name, present in (("bias", fused.bias), ("residual", fused.residual)) if present]
    if fused.activation is None:
        return tuple(parts), None
    if fused.activation in ACTIVATIONS:
        return (*parts, fused.activation), None
    numbers = {name: node.attributes.get_float(name, 0.0) for name in fused.activation_attributes}
    return tuple(parts), (fused.activation, numbers)
