"""Recognizes conv2d: fused convolutions over channels-last images."""

from __future__ import annotations

import onnx_ir as ir

from compiler.lowering.call import Call, float32_constant, is_float32, shape_of, vector
from compiler.lowering.epilogue import split_epilogue
from compiler.workloads.workload import Workload
from graph_passes.patterns.layers import FusedLayer
from graph_passes.values import data_input


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a fused convolution over channels-last images."""
    fused = FusedLayer.of(node)
    weight, bias = float32_constant(data_input(node, 1)), None
    x = node.inputs[0]
    if fused is None or not fused.channels_last or x is None or weight is None or not is_float32(x):
        return None
    image, output = shape_of(x), shape_of(node.outputs[0])
    if len(image) != 4 or len(output) != 4 or weight.ndim != 4:
        return None
    if fused.bias:
        bias = vector(data_input(node, 2), weight.shape[0])
        if bias is None:
            return None
    residual = node.inputs[-1] if fused.residual else None
    if fused.residual and shape_of(residual) != output:
        return None
    ints = node.attributes.get_ints
    strides, dilations = tuple(ints("strides", (1, 1))), tuple(ints("dilations", (1, 1)))
    padding = tuple(ints("pads", (0, 0, 0, 0)))
    if len(strides) != 2 or len(dilations) != 2 or len(padding) != 4 or min(padding) < 0:
        return None
    groups = node.attributes.get_int("group", 1)
    epilogue, activation = split_epilogue(node, fused)
    workload = Workload.conv2d(
        *image,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        (strides[0], strides[1]),
        (padding[0], padding[1], padding[2], padding[3]),
        (dilations[0], dilations[1]),
        groups,
        epilogue=epilogue,
    )
    if workload.output_shape != output:
        return None
    attributes = {
        "x": list(image),
        "weight_shape": list(weight.shape),
        "stride": list(strides),
        "padding": list(padding),
        "dilation": list(dilations),
        "groups": groups,
        "residual": fused.residual,
        "activation": workload.activation,
    }
    weights = {"weight": weight} | ({} if bias is None else {"bias": bias})
    inputs = (x, residual) if residual is not None else (x,)
    return Call("conv2d", inputs, attributes, weights, workload, activation)
