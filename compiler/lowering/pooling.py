"""Recognizes max_pool2d and avg_pool2d: pooling over channels-last images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from compiler.lowering.call import Call, constant, is_float32, shape_of
from compiler.workloads.workload import Workload
from graph_passes.values import data_input, main_output

_INTEGERS = {ir.DataType.INT8: "int8", ir.DataType.UINT8: "uint8"}
_LENGTHS = {"kernel": 2, "stride": 2, "padding": 4, "dilation": 2}


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a pooling function of ``graph_passes``, or of a ReduceMean over height and width."""
    dilations = node.attributes.get_ints("dilations", ())
    if node.op_type == "MaxPool_nhwc":
        return _windowed(node, "max_pool2d", dilations)
    if node.op_type == "AveragePool_nhwc":
        with_pads = node.attributes.get_int("count_include_pad", 0)
        op = "avg_pool2d_with_pads" if with_pads else "avg_pool2d"
        return None if any(d != 1 for d in dilations) else _windowed(node, op, ())
    if node.op_type == "GlobalMaxPool_nhwc":
        return _pool(node, "max_pool2d", None)
    if node.op_type == "ReduceMean" and not _is_spatial_mean(node):
        return None
    return _pool(node, "avg_pool2d", None)


def _windowed(node: ir.Node, op: str, dilations: Sequence[int]) -> Call | None:
    ints = node.attributes.get_ints
    kernel = list(ints("kernel_shape", ()))
    window = {
        "kernel": kernel,
        "stride": list(ints("strides", ())) or [1, 1],
        "padding": list(ints("pads", ())) or [0, 0, 0, 0],
        "dilation": list(dilations) or [1, 1],
        "ceil_mode": bool(node.attributes.get_int("ceil_mode", 0)),
    }
    if any(len(window[name]) != size for name, size in _LENGTHS.items()):
        return None
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, window["dilation"], strict=True)]
    top, left, bottom, right = window["padding"]
    if max(top, bottom) >= reach[0] or max(left, right) >= reach[1] or min(window["padding"]) < 0:
        return None
    return _pool(node, op, window)


def _is_spatial_mean(node: ir.Node) -> bool:
    axes = node.attributes.get_ints("axes", ()) or constant(data_input(node, 1))
    rank = len(shape_of(node.inputs[0]))
    return axes is not None and rank == 4 and sorted(int(axis) % rank for axis in axes) == [1, 2]


def _pool(node: ir.Node, op: str, window: dict[str, Any] | None) -> Call | None:
    """``window`` None: one as large as the image."""
    x = node.inputs[0]
    shape = shape_of(x)
    integers = _INTEGERS.get(x.dtype) if x is not None and x.dtype is not None and op == "max_pool2d" else None
    if x is None or len(shape) != 4 or not (integers or is_float32(x)) or main_output(node) is None:
        return None
    if window is None:
        window = {
            "kernel": list(shape[1:3]),
            "stride": [1, 1],
            "padding": [0, 0, 0, 0],
            "dilation": [1, 1],
            "ceil_mode": False,
        }
    workload = _workload(op, shape, window)
    # With ceil_mode, ONNX before opset 22 infers one position too many if the last window begins beyond the image.
    if workload is None or shape_of(node.outputs[0]) not in _shapes(node, workload.output_shape):
        return None
    attributes = {"x": list(shape), **window, **({"integers": integers} if integers else {})}
    return Call(op, (x,), attributes, stages=(workload,))


def _shapes(node: ir.Node, pooled: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The shapes that the output may have. A ReduceMean may drop the spatial axes, whose size is 1."""
    return (pooled, (pooled[0], pooled[3])) if node.op_type == "ReduceMean" else (pooled,)


def _workload(op: str, image: tuple[int, ...], window: Mapping[str, Any]) -> Workload | None:
    """None if the window does not fit the image."""
    dims = (*image, *(size for name in ("kernel", "stride", "padding", "dilation") for size in window[name]))
    try:
        return Workload(op, (*dims, int(window["ceil_mode"])))
    except ValueError:
        return None
