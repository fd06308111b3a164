"""The independent oracle: inputs, float64 answers and the error that float32 arithmetic may make on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from compiler.workload import Workload

Array = np.ndarray

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    # Split at zero so that exp never overflows.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


ACTIVATION_FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": lambda x: x * _sigmoid(x),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
}


def make_inputs(workload: Workload, seed: int = 0) -> dict[str, Array]:
    """Seeded inputs by name: ``x`` (m, k), ``weight`` (n, k), and ``bias`` (n,), ``residual`` (m, n) where used.

    Weights are scaled by 1/sqrt(k), so that outputs stay near one and no activation is only ever saturated.
    """
    rng = np.random.default_rng(seed)
    m, n, k = workload.dims
    inputs = {
        "x": rng.standard_normal((m, k), dtype=np.float32),
        "weight": rng.standard_normal((n, k), dtype=np.float32) / np.float32(math.sqrt(k)),
    }
    if "bias" in workload.epilogue:
        inputs["bias"] = rng.standard_normal(n, dtype=np.float32)
    if "residual" in workload.epilogue:
        inputs["residual"] = rng.standard_normal((m, n), dtype=np.float32)
    return inputs


def reference(workload: Workload, inputs: Mapping[str, Array]) -> Array:
    """The answer in float64, by numpy alone."""
    wide = {name: value.astype(np.float64) for name, value in inputs.items()}
    y = wide["x"] @ wide["weight"].T
    for step in workload.epilogue:
        y = y + wide[step] if step in wide else ACTIVATION_FUNCTIONS[step](y)
    return y


def tolerance(workload: Workload, inputs: Mapping[str, Array]) -> Array:
    """The largest absolute error a correct float32 kernel can make, for each output element.

    A sum of k products in any order errs by at most gamma_k · Σ|x||w|, gamma_k = k·u / (1 - k·u), u = 2⁻²⁴ (Higham,
    Accuracy and Stability of Numerical Algorithms, 3.1). The epilogue's additions add two to k, and an activation
    (slope below 1.13 for each one here) may add 8 u of its own value and of its argument's.
    """
    unit = float(np.finfo(np.float32).eps) / 2
    k = workload.dims[2] + 2
    gamma = k * unit / (1 - k * unit)
    wide = {name: np.abs(value.astype(np.float64)) for name, value in inputs.items()}
    magnitude = wide["x"] @ wide["weight"].T
    for step in ("bias", "residual"):
        magnitude = magnitude + wide.get(step, 0.0)
    slope = 1.13 if workload.activation else 1.0
    return slope * gamma * magnitude + (8 * unit * (magnitude + 1) if workload.activation else 0.0)
