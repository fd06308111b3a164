"""layer_norm: of each row of x (rows, columns), with gamma and beta (columns,)."""

from __future__ import annotations

import numpy as np

import kernels
from compiler.workloads.operators import bounds
from compiler.workloads.operators.function import function_kernel
from compiler.workloads.operators.operator import Array, Arrays, Instance, LayerSchema, Notation, OperatorDef, Sizes

EPSILON = 1e-5  # added to the variance


def _moments(x: Array) -> tuple[Array, Array]:
    """The mean and the standard deviation of each row."""
    return x.mean(-1, keepdims=True), np.sqrt(x.var(-1, keepdims=True) + EPSILON)


def _normalized(_: Sizes, inputs: Arrays) -> Array:
    mean, deviation = _moments(inputs["x"])
    return (inputs["x"] - mean) / deviation * inputs["gamma"] + inputs["beta"]


def _tolerance(workload: Instance, inputs: Arrays, _algorithm: str) -> Array:
    """The mean has the error of a sum, the differences from it have that error too, and so has the deviation."""
    mean, deviation = _moments(inputs["x"])
    gamma = bounds.gamma(workload.sizes["columns"] + 4)
    error = gamma * np.abs(inputs["x"]).mean(-1, keepdims=True) / deviation
    normalized = np.abs(inputs["x"] - mean) / deviation
    scale, shift = np.abs(inputs["gamma"]), np.abs(inputs["beta"])
    return scale * (error + normalized * (gamma + 2 * error)) + bounds.gamma(4) * (scale * normalized + shift)


LAYER_NORM = OperatorDef(
    name="layer_norm",
    dims=("rows", "columns"),
    inputs=lambda s: {"x": (s["rows"], s["columns"]), "gamma": (s["columns"],), "beta": (s["columns"],)},
    output=lambda s: (s["rows"], s["columns"]),
    reference=_normalized,
    tolerance=_tolerance,
    kernel=function_kernel(kernels.layer_norm, eps=EPSILON),
    notation=Notation("128x768", "{rows}x{columns} layer norm".format_map),
    arguments=("x", "gamma", "beta"),
    layers=(LayerSchema("layer_norm", ("sizes", "epsilon"), weights=lambda _: (("gamma", "beta"), ())),),
    onnx=("LayerNormalization",),
    networks={(128, 768): "BERT-base", (128, 384): "MiniLM"},
)
