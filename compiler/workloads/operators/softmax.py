"""softmax: of each row of x (rows, columns)."""

from __future__ import annotations

import numpy as np

import kernels
from compiler.workloads.operators.bounds import EXP_UNITS, gamma
from compiler.workloads.operators.function import function_kernel
from compiler.workloads.operators.operator import Array, Arrays, Instance, LayerSchema, Notation, OperatorDef


def softmax(x: Array) -> Array:
    """In float64, over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _tolerance(workload: Instance, inputs: Arrays, _algorithm: str) -> Array:
    """An exponential has the error of its argument, and so has their sum, which rounds once per column."""
    x = inputs["x"]
    spread = x.max(-1, keepdims=True) - x.min(-1, keepdims=True)
    return softmax(x) * (2 * gamma(EXP_UNITS) * (1 + spread) + gamma(workload.sizes["columns"] + 2))


SOFTMAX = OperatorDef(
    name="softmax",
    dims=("rows", "columns"),
    inputs=lambda s: {"x": (s["rows"], s["columns"])},
    output=lambda s: (s["rows"], s["columns"]),
    reference=lambda _, inputs: softmax(inputs["x"]),
    tolerance=_tolerance,
    kernel=function_kernel(kernels.softmax),
    notation=Notation("128x512", "{rows}x{columns} softmax".format_map),
    layers=(LayerSchema("softmax", ("sizes",)),),
    onnx=("Softmax",),
    networks={(1, 1000): "ResNet-50 classifier", (1536, 128): "BERT-base"},
)
