"""Recognizes conv2d: fused convolutions over channels-last images."""

from __future__ import annotations

import onnx_ir as ir

from compiler.lowering.call import Call
from compiler.lowering.convolution import ConvolutionNode


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a fused convolution over channels-last images."""
    found = ConvolutionNode.of(node)
    return None if found is None else found.call("conv2d", found.weight.array, found.geometry)
