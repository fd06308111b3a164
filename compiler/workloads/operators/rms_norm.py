"""rms_norm: of each row of x (rows, columns), with gamma (columns,)."""

from __future__ import annotations

import numpy as np

import kernels
from compiler.workloads.operators.bounds import gamma as bound
from compiler.workloads.operators.function import function_kernel
from compiler.workloads.operators.operator import Array, Arrays, Instance, LayerSchema, Notation, OperatorDef, Sizes

EPSILON = 1e-5  # added to the mean of squares


def _normalized(_: Sizes, inputs: Arrays) -> Array:
    mean = np.square(inputs["x"]).mean(-1, keepdims=True)
    return inputs["gamma"] * inputs["x"] / np.sqrt(mean + EPSILON)


def _tolerance(workload: Instance, inputs: Arrays, _algorithm: str) -> Array:
    """The mean of squares has the error of a sum; its inverse root has half of it. Seven roundings follow."""
    return bound(workload.sizes["columns"] + 7) * np.abs(_normalized(workload.sizes, inputs))


RMS_NORM = OperatorDef(
    name="rms_norm",
    dims=("rows", "columns"),
    inputs=lambda s: {"x": (s["rows"], s["columns"]), "gamma": (s["columns"],)},
    output=lambda s: (s["rows"], s["columns"]),
    reference=_normalized,
    tolerance=_tolerance,
    kernel=function_kernel(kernels.rms_norm, eps=EPSILON),
    notation=Notation("128x4096", "{rows}x{columns} RMS norm".format_map),
    arguments=("x", "gamma"),
    layers=(LayerSchema("rms_norm", ("sizes", "epsilon"), weights=lambda _: (("gamma",), ())),),
    onnx=("RMSNormalization", "loopwright::RMSNormalization"),
    networks={(128, 4096): "Llama-2 7B", (128, 512): "T5 small"},
)
