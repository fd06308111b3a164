"""Recognizes conv_transpose2d: fused transposed convolutions over channels-last images.

With stride 1 it is conv2d with mirrored kernels, and padding of the opposite size.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call
from compiler.lowering.convolution import ConvolutionNode, Geometry

_FEWEST_OUTPUTS = 4  # of a group: each group has its own panels, whose vectors it should fill


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a fused transposed convolution over channels-last images."""
    found = ConvolutionNode.of(node)
    if found is None or found.groups < 1 or found.weight.array.shape[0] % found.groups:
        return None
    if mirrored := _mirrored(found.weight.array, found.groups, found.geometry):
        return found.call("conv2d", *mirrored)
    if found.groups > 1 and found.weight.array.shape[1] < _FEWEST_OUTPUTS:
        return None
    return found.call("conv_transpose2d", found.weight.array, found.geometry)


def _mirrored(weight: np.ndarray, groups: int, geometry: Geometry) -> tuple[np.ndarray, Geometry] | None:
    """Returns the weight and the geometry of the conv2d that computes a transposed convolution of stride 1.

    None for other strides, for an output padding, and if the padding cuts off more than a kernel.
    """
    reach = [(k - 1) * d for k, d in zip(weight.shape[2:], geometry["dilation"], strict=True)]
    padding = [reach[side % 2] - pad for side, pad in enumerate(geometry["padding"])]
    if geometry["stride"] != [1, 1] or any(geometry["output_padding"]) or min(padding) < 0:
        return None
    c, group_o, kh, kw = weight.shape
    grouped = weight.reshape(groups, c // groups, group_o, kh, kw)[..., ::-1, ::-1]
    mirrored = np.ascontiguousarray(grouped.transpose(0, 2, 1, 3, 4)).reshape(groups * group_o, c // groups, kh, kw)
    return mirrored, {"stride": [1, 1], "padding": padding, "dilation": geometry["dilation"]}
