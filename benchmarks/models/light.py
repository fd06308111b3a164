"""Classic image classifiers. Their topologies are part of the ``onnx`` package, without weights.

The weights are random, so latencies are valid but outputs are meaningless.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

# Activations must stay near one, since infinities and denormals run at another speed. A layer keeps the variance of
# its input. A residual sum would double the variance, so its branch is scaled down.
_BRANCH_SCALE = 0.25


def light(name: str) -> onnx.ModelProto:
    """Returns the topology ``light_<name>.onnx`` of the onnx package with seeded random weights as constants.

    The file computes its weights by ConstantOfShape, and declares its initializers as inputs, like old exporters. Both
    are removed, since no runtime could fold anything otherwise.
    """
    model = onnx.load(Path(onnx.__file__).parent / "backend/test/data/light" / f"light_{name}.onnx")
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    kept = {
        tensor.name: tensor for tensor in graph.initializer
    }  # unchanged unless they are weights, such as the shapes of Reshape
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shapes[node.output[0]] = tuple(numpy_helper.to_array(kept.pop(node.input[0])).tolist())
    rng = np.random.default_rng(0)
    weights = {weight: _values(rng, role, shapes[weight]) for weight, role in _roles(graph) if weight in shapes}
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    read = {value for node in nodes for value in node.input}
    constants = [numpy_helper.from_array(values, weight) for weight, values in weights.items()]
    constants += [tensor for key, tensor in kept.items() if key not in weights and key in read]
    inputs = [value for value in graph.input if value.name not in shapes]
    for field, values in ((graph.node, nodes), (graph.initializer, constants), (graph.input, inputs)):
        del field[:]
        field.extend(values)  # pyright: ignore[reportArgumentType] - each its own type
    model.ir_version = 8  # since version 4, an initializer need not be an input
    return model


def resnet50() -> onnx.ModelProto:
    """ResNet-50 v1 (He et al. 2015): the first 1x1 convolution of a block that halves the resolution has the stride.

    In the file, the 3x3 convolution has it, which is known as v1.5.
    """
    model = light("resnet50")
    written = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type == "Conv" and _ints(node, "strides") == [2, 2] and _ints(node, "kernel_shape") == [3, 3]:
            before = written[node.input[0]]
            while before.op_type != "Conv":  # the Relu and the BatchNormalization between
                before = written[before.input[0]]
            strides, strides_before = _attribute(node, "strides"), _attribute(before, "strides")
            strides.ints[:], strides_before.ints[:] = strides_before.ints[:], strides.ints[:]
    return model


def _roles(graph: onnx.GraphProto) -> Iterator[tuple[str, str]]:
    """Returns the role of each weight: "kernel", or an input of BatchNormalization ("branch": scale before a sum)."""
    summed = {node.input[0] for node in graph.node if node.op_type == "Sum"}
    readers = {value: (node, index) for node in graph.node for index, value in enumerate(node.input)}
    for value, (reader, index) in readers.items():
        node, at = reader, index
        while node.op_type == "Unsqueeze" or (node.op_type == "Reshape" and at == 0):
            node, at = readers[node.output[0]]
        if node.op_type in ("Conv", "Gemm") and at > 0:
            yield value, ("kernel", "shift")[at - 1]
        elif node.op_type == "BatchNormalization" and at > 0:
            role = ("scale", "shift", "mean", "variance")[at - 1]
            yield value, "branch" if role == "scale" and node.output[0] in summed else role
        elif node.op_type in ("Mul", "Add"):  # Caffe's Scale layer after its BatchNorm layer
            yield value, "scale" if node.op_type == "Mul" else "shift"


def _values(rng: np.random.Generator, role: str, shape: tuple[int, ...]) -> np.ndarray:
    if role == "kernel":  # He et al. 2015, "Delving Deep into Rectifiers"
        values = rng.standard_normal(shape, dtype=np.float32)
        values *= np.float32((2 / prod(shape[1:])) ** 0.5)
        return values
    if role in ("scale", "branch", "variance"):
        values = rng.uniform(0.8, 1.25, shape) * (_BRANCH_SCALE if role == "branch" else 1)
    else:
        values = rng.normal(0, 0.1, shape)
    return values.astype(np.float32)


def _attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    return next(attribute for attribute in node.attribute if attribute.name == name)


def _ints(node: onnx.NodeProto, name: str) -> list[int]:
    return list(_attribute(node, name).ints)
