"""The independent oracle: seeded inputs, float64 answers, and the error that float32 arithmetic may have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from compiler.workloads.activations import ACTIVATIONS, MAX_SLOPE, PRELU, prelu
from compiler.workloads.operators.int8 import INT8, rounding
from compiler.workloads.workload import CONSTANTS, Workload

Array = np.ndarray

NUMPY_DTYPES: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    INT8: np.dtype(np.float32),  # that of x and the output; kernels round the weight
}


def make_inputs(workload: Workload, seed: int = 0) -> dict[str, Array]:
    """Returns seeded inputs by name, with the workload's shapes and data type; a bias and slopes are float32.

    Weights are divided by the square root of the number of products per output, so that outputs stay near one and no
    activation is always saturated.
    """
    rng = np.random.default_rng(seed)
    inputs = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in workload.input_shapes.items()}
    if "weight" in inputs:
        inputs["weight"] /= np.float32(math.sqrt(workload.reduction))
    dtype = NUMPY_DTYPES[workload.dtype]
    return {name: value if name in CONSTANTS else value.astype(dtype, copy=False) for name, value in inputs.items()}


def reference(workload: Workload, inputs: Mapping[str, Array]) -> Array:
    """Returns the answer to these inputs in float64, computed by numpy alone."""
    wide = _float64(inputs)
    y = workload.operator.reference(workload.sizes, wide)
    for step in workload.epilogue:
        y = y + wide[step] if step in wide else _activated(y, step, wide)
    return y


def tolerance(workload: Workload, inputs: Mapping[str, Array], algorithm: str = "direct") -> Array:
    """Returns the largest absolute error of a correct kernel for each output element.

    Accumulation is in float32, or in int32 without an error. Rounding the result to bfloat16 adds 2⁻⁸ of it. An int8
    kernel rounds its inputs.

    Args:
        algorithm: ``"direct"``, or an algorithm with a larger error: for a convolution a key of
            ``compiler.workloads.winograd.ALGORITHMS``, for a matrix product ``"strassen"``.
    """
    wide = _float64(inputs)
    error = np.asarray(workload.operator.tolerance(workload, wide, algorithm))
    if workload.dtype == "float32":
        return error
    if workload.dtype == INT8:
        rounded = rounding(workload.operator.reference, workload.sizes, wide)
        slope = 1 if workload.activation is None else np.maximum(MAX_SLOPE, np.abs(wide.get("slopes", 0)))
        return error + slope * rounded * (1 + 1e-5)
    half_ulp = float(ml_dtypes.finfo(NUMPY_DTYPES[workload.dtype]).eps) / 2
    return error + half_ulp * (np.abs(reference(workload, inputs)) + error)


def _activated(y: Array, name: str, wide: Mapping[str, Array]) -> Array:
    return prelu(y, wide["slopes"]) if name == PRELU else ACTIVATIONS[name](y)


def _float64(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array.astype(np.float64) for name, array in inputs.items()}
