"""Seconds of layers in ONNX Runtime: a model of one node for each layer and width."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from operator import mul
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from optimizer.graphs import attributes_of
from optimizer.pruning.costs import FIX_SIZES, Cost, Term
from optimizer.pruning.time_table import TimeTable, measured_widths
from optimizer.pruning.widths import Layer, Product, Width, weight_axes
from optimizer.session import Session

_STEP = 16
_SAMPLES, _SAMPLE_SECS = 5, 1e-3


def cost(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    products: Sequence[Product],
    narrowest: Sequence[int],
    widest: Sequence[int],
    threads: int,
) -> Cost:
    """Returns the seconds of all layers in ONNX Runtime, each measured alone.

    Those of a product of two tensors are in proportion to its multiply-adds.

    Raises:
        ValueError: the shape of what a layer reads varies.
    """
    measured: dict[Any, float] = {}
    terms = []
    nodes = {node.name: node for node in model.graph.node}
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.value_info)
    }
    shapes = {name: [shape[0] or 1, *shape[1:]] for name, shape in shapes.items() if shape}
    for layer in layers:
        if not layer.weight.groups:
            continue
        node = nodes[layer.node]
        shape = shapes.get(node.input[0], [0])
        if min(shape) < 1:
            raise ValueError(f"the times of {node.op_type} {node.name} depend on sizes that vary; {FIX_SIZES}")

        def seconds(
            read: int, written: int, node: onnx.NodeProto = node, layer: Layer = layer, shape: list[int] = shape
        ) -> float:
            single = _model(model, node, layer, shape, read, written)
            nameless = onnx.ModelProto()
            nameless.CopyFrom(single[0])
            nameless.graph.node[0].name = ""
            key = nameless.SerializeToString(deterministic=True)
            if key not in measured:
                measured[key] = _seconds(*single, threads)
            return measured[key]

        step = math.lcm(_STEP, layer.groups or 1)
        writes = _points(layer.writes, narrowest, widest, step)
        if layer.reads == layer.writes:
            table = TimeTable.measured(lambda _, size, seconds=seconds: seconds(size, size), (1,), writes)
            terms.append(Term((layer.writes,), lambda size, table=table: table(1, size)))
        else:
            table = TimeTable.measured(seconds, _points(layer.reads, narrowest, widest, step), writes)
            terms.append(Term((layer.reads, layer.writes), table))
    for product in products:
        node = nodes[product.node]
        given = [shapes.get(name, [0]) for name in node.input]
        if min(map(min, given)) < 1:
            raise ValueError(f"the times of MatMul {product.node} depend on sizes that vary; {FIX_SIZES}")
        each = _seconds(*_product(model, given), threads) / product.parts(widest)
        terms.append(Term((product.parts,), partial(mul, each)))
    return Cost("s", tuple(terms))


def _product(
    model: onnx.ModelProto, shapes: Sequence[Sequence[int]]
) -> tuple[onnx.ModelProto, Mapping[str, np.ndarray]]:
    """Returns a model that multiplies two tensors, and these."""
    inputs = {name: np.full(shape, 0.1, np.float32) for name, shape in zip("ab", shapes, strict=True)}
    graph = helper.make_graph(
        [helper.make_node("MatMul", [*inputs], ["y"])],
        "product",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, array.shape) for name, array in inputs.items()],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version), inputs


def _points(width: Width, narrowest: Sequence[int], widest: Sequence[int], step: int) -> tuple[int, ...]:
    return measured_widths(width(narrowest), width(widest), step)


def _model(
    model: onnx.ModelProto, node: onnx.NodeProto, layer: Layer, shape: list[int], read: int, written: int
) -> tuple[onnx.ModelProto, Mapping[str, np.ndarray]]:
    """Returns a model of one node whose weights are inputs' constants of zeros, and its input."""
    attributes = attributes_of(node)
    axis = len(shape) - 1 if node.op_type in ("Gemm", "MatMul") else 1
    dims = [size.rest for size in layer.weight.sizes]
    reads, writes = weight_axes(node.op_type, attributes)
    if layer.groups:
        dims[reads], dims[writes] = read, written
        dims[1] //= layer.groups
    else:
        dims[0], attributes["group"] = written, written
    given = [*shape[:axis], read, *shape[axis + 1 :]]
    weights = {"w": np.full(dims, 0.01, np.float32)}
    if len(node.input) > 2 and node.input[2]:
        weights["b"] = np.full(written, 0.01, np.float32)
    made = helper.make_node(node.op_type, ["x", *weights], ["y"], **attributes)
    graph = helper.make_graph(
        [made],
        "layer",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    single = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    return single, {"x": np.ones(given, np.float32)}


def _seconds(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], threads: int) -> float:
    session = Session(model, threads)
    session(inputs)
    start = time.perf_counter()
    session(inputs)
    number = max(1, round(_SAMPLE_SECS / (time.perf_counter() - start)))
    samples = []
    for _ in range(_SAMPLES):
        start = time.perf_counter()
        for _ in range(number):
            session(inputs)
        samples.append((time.perf_counter() - start) / number)
    return min(samples)  # what else the machine does only adds time
