"""Reads an image at the places that a grid names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tvm import relax
from tvm.ir import StringImm

from compiler.tvm_backend.operators.cast import converted
from compiler.tvm_backend.operators.node import Converter, Node, Tensor, Unsupported

_MODES = {"bilinear": "linear", "bicubic": "cubic"}  # names before opset 20


def _grid_sample(node: Node) -> Tensor:
    x, grid = node.input(0), node.input(1)
    axes = x.rank - 2
    mode = node.attribute("mode", "linear")
    mode = _MODES.get(mode, mode)
    padding = node.attribute("padding_mode", "zeros")
    if mode not in ("linear", "nearest", "cubic") or padding not in ("zeros", "border", "reflection"):
        raise Unsupported(f"mode {mode!r} with padding_mode {padding!r} is not known")
    if not 1 <= axes <= 3 or grid.rank != x.rank or grid.shape[-1] != axes or grid.shape[0] != x.shape[0]:
        raise Unsupported(f"a grid of shape {grid.shape} does not fit an image of shape {x.shape}")
    shape = (*x.shape[:2], *grid.shape[1:-1])
    if 0 in shape:
        return Tensor.constant(np.zeros(shape, x.dtype))
    if 0 in x.shape:
        raise Unsupported("the image has no pixels")
    dtype = "float64" if x.dtype == "float64" else "float32"
    image, places = (converted(node, tensor, dtype) for tensor in (x, grid))
    align = relax.prim_value(int(bool(node.attribute("align_corners", 0))))
    arguments = [image, places, StringImm(mode), StringImm(padding), align]
    return converted(node, node.called("loopwright.grid_sample", arguments, Tensor(shape, dtype)), x.dtype)


CONVERTERS: Mapping[str, Converter] = {"GridSample": _grid_sample}
