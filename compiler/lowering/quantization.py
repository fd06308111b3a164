"""The weights of layers, of float32 or of 8-bit integers."""

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
class LayerWeight:
    """The constant weight of a layer, and what a layer of 8-bit integers has in addition to others.

    Attributes:
        array: as the node has it.
        dtype: of the workload.
        attributes: those of ``compiler.workloads.operators.operator.QUANTIZATION``.
        scales: the scales of the weight by their name, of a layer of integers.
    """

    array: np.ndarray
    dtype: str = "float32"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    scales: Mapping[str, np.ndarray] = field(default_factory=dict)

    def fits(self, channels: int, products: int) -> bool:
        """Whether the sums of integers fit int32, and each output channel has a scale."""
        return self.dtype != INT8 or (self.scales["scales"].shape == (channels,) and products <= LONGEST_SUM)


def weight_of(fused: FusedLayer, operands: Mapping[str, ir.Value | None]) -> LayerWeight | None:
    """Returns the weight of a layer; None if it is not a constant that the kernels support."""
    if not fused.of_integers:
        array = float32_constant(operands["w"])
        return None if array is None else LayerWeight(array)
    array, scales = constant(operands["w"]), float32_constant(operands["w_scale"])
    if array is None or scales is None or array.dtype != np.int8 or not are_scales(scales):
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
    return LayerWeight(array, INT8, attributes, {"scales": np.ascontiguousarray(scales.reshape(-1))})
