"""The nodes of convolutions and of transposed convolutions, and the calls of their kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, is_float32, shape_of, vector
from compiler.lowering.epilogue import epilogue_of
from compiler.lowering.quantization import LayerWeight, weight_of, with_activation_before_integers
from compiler.workloads.workload import Workload
from graph_passes.patterns.layers import FusedLayer

# Numbers by the names that layers have for them, in the order of a workload's dimensions.
Geometry = Mapping[str, list[int]]
# For each of them: its attribute in ONNX, and its default.
_ATTRIBUTES: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "stride": ("strides", (1, 1)),
    "padding": ("pads", (0, 0, 0, 0)),
    "output_padding": ("output_padding", (0, 0)),
    "dilation": ("dilations", (1, 1)),
}


@dataclass(frozen=True)
class ConvolutionNode:
    """A fused convolution over channels-last images, with a constant weight.

    Attributes:
        x: the images, of shape ``image``.
        output: the shape of the output.
        weight, bias: as the node has them; the bias has one number per output channel.
        geometry: ``output_padding`` is only that of a ConvTranspose.
    """

    node: ir.Node
    fused: FusedLayer
    x: ir.Value
    residual: ir.Value | None
    image: tuple[int, ...]
    output: tuple[int, ...]
    weight: LayerWeight
    bias: np.ndarray | None
    geometry: Geometry
    groups: int

    @classmethod
    def of(cls, node: ir.Node) -> ConvolutionNode | None:
        """Returns what a node computes; None if it is not such a convolution."""
        fused = FusedLayer.of(node)
        if fused is None or not fused.channels_last:
            return None
        operands = fused.operands(node)
        x, weight = operands["x"], weight_of(fused, operands)
        if weight is None or x is None or (weight.takes_floats and not is_float32(x)):
            return None
        image, output = shape_of(x), shape_of(node.outputs[0])
        if len(image) != 4 or len(output) != 4 or weight.array.ndim != 4:
            return None
        if not weight.fits(output[-1], prod(weight.array.shape[1:])):
            return None
        bias = vector(operands["b"], output[-1]) if fused.bias else None
        residual = operands.get("r")
        if (fused.bias and bias is None) or (fused.residual and shape_of(residual) != output):
            return None
        geometry = {
            name: list(node.attributes.get_ints(attribute, default))
            for name, (attribute, default) in _ATTRIBUTES.items()
            if fused.op == "ConvTranspose" or name != "output_padding"
        }
        if any(len(numbers) != len(_ATTRIBUTES[name][1]) for name, numbers in geometry.items()):
            return None
        groups = node.attributes.get_int("group", 1)
        return cls(node, fused, x, residual, image, output, weight, bias, geometry, groups)

    def call(self, op: str, weight: np.ndarray, geometry: Geometry) -> Call | None:
        """Returns the call of a kernel that computes the node with this weight; None if the sizes do not fit it."""
        epilogue = epilogue_of(self.node, self.fused, self.output[-1])
        if epilogue is None:
            return None
        sizes = [number for numbers in geometry.values() for number in numbers]
        dims = (*self.image, self.output[-1], *weight.shape[2:], *sizes, self.groups)
        try:
            workload = Workload(op, dims, self.weight.dtype, epilogue.steps)
        except ValueError:
            return None
        if workload.output_shape != self.output or workload.input_shapes["weight"] != weight.shape:
            return None
        attributes = {
            "x": list(self.image),
            "weight_shape": list(weight.shape),
            **geometry,
            "groups": self.groups,
            "residual": self.fused.residual,
            "activation": workload.activation,
            **self.weight.attributes,
        }
        weights = {"weight": weight, **epilogue.weights, **self.weight.scales}
        weights |= {} if self.bias is None else {"bias": self.bias}
        inputs = (self.x,) if self.residual is None else (self.x, self.residual)
        call = Call(op, inputs, attributes, weights, workload, epilogue.activation)
        return with_activation_before_integers(call, self.fused, self.node)
