"""The weights of layers, of float32 or of 8-bit integers, and what the integers stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, constant, float32_constant
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

    @property
    def takes_floats(self) -> bool:
        """Whether x is of float32."""
        return self.attributes.get("x_is_float", True)

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
    for operand, tensor, has_integers in (
        ("x", "x", fused.has_integer_input),
        ("r", "residual", fused.integer_residual),
        ("y", "out", fused.integer_output),
        ("s", "sum", fused.rounded_sum),
    ):
        if has_integers:
            found = _integers(operands, operand)
            if found is None:
                return None
            attributes |= {f"{tensor}_{name}": value for name, value in found.items()}
    if fused.has_integer_input:
        attributes["x_is_float"] = False
    return LayerWeight(array, INT8, attributes, {"scales": np.ascontiguousarray(scales.reshape(-1))})


def _integers(operands: Mapping[str, ir.Value | None], name: str) -> dict[str, Any] | None:
    """Returns what the integers of an operand or of the output stand for; None if the kernels do not support it."""
    scale, zero = float32_constant(operands[f"{name}_scale"]), constant(operands[f"{name}_zero"])
    if scale is None or zero is None or scale.size != 1 or zero.size != 1 or not are_scales(scale):
        return None
    tensor, dtype = operands.get(name), zero.dtype.name
    if dtype not in ("int8", "uint8") or (tensor is not None and tensor.dtype != ir.DataType[dtype.upper()]):
        return None
    return {"dtype": dtype, "scale": float(scale.reshape(())), "zero_point": int(zero.reshape(()))}


def with_activation_before_integers(call: Call, fused: FusedLayer, node: ir.Node) -> Call:
    """Returns a call whose output is converted to integers by generated code, if the activation before it is."""
    if call.activation is None or not fused.integer_output:
        return call
    operands = fused.operands(node)
    floats = {name: value for name, value in call.attributes.items() if not name.startswith("out_")}
    return replace(call, attributes=floats, converted_by=(operands["y_scale"], operands["y_zero"]))
