"""Convolutions and poolings over three axes, which become those over two axes of the layers of a volume.

A volume (1, c, d, h, w) is d images of two axes. The layers that a window reads are at constant steps of the depth, so
they are slices of this batch. With W_t the part of the weight for layer t of the window::

    conv(x, W)  =  conv2d(concat over t of the slices x_t along the channels, concat of W_t)     without groups
                =  sum over t of conv2d(x_t, W_t)                                                with groups
    pool(x)     =  max or mean over t of pool2d(x_t)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graph_passes.image_axes.edit import Edit, Outputs
from graph_passes.image_axes.lifting import Lifting
from graph_passes.layout.axes import dims_of
from graph_passes.lazy import ir
from graph_passes.patterns.window import Window
from graph_passes.values import constant, data_input, main_output, new_constant, static_shape


def convolution_of_volumes(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    x, weight, window, output = node.inputs[0], data_input(node, 1), Window.of(node), static_shape(node.outputs[0])
    array = constant(weight)
    if x is None or weight is None or array is None or window is None or output is None:
        return None
    if array.ndim != lifting.rank or array.dtype.kind != "f":
        return None
    groups, depth = node.attributes.get_int("group", 1), array.shape[2]
    attributes = {**_of_two_axes(window), "group": groups, "auto_pad": "NOTSET"}
    layers = _layers(edit, x, window, output[2], 0.0)
    bias = data_input(node, 2)

    def convolved(image: ir.Value, part: np.ndarray, bias: ir.Value | None) -> ir.Value:
        kernel = new_constant(edit.graph, f"{weight.name}_2d", np.ascontiguousarray(part))
        inputs = [image, kernel, *([] if bias is None else [bias])]
        shape = lifting.numbers(output, 1)
        return edit.op("Conv", inputs, {**attributes, "kernel_shape": part.shape[2:]}, like=node.outputs[0], dims=shape)

    if groups == 1:
        together = layers[0]
        if depth > 1:
            n, c, h, w = dims_of(layers[0])
            together = edit.op("Concat", layers, {"axis": 1}, like=x, dims=[n, depth * int(str(c)), h, w])
        merged = array.transpose(0, 2, 1, 3, 4).reshape(array.shape[0], -1, *array.shape[3:])
        return Outputs([convolved(together, merged, bias)])
    total = convolved(layers[0], array[:, :, 0], bias)
    for place in range(1, depth):
        part = convolved(layers[place], array[:, :, place], None)
        total = edit.op("Add", [part, total], like=node.outputs[0], dims=dims_of(total))
    return Outputs([total])


def pooling_of_volumes(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    """``MaxPool``, and ``AveragePool`` if the number of layers that a mean counts is the same for all windows."""
    x, window, output = node.inputs[0], Window.of(node), static_shape(node.outputs[0])
    if x is None or window is None or output is None or main_output(node) is None:
        return None
    if node.attributes.get_int("ceil_mode", 0) or x.dtype != ir.DataType.FLOAT:
        return None
    is_mean, depth_pads = node.op_type == "AveragePool", window.before[0] + window.after[0]
    if is_mean and depth_pads and not node.attributes.get_int("count_include_pad", 0):
        return None
    attributes = {**_of_two_axes(window), "kernel_shape": window.kernel[1:], "auto_pad": "NOTSET"}
    if is_mean and any(dilation != 1 for dilation in window.dilations):
        return None
    if is_mean:
        del attributes["dilations"]
    layers = _layers(edit, x, window, output[2], 0.0 if is_mean else -np.inf)
    shape = lifting.numbers(output, 1)
    parts = [edit.again(node, lifting, [layer], attributes, shape)[0] for layer in layers]
    if len(parts) > 1:
        parts = [edit.op("Mean" if is_mean else "Max", parts, like=node.outputs[0], dims=shape)]
    return Outputs(parts)


def mean_of_volume(edit: Edit, node: ir.Node, _lifting: Lifting) -> Outputs | None:
    """``GlobalAveragePool`` and ``GlobalMaxPool``."""
    x = node.inputs[0]
    if x is None:
        return None
    reduction = "ReduceMean" if node.op_type == "GlobalAveragePool" else "ReduceMax"
    image = edit.lifted(x)
    inputs = [image, edit.ints("axes", [0, 2, 3])]
    dims = [1, dims_of(image)[1], 1, 1]
    return Outputs([edit.op(reduction, inputs, {"keepdims": 1}, like=node.outputs[0], dims=dims)])


def _of_two_axes(window: Window) -> dict[str, Any]:
    pads = [*window.before[1:], *window.after[1:]]
    return {"strides": window.strides[1:], "dilations": window.dilations[1:], "pads": pads}


def _layers(edit: Edit, x: ir.Value, window: Window, count: int, outside: float) -> Sequence[ir.Value]:
    """Returns for each layer of the window the images (count, c, h, w) that it reads at all positions."""
    image = edit.lifted(x)
    d, c, h, w = (int(str(dim)) for dim in dims_of(image))
    before, after = window.before[0], window.after[0]
    if before or after:
        pads = edit.ints("pads", [before, 0, 0, 0, after, 0, 0, 0])
        value = edit.constant("outside", np.array(outside, (x.dtype or ir.DataType.FLOAT).numpy()))
        d += before + after
        image = edit.op("Pad", [image, pads, value], like=x, dims=[d, c, h, w])
    stride, dilation = window.strides[0], window.dilations[0]
    layers = []
    for place in range(window.kernel[0]):
        start = place * dilation
        end = start + (count - 1) * stride + 1
        if (start, end, stride) == (0, d, 1):
            layers.append(image)
            continue
        numbers = [
            edit.ints(name, [n]) for name, n in (("starts", start), ("ends", end), ("axes", 0), ("steps", stride))
        ]
        layers.append(edit.op("Slice", [image, *numbers], like=x, dims=[count, c, h, w]))
    return layers
