"""Pooling of images with channels last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from compiler.lowering.call import Call, constant, is_float32, shape_of
from graph_passes.values import data_input, main_output


def max_pool(node: ir.Node) -> Call | None:
    return _pool(node, "max_pool2d", node.attributes.get_ints("dilations", ()))


def average_pool(node: ir.Node) -> Call | None:
    if any(d != 1 for d in node.attributes.get_ints("dilations", ())):
        return None
    with_pads = node.attributes.get_int("count_include_pad", 0)
    return _pool(node, "avg_pool2d_with_pads" if with_pads else "avg_pool2d", ())


def _pool(node: ir.Node, op: str, dilations: Any) -> Call | None:
    ints = node.attributes.get_ints
    kernel = list(ints("kernel_shape", ()))
    window = {
        "kernel": kernel,
        "stride": list(ints("strides", ())) or [1, 1],
        "padding": list(ints("pads", ())) or [0, 0, 0, 0],
        "dilation": list(dilations) or [1, 1],
        "ceil_mode": bool(node.attributes.get_int("ceil_mode", 0)),
    }
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, window["dilation"], strict=True)]
    top, left, bottom, right = window["padding"]
    if max(top, bottom) >= reach[0] or max(left, right) >= reach[1] or min(window["padding"]) < 0:
        return None
    return _over(node, op, window)


def global_average_pool(node: ir.Node) -> Call | None:
    return _over(node, "avg_pool2d", None)


def mean(node: ir.Node) -> Call | None:
    """ReduceMean over height and width of images with channels last."""
    axes = node.attributes.get_ints("axes", ()) or constant(data_input(node, 1))
    rank = len(shape_of(node.inputs[0]))
    if axes is None or rank != 4 or sorted(int(axis) % rank for axis in axes) != [1, 2]:
        return None
    return _over(node, "avg_pool2d", None)


def _over(node: ir.Node, op: str, window: dict[str, Any] | None) -> Call | None:
    """``window`` None: one as large as the image."""
    x = node.inputs[0]
    shape = shape_of(x)
    if x is None or len(shape) != 4 or not is_float32(x) or main_output(node) is None:
        return None
    whole = {
        "kernel": list(shape[1:3]),
        "stride": [1, 1],
        "padding": [0, 0, 0, 0],
        "dilation": [1, 1],
        "ceil_mode": False,
    }
    # For ceil_mode, ONNX before opset 22 states one position too many where the last window lies beside the image.
    if window is not None and shape_of(node.outputs[0])[1:3] != _positions(window, shape[1:3]):
        return None
    return Call(op, (x,), {"x": list(shape), **(window or whole)})


def _positions(window: Mapping[str, Any], image: tuple[int, ...]) -> tuple[int, ...]:
    """How many windows there are along height and width: none begins behind the image."""
    counts = []
    for axis, size in enumerate(image):
        reach = (window["kernel"][axis] - 1) * window["dilation"][axis] + 1
        stride, begin, end = window["stride"][axis], window["padding"][axis], window["padding"][axis + 2]
        room = size + begin + end - reach
        if window["ceil_mode"]:
            room = min(room + stride - 1, size + begin - 1)
        counts.append(room // stride + 1)
    return tuple(counts)
