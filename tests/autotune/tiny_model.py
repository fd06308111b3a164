"""A small network as ONNX: two equal convolutions, a pooling and a classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compiler.workloads.layer import Layer
from compiler.workloads.workload import Workload

CONVOLUTION = Workload.conv2d(1, 8, 8, 16, 16, 3, padding=1, epilogue=("bias", "relu"))
CLASSIFIER = Workload.dense(1, 5, 16, epilogue=("bias",))
WORKLOADS = (CONVOLUTION, CONVOLUTION, CLASSIFIER)  # of the layers, in their order


def tiny_model(height: int | str = 8) -> onnx.ModelProto:
    """x (1, 16, height, 8) -> y (1, 5); the weights are seeded."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("GlobalAveragePool", ["r1"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], transB=1),
    ]
    weights = [
        *(weight(f"w{i}", 16, 16, 3, 3) for i in range(2)),
        *(weight(f"b{i}", 16) for i in range(2)),
        weight("w2", 5, 16),
        weight("b2", 5),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, height, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save_tiny_model(folder: Path, height: int | str = 8) -> Path:
    path = folder / "tiny.onnx"
    onnx.save(tiny_model(height), path)
    return path


def dense_layer(name: str, workload: Workload, threads: int) -> Layer:
    """A dense layer of a compiled model."""
    _, n, k = workload.dims
    attributes = {"sizes": list(workload.dims), "residual": False, "activation": None, "fast_algorithms": True}
    weights = {"weight": np.zeros((n, k), np.float32)}
    return Layer(name, "dense", workload.output_shape, attributes, weights, workload, threads=threads)
