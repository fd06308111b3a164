"""Makes the ranges of channels alike, so that one scale per tensor suits them all.

Where nothing but functions with f(s x) = s f(x), s > 0, are between two layers, the channels of the first may be
divided by numbers by which the second multiplies them: the answers stay the same. The numbers make the ranges of both
weights of a channel equal (Nagel et al.: Data-Free Quantization Through Weight Equalization and Bias Correction, 2019;
section 4.1). Weights have a scale per output channel here, so it is the activations between the layers, and the
input channels of the second, that gain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from optimizer.graphs import inner_reads

# They work on each channel alone, and a positive factor passes through them.
_HOMOGENEOUS = frozenset("AveragePool Dropout GlobalAveragePool GlobalMaxPool Identity LeakyRelu MaxPool Relu".split())
_LAYERS = ("Conv", "Gemm")
SWEEPS, CLOSE = 20, 1e-3  # until no factor is further from 1
_LARGEST = 1e4  # factor


@dataclass(frozen=True)
class Pair:
    """Two layers that follow each other, by the names of their nodes."""

    first: str
    second: str


def equalize(model: onnx.ModelProto) -> tuple[Pair, ...]:
    """Changes the weights of a model, whose layers have biases, and returns the pairs of layers that were equalized."""
    pairs = tuple(_pairs(model))
    nodes = {node.name: node for node in model.graph.node}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    names = {name for pair in pairs for each in (pair.first, pair.second) for name in nodes[each].input[1:] if name}
    arrays = {name: numpy_helper.to_array(tensors[name]).astype(np.float64) for name in names}
    for _ in range(SWEEPS):
        change = max((_equalized(nodes[pair.first], nodes[pair.second], arrays) for pair in pairs), default=0.0)
        if change < CLOSE:
            break
    for name, array in arrays.items():
        tensors[name].CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))
    return pairs


def _equalized(first: onnx.NodeProto, second: onnx.NodeProto, arrays: dict[str, np.ndarray]) -> float:
    """Equalizes a pair, and returns how far the factors are from 1."""
    written, read = _output_channels(first, arrays), _input_channels(second, arrays)
    ranges = [np.abs(each).reshape(len(each), -1).max(1) for each in (written, read)]
    used = (ranges[0] > 0) & (ranges[1] > 0)
    factors = np.ones(len(written))
    factors[used] = np.clip(np.sqrt(ranges[0][used] / ranges[1][used]), 1 / _LARGEST, _LARGEST)
    written /= factors.reshape(-1, *[1] * (written.ndim - 1))
    arrays[first.input[2]] /= factors
    read *= factors.reshape(-1, *[1] * (read.ndim - 1))
    return float(np.abs(np.log(factors)).max())


def _output_channels(node: onnx.NodeProto, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns a view of a layer's weight whose first axis is that of its output channels."""
    weight = arrays[node.input[1]]
    return weight if node.op_type == "Conv" or _attribute(node, "transB", 0) else weight.T


def _input_channels(node: onnx.NodeProto, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns a view of a layer's weight whose first axis is that of its input channels."""
    weight = arrays[node.input[1]]
    if node.op_type == "Gemm":
        return weight.T if _attribute(node, "transB", 0) else weight
    groups = _attribute(node, "group", 1)
    outputs, inputs, *kernel = weight.shape
    if groups == 1:
        return weight.swapaxes(0, 1)
    by_group = weight.reshape(groups, outputs // groups, inputs, *kernel)
    if inputs == 1:  # depthwise: the channels are the groups
        return by_group
    raise ValueError("a convolution in groups")  # _pairs leaves it out


def _pairs(model: onnx.ModelProto) -> Iterator[Pair]:
    graph = model.graph
    readers = Counter(name for node in graph.node for name in (*node.input, *inner_reads(node)))
    readers.update(value.name for value in graph.output)
    reader = {name: node for node in graph.node for name in node.input}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    inputs = {value.name for value in graph.input}

    def is_layer(node: onnx.NodeProto) -> bool:
        names = [name for name in node.input[1:] if name]
        return (
            node.op_type in _LAYERS
            and node.domain in ("", "ai.onnx")
            and len(names) == 2
            and all(
                name in weights
                and name not in inputs
                and readers[name] == 1
                and weights[name].data_type == onnx.TensorProto.FLOAT
                for name in names
            )
        )

    for node in graph.node:
        if not is_layer(node):
            continue
        value = node.output[0]
        while readers[value] == 1 and value in reader and _is_homogeneous(reader[value]):
            value = reader[value].output[0]
        second = reader.get(value)
        if readers[value] != 1 or second is None or second.input[0] != value or not is_layer(second):
            continue
        if weights[node.input[2]].dims == [_channels(second, weights)]:
            yield Pair(node.name, second.name)


def _is_homogeneous(node: onnx.NodeProto) -> bool:
    return node.op_type in _HOMOGENEOUS and node.domain in ("", "ai.onnx") and len(node.output) == 1


def _channels(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> int | None:
    """Returns the number of input channels of a layer; None if it cannot be equalized."""
    dims = list(weights[node.input[1]].dims)
    if node.op_type == "Gemm":
        if _attribute(node, "transA", 0):
            return None
        return dims[1] if _attribute(node, "transB", 0) else dims[0]
    groups = _attribute(node, "group", 1)
    return groups if dims[1] == 1 else dims[1] if groups == 1 else None


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
