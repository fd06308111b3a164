"""The independent oracle: inputs, float64 answers and the error that float32 accumulation may make on them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from compiler.workloads import strassen, winograd
from compiler.workloads.workload import Workload

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


NUMPY_DTYPES: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


def make_inputs(workload: Workload, seed: int = 0) -> dict[str, Array]:
    """Seeded inputs by name, of the shapes of ``workload.input_shapes`` and of its data type; a bias is float32.

    Weights are scaled by the root of how many products are summed, so that outputs stay near one and no activation is
    only ever saturated.
    """
    rng = np.random.default_rng(seed)
    inputs = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in workload.input_shapes.items()}
    if "weight" in inputs:
        inputs["weight"] /= np.float32(math.sqrt(workload.reduction))
    dtype = NUMPY_DTYPES[workload.dtype]
    return {name: value if name == "bias" else value.astype(dtype, copy=False) for name, value in inputs.items()}


def reference(workload: Workload, inputs: Mapping[str, Array]) -> Array:
    """The answer to these very inputs in float64, by numpy alone."""
    wide = {name: value.astype(np.float64) for name, value in inputs.items()}
    y = _SUMS[workload.op](workload, wide)
    for step in workload.epilogue:
        y = y + wide[step] if step in wide else ACTIVATION_FUNCTIONS[step](y)
    return y


def tolerance(workload: Workload, inputs: Mapping[str, Array], algorithm: str = "direct") -> Array:
    """The largest absolute error a correct kernel can make, for each output element.

    Accumulation is in float32 whatever the data type; what is then rounded to bfloat16 errs by another 2⁻⁸ of itself.
    ``algorithm`` is ``"direct"`` or one that errs by more: for a convolution a key of ``compiler.workloads.winograd.ALGORITHMS``
    (see :func:`compiler.workloads.winograd.error_bound`), for a matrix product ``"strassen"``
    (:func:`compiler.workloads.strassen.error_bound`).
    """
    error = _TOLERANCES[workload.op](workload, inputs, algorithm)
    if workload.dtype == "float32":
        return error
    half_ulp = float(ml_dtypes.finfo(NUMPY_DTYPES[workload.dtype]).eps) / 2
    return error + half_ulp * (np.abs(reference(workload, inputs)) + error)


def _dense(_workload: Workload, inputs: Mapping[str, Array]) -> Array:
    return inputs["x"] @ inputs["weight"].T


def _conv2d(workload: Workload, inputs: Mapping[str, Array]) -> Array:
    """A matrix product for each tap of the kernel and each group, on the pixels that the tap meets."""
    s = workload.sizes
    n, oh, ow, o = workload.output_shape
    groups = s["groups"]
    x = np.pad(inputs["x"], [(0, 0), (s["pad_top"], s["pad_bottom"]), (s["pad_left"], s["pad_right"]), (0, 0)])
    weight = inputs["weight"].reshape(groups, o // groups, -1, s["kh"], s["kw"])
    y = np.zeros((groups, n * oh * ow, o // groups))
    for i, j in itertools.product(range(s["kh"]), range(s["kw"])):
        rows = slice(i * s["dilation_h"], i * s["dilation_h"] + (oh - 1) * s["stride_h"] + 1, s["stride_h"])
        columns = slice(j * s["dilation_w"], j * s["dilation_w"] + (ow - 1) * s["stride_w"] + 1, s["stride_w"])
        pixels = x[:, rows, columns].reshape(n * oh * ow, groups, -1)
        y += pixels.transpose(1, 0, 2) @ weight[..., i, j].transpose(0, 2, 1)
    return y.transpose(1, 0, 2).reshape(workload.output_shape)


def _attention(_workload: Workload, inputs: Mapping[str, Array]) -> Array:
    scores = _scores(inputs["q"], inputs["k"])
    return _weighted(_softmax(scores), inputs["v"])


def _scores(q: Array, k: Array) -> Array:
    """(batch, heads, queries, keys)"""
    return q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / math.sqrt(q.shape[-1])


def _softmax(scores: Array) -> Array:
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _weighted(weights: Array, v: Array) -> Array:
    return (weights @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)


_SUMS: Mapping[str, Callable[[Workload, Mapping[str, Array]], Array]] = {
    "dense": _dense,
    "conv2d": _conv2d,
    "attention": _attention,
}

_UNIT = float(np.finfo(np.float32).eps) / 2
_EXP_UNITS = 8  # what a float32 exponential may be off, in units of rounding


def _gamma(roundings: int) -> float:
    """Higham's bound on what that many roundings do to a product."""
    return roundings * _UNIT / (1 - roundings * _UNIT)


def _sum_tolerance(workload: Workload, inputs: Mapping[str, Array], algorithm: str) -> Array:
    """A sum of k products in any order errs by at most gamma_k · Σ|x||w|, gamma_k = k·u / (1 - k·u), u = 2⁻²⁴ (Higham,
    Accuracy and Stability of Numerical Algorithms, 3.1). The epilogue's additions add two to k, and an activation
    (slope below 1.13 for each one here) may add 8 u of its own value and of its argument's.
    """
    wide = {name: np.abs(value.astype(np.float64)) for name, value in inputs.items()}
    magnitude = _SUMS[workload.op](workload, wide)
    for step in ("bias", "residual"):
        magnitude = magnitude + wide.get(step, 0.0)
    if algorithm == "direct":
        error = _gamma(workload.reduction + 2) * magnitude
    elif algorithm == "strassen":
        factors = (wide[name].reshape(-1, workload.reduction) for name in ("x", "weight"))
        error = strassen.error_bound(*factors) + _gamma(4) * magnitude
    else:
        s = workload.sizes
        pads = s["pad_top"], s["pad_left"], s["pad_bottom"], s["pad_right"]
        bound = winograd.error_bound(wide["x"], wide["weight"], pads, winograd.ALGORITHMS[algorithm])
        error = bound + _gamma(2) * magnitude
    return 1.13 * error + 8 * _UNIT * (magnitude + 1) if workload.activation else error


def _attention_tolerance(workload: Workload, inputs: Mapping[str, Array], _algorithm: str) -> Array:
    """Scores err as any sum does, and a row's softmax by that factor twice: in a weight and in what it is divided by.
    So do the exponentials, and the two sums over the keys, in which a rescaling for a new maximum may follow each key.
    """
    wide = {name: value.astype(np.float64) for name, value in inputs.items()}
    scores, magnitude = _scores(wide["q"], wide["k"]), _scores(np.abs(wide["q"]), np.abs(wide["k"]))
    spread = scores.max(-1, keepdims=True) - scores
    off = _gamma(workload.sizes["head_dim"] + 2) * magnitude + _gamma(_EXP_UNITS) * (1 + spread)
    factor = 2 * off.max(-1, keepdims=True) + 2 * _gamma(2 * workload.reduction + 2)
    return np.expm1(factor).transpose(0, 2, 1, 3) * _weighted(_softmax(scores), np.abs(wide["v"]))


_TOLERANCES: Mapping[str, Callable[[Workload, Mapping[str, Array], str], Array]] = {
    "dense": _sum_tolerance,
    "conv2d": _sum_tolerance,
    "attention": _attention_tolerance,
}
