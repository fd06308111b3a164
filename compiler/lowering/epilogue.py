"""What follows the sum of a fused layer: bias, residual, activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import constant, float32_constant
from compiler.workloads.activations import PRELU
from compiler.workloads.workload import ACTIVATIONS
from graph_passes.patterns.layers import FusedLayer


@dataclass(frozen=True)
class LayerEpilogue:
    """What a kernel computes after the sum, and what generated code computes after the kernel.

    Attributes:
        steps: as in a :class:`compiler.workloads.workload.Workload`.
        weights: the slopes of PRelu, a number per channel.
        activation: as in a :class:`compiler.lowering.call.Call`.
    """

    steps: tuple[str, ...]
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    activation: tuple[str, Mapping[str, float]] | None = None


def epilogue_of(node: ir.Node, fused: FusedLayer, channels: int) -> LayerEpilogue | None:
    """Returns the epilogue of a layer; None if the slopes of its PRelu are not constants of the channels."""
    steps = tuple(name for name, present in (("bias", fused.bias), ("residual", fused.residual)) if present)
    if fused.activation is None or _saturates_alike(node, fused):
        return LayerEpilogue(steps)
    numbers = {name: node.attributes.get_float(name, 0.0) for name in fused.activation_attributes}
    if fused.activation == "leaky_relu":
        slopes = np.full(channels, numbers["activation_alpha"], np.float32)
        return LayerEpilogue((*steps, PRELU), {"slopes": slopes})
    if fused.activation == PRELU:
        slopes = float32_constant(node.inputs[fused.inputs.index("slope")])
        if slopes is None or slopes.size != channels:
            return None
        return LayerEpilogue((*steps, PRELU), {"slopes": slopes.reshape(-1)})
    if fused.activation in ACTIVATIONS:
        return LayerEpilogue((*steps, fused.activation))
    return LayerEpilogue(steps, activation=(fused.activation, numbers))


def _saturates_alike(node: ir.Node, fused: FusedLayer) -> bool:
    """Whether the activation is a ReLU before integers of which the least one stands for zero."""
    if fused.activation != "relu" or not fused.integer_output:
        return False
    zero = constant(fused.operands(node)["y_zero"])
    return zero is not None and zero.size == 1 and int(zero.reshape(())) == np.iinfo(zero.dtype).min
