"""Recognizes conv_transpose2d: fused transposed convolutions over channels-last images.

With stride 1 it is conv2d with mirrored kernels, and padding of the opposite size.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, float32_constant, is_float32, shape_of, vector
from compiler.lowering.epilogue import split_epilogue
from compiler.workloads.workload import Workload
from graph_passes.patterns.layers import FusedLayer
from graph_passes.values import data_input

_FEWEST_OUTPUTS = 4  # of a group: each group has its own panels, whose vectors it should fill


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a fused transposed convolution over channels-last images."""
    fused = FusedLayer.of(node)
    weight, bias = float32_constant(data_input(node, 1)), None
    x = node.inputs[0]
    if fused is None or not fused.channels_last or x is None or weight is None or not is_float32(x):
        return None
    image, output = shape_of(x), shape_of(node.outputs[0])
    groups = node.attributes.get_int("group", 1)
    if len(image) != 4 or len(output) != 4 or weight.ndim != 4 or groups < 1 or weight.shape[0] % groups:
        return None
    if fused.bias:
        bias = vector(data_input(node, 2), weight.shape[1] * groups)
        if bias is None:
            return None
    residual = node.inputs[-1] if fused.residual else None
    if fused.residual and shape_of(residual) != output:
        return None
    ints = node.attributes.get_ints
    geometry = {
        "stride": list(ints("strides", (1, 1))),
        "padding": list(ints("pads", (0, 0, 0, 0))),
        "output_padding": list(ints("output_padding", (0, 0))),
        "dilation": list(ints("dilations", (1, 1))),
    }
    if [len(numbers) for numbers in geometry.values()] != [2, 4, 2, 2] or min(map(min, geometry.values())) < 0:
        return None
    epilogue, activation = split_epilogue(node, fused)
    made = _mirrored(weight, groups, geometry) or ("conv_transpose2d", weight, geometry)
    op, weight, geometry = made
    sizes = [number for numbers in geometry.values() for number in numbers]
    if op == "conv_transpose2d":
        if groups > 1 and weight.shape[1] < _FEWEST_OUTPUTS:
            return None
        channels = weight.shape[1] * groups
    else:
        channels = weight.shape[0]
    try:
        workload = Workload(op, (*image, channels, *weight.shape[2:], *sizes, groups), epilogue=epilogue)
    except ValueError:  # the padding leaves nothing
        return None
    if workload.output_shape != output:
        return None
    attributes = {
        "x": list(image),
        "weight_shape": list(weight.shape),
        **geometry,
        "groups": groups,
        "residual": fused.residual,
        "activation": workload.activation,
    }
    weights = {"weight": weight} | ({} if bias is None else {"bias": bias})
    inputs = (x, residual) if residual is not None else (x,)
    return Call(op, inputs, attributes, weights, workload, activation)


def _mirrored(
    weight: np.ndarray, groups: int, geometry: dict[str, list[int]]
) -> tuple[str, np.ndarray, dict[str, list[int]]] | None:
    """Returns the conv2d that computes a transposed convolution of stride 1: its operator, weight and geometry.

    None for other strides, for an output padding, and if the padding cuts off more than a kernel.
    """
    reach = [(k - 1) * d for k, d in zip(weight.shape[2:], geometry["dilation"], strict=True)]
    padding = [reach[side % 2] - pad for side, pad in enumerate(geometry["padding"])]
    if geometry["stride"] != [1, 1] or any(geometry["output_padding"]) or min(padding) < 0:
        return None
    c, group_o, kh, kw = weight.shape
    grouped = weight.reshape(groups, c // groups, group_o, kh, kw)[..., ::-1, ::-1]
    mirrored = np.ascontiguousarray(grouped.transpose(0, 2, 1, 3, 4)).reshape(groups * group_o, c // groups, kh, kw)
    return "conv2d", mirrored, {"stride": [1, 1], "padding": padding, "dilation": geometry["dilation"]}
