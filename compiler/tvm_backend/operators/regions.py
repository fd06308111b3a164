"""Pooling of regions of an image that are data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tvm import relax
from tvm.ir import StringImm

from compiler.tvm_backend.operators.cast import converted
from compiler.tvm_backend.operators.checked_indices import checked, without_negative
from compiler.tvm_backend.operators.node import Converter, Node, Tensor, Unsupported

_HALF_PIXEL_OPSET = 16  # the first RoiAlign with coordinate_transformation_mode, whose default is half_pixel


def _roi_align(node: Node) -> Tensor:
    x, rois, batches = node.input(0), node.input(1), node.input(2)
    mode = node.attribute("mode", "avg")
    height, width = int(node.attribute("output_height", 1)), int(node.attribute("output_width", 1))
    default = "half_pixel" if node.opset >= _HALF_PIXEL_OPSET else "output_half_pixel"
    coordinates = node.attribute("coordinate_transformation_mode", default)
    if mode not in ("avg", "max") or coordinates not in ("half_pixel", "output_half_pixel"):
        raise Unsupported(f"mode {mode!r} with coordinate_transformation_mode {coordinates!r} is not known")
    if x.rank != 4 or rois.rank != 2 or rois.shape[1] != 4 or batches.shape != rois.shape[:1] or 0 in x.shape:
        raise Unsupported(f"regions of shape {rois.shape} do not fit an image of shape {x.shape}")
    shape = (rois.shape[0], x.shape[1], height, width)
    if 0 in shape:
        return Tensor.constant(np.zeros(shape, x.dtype))
    dtype = x.dtype
    wide = "float64" if dtype == "float64" else "float32"
    image, places = (converted(node, tensor, wide) for tensor in (x, rois))
    arguments = [
        *(image, places, converted(node, checked(node, without_negative(node, batches), [x.shape[0]]), "int64")),
        StringImm(mode),
        relax.prim_value(int(node.attribute("sampling_ratio", 0))),
        relax.prim_value(float(node.attribute("spatial_scale", 1.0))),
        relax.prim_value(int(coordinates == "half_pixel")),
    ]
    return converted(node, node.called("loopwright.roi_align", arguments, Tensor(shape, wide)), dtype)


CONVERTERS: Mapping[str, Converter] = {"RoiAlign": _roi_align}
