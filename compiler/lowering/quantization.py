"""The integers of layers with weights of int8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import constant, float32_constant
from compiler.workloads.operators.int8 import INT8
from graph_passes.patterns.integer_weight import LONGEST_SUM, are_scales
from graph_passes.patterns.layers import FusedLayer


@dataclass(frozen=True)
class Integers:
    """What a layer of 8-bit integers has in addition to others; nothing for a layer of float32.

    Attributes:
        dtype: of the workload.
        weight: as the node has it; None if it is of float32.
        attributes: those of ``compiler.workloads.operators.operator.QUANTIZATION``.
        weights: the scales of the weight.
    """

    dtype: str = "float32"
    weight: np.ndarray | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)

    def fit(self, channels: int, products: int) -> bool:
        """Whether each output channel has a scale, and its sums of products fit int32."""
        if self.weight is None:
            return True
        return self.weights["scales"].shape == (channels,) and products <= LONGEST_SUM


def integers_of(fused: FusedLayer, operands: Mapping[str, ir.Value | None]) -> Integers | None:
    """Returns the integers of a layer of them; None if they are not constants that the kernels support."""
    weight, scales = constant(operands["w"]), float32_constant(operands["w_scale"])
    if weight is None or scales is None or weight.dtype != np.int8 or not are_scales(scales):
        return None
    attributes: dict[str, Any] = {"dtype": INT8}
    if fused.rounds_by_scale:
        scale, zero = float32_constant(operands["x_scale"]), constant(operands["x_zero"])
        if scale is None or zero is None or scale.size != 1 or zero.size != 1 or not are_scales(scale):
            return None
        if zero.dtype.name not in ("int8", "uint8"):
            return None
        attributes |= {
            "x_dtype": zero.dtype.name,
            "x_scale": float(scale.reshape(())),
            "x_zero_point": int(zero.reshape(())),
        }
    return Integers(INT8, weight, attributes, {"scales": np.ascontiguousarray(scales.reshape(-1))})
