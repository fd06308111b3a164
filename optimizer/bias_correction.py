"""Removes the shift of means that quantization causes, by changing biases.

Rounded weights, clipped activations, and rounding errors that a ReLU lets through on one side alone shift the mean of
each output channel of a layer. The shift is measured on the samples and subtracted from the bias (Nagel et al.:
Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019; section 4.2, with measured instead of
assumed distributions). Layers are corrected in the order in which they run, so that each is measured behind corrected
ones: the quantized model runs once, in pieces that end with a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from optimizer.graphs import attributes_of
from optimizer.pieces import pieces
from optimizer.samples import Samples
from optimizer.session import Session

LAYERS = ("Conv", "ConvTranspose", "Gemm")


def add_missing(model: onnx.ModelProto) -> None:
    """Adds a bias of zeros to each layer with constant weights that has none."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    taken = set(weights) | {name for node in model.graph.node for name in (*node.input, *node.output)}
    for node in model.graph.node:
        weight = weights.get(node.input[1]) if node.op_type in LAYERS and len(node.input) > 1 else None
        if weight is None or (len(node.input) > 2 and node.input[2]) or weight.data_type != onnx.TensorProto.FLOAT:
            continue
        name = f"{node.name}_bias"
        while name in taken:
            name += "_"
        taken.add(name)
        del node.input[2:]
        node.input.append(name)
        zeros = np.zeros(_channels(node, list(weight.dims)), np.float32)
        model.graph.initializer.append(numpy_helper.from_array(zeros, name))


@dataclass(frozen=True)
class _Layer:
    """A quantized layer: its node, and the integers and scales of its bias.

    ``axes`` are those of its output over which a channel extends.
    """

    node: onnx.NodeProto
    bias: onnx.TensorProto
    scales: onnx.TensorProto
    axes: tuple[int, ...]

    @property
    def output(self) -> str:
        return self.node.output[0]


def correct(
    original: onnx.ModelProto, quantized: onnx.ModelProto, samples: Samples, threads: int | None
) -> dict[str, float]:
    """Changes the biases of ``quantized`` so that each channel has the mean that it has in ``original``.

    Nodes have the same names in both models.

    Returns:
        For each layer by name, the largest shift that was removed, in standard deviations of the layer's output.
    """
    layers = {layer.output: layer for layer in _quantized_layers(quantized)}
    if not layers:
        return {}
    wanted = _statistics(original, list(layers.values()), samples, threads)
    runs = [dict(inputs) for inputs in samples]  # the values that later pieces read
    shifts = {}
    for piece in pieces(quantized, layers):
        session = Session(piece.model, threads, fused=False)
        for values in runs:
            values.update(session({name: values[name] for name in piece.inputs}))
        if piece.end is not None:
            layer, (mean, deviation) = layers[piece.end], wanted[piece.end]
            means = [values[piece.end].mean(layer.axes, dtype=np.float64) for values in runs]
            removed = _subtract(layer, np.mean(means, axis=0) - mean)
            shape = [1 if axis in layer.axes else -1 for axis in range(runs[0][piece.end].ndim)]
            for values in runs:
                values[piece.end] = values[piece.end] - removed.reshape(shape).astype(np.float32)
            shifts[layer.node.name] = float(np.abs(removed).max()) / deviation if deviation > 0 else 0.0
        for values in runs:
            for name in piece.unread:
                values.pop(name, None)
    return shifts


def _quantized_layers(model: onnx.ModelProto) -> Iterator[_Layer]:
    made_by = {output: node for node in model.graph.node for output in node.output}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in LAYERS or len(node.input) != 3:
            continue
        makers = [made_by.get(name) for name in node.input]
        if any(maker is None or maker.op_type != "DequantizeLinear" for maker in makers):
            continue
        weight, bias = (maker.input for maker in makers[1:] if maker is not None)
        if weight[0] not in tensors or bias[0] not in tensors:
            continue
        rank = len(tensors[weight[0]].dims)
        axes = (0,) if node.op_type == "Gemm" else (0, *range(2, rank))
        yield _Layer(node, tensors[bias[0]], tensors[bias[1]], axes)


def _statistics(
    model: onnx.ModelProto, layers: Sequence[_Layer], samples: Samples, threads: int | None
) -> dict[str, tuple[np.ndarray, float]]:
    """Returns the mean of each channel, and the standard deviation of all elements, for the output of each layer."""
    measuring = onnx.ModelProto()
    measuring.CopyFrom(model)
    graph = measuring.graph
    outputs = {node.name: node.output[0] for node in model.graph.node}
    del graph.output[:]
    for layer in layers:
        y, square = outputs[layer.node.name], f"{layer.output}/square"
        graph.node.append(helper.make_node("Mul", [y, y], [square]))
        for kind, of in (("sum", y), ("power", square)):
            name = f"{layer.output}/{kind}"
            graph.initializer.append(numpy_helper.from_array(np.array(layer.axes, np.int64), f"{name}/axes"))
            # The axes of ReduceSum are an input in all opsets here, those of ReduceMean from 18 on.
            graph.node.append(helper.make_node("ReduceSum", [of, f"{name}/axes"], [name], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        graph.node.append(helper.make_node("Size", [y], [f"{layer.output}/size"]))
        graph.output.append(helper.make_tensor_value_info(f"{layer.output}/size", onnx.TensorProto.INT64, None))
    session = Session(measuring, threads)
    runs = [session(inputs) for inputs in samples]

    def total(layer: _Layer, kind: str) -> np.ndarray:
        return np.asarray(np.sum([run[f"{layer.output}/{kind}"] for run in runs], axis=0, dtype=np.float64))

    found = {}
    for layer in layers:
        sums, size = total(layer, "sum"), float(total(layer, "size"))
        mean = sums.sum() / size
        variance = max(0.0, total(layer, "power").sum() / size - mean * mean)
        found[layer.output] = (sums * (len(sums) / size), float(np.sqrt(variance)))
    return found


def _subtract(layer: _Layer, shift: np.ndarray) -> np.ndarray:
    """Subtracts a shift per channel from the bias, and returns what was subtracted: a multiple of the bias' scale."""
    scales = numpy_helper.to_array(layer.scales).astype(np.float64)
    bias = numpy_helper.to_array(layer.bias)
    limits = np.iinfo(np.int32)
    new = np.clip(np.rint(bias - shift / scales), limits.min, limits.max).astype(np.int32)
    layer.bias.CopyFrom(numpy_helper.from_array(new, layer.bias.name))
    return (bias.astype(np.float64) - new) * scales


def _channels(node: onnx.NodeProto, weight: list[int]) -> int:
    """Returns the output channels of a layer."""
    attributes = attributes_of(node)
    if node.op_type == "Conv":
        return weight[0]
    if node.op_type == "ConvTranspose":
        return weight[1] * attributes.get("group", 1)
    return weight[0] if attributes.get("transB", 0) else weight[1]
