"""group_norm: of groups of channels of images x (n, h, w, c), with gamma and beta (c,)."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from compiler.workloads.operators import bounds
from compiler.workloads.operators.function import FunctionKernel, check_no_schedule
from compiler.workloads.operators.operator import Array, Arrays, Instance, LayerSchema, Notation, OperatorDef, Sizes

EPSILON = 1e-5  # added to the variance
_AXES = (1, 2, 4)  # of (n, h, w, groups, channels of a group)


def _grouped(s: Sizes, x: Array) -> Array:
    return x.reshape(s["n"], s["h"], s["w"], s["groups"], s["c"] // s["groups"])


def _moments(x: Array) -> tuple[Array, Array]:
    """The mean and the standard deviation of each group."""
    return x.mean(_AXES, keepdims=True), np.sqrt(x.var(_AXES, keepdims=True) + EPSILON)


def _normalized(s: Sizes, inputs: Arrays) -> Array:
    x = _grouped(s, inputs["x"])
    mean, deviation = _moments(x)
    return ((x - mean) / deviation).reshape(inputs["x"].shape) * inputs["gamma"] + inputs["beta"]


def _tolerance(workload: Instance, inputs: Arrays, _algorithm: str) -> Array:
    """The sums are float32 over at most 256 pixels, and float64 beyond.

    So the mean has the error of a sum of 64 terms, each of four pixels, and is rounded; the deviation has the same. The
    result is x scale + shift, whose terms may be larger than their sum.
    """
    s = workload.sizes
    x = _grouped(s, inputs["x"])
    mean, deviation = _moments(x)
    gamma = bounds.gamma(min(256, s["h"] * s["w"]) + 8)
    error = gamma * np.abs(x).mean(_AXES, keepdims=True) / deviation
    normalized = np.abs(x - mean) / deviation
    terms = (np.abs(x) + np.abs(mean)) / deviation
    own = error + normalized * (gamma + 2 * error) + bounds.gamma(6) * terms
    scale, shift = np.abs(inputs["gamma"]), np.abs(inputs["beta"])
    return scale * own.reshape(inputs["x"].shape) + bounds.gamma(4) * shift


def _check(s: Sizes) -> None:
    """
    Raises:
        ValueError: the groups do not divide the channels.
    """
    if s["c"] % s["groups"]:
        raise ValueError(f"group_norm: {s['c']} channels do not form {s['groups']} groups")


def _kernel(workload: Instance, _inputs: Arrays, *, isa: str, threads: int, schedule: Any = None) -> FunctionKernel:
    check_no_schedule(schedule)
    return FunctionKernel(kernels.group_norm, groups=workload.sizes["groups"], eps=EPSILON, isa=isa, threads=threads)


GROUP_NORM = OperatorDef(
    name="group_norm",
    dims=("n", "h", "w", "c", "groups"),
    inputs=lambda s: {"x": (s["n"], s["h"], s["w"], s["c"]), "gamma": (s["c"],), "beta": (s["c"],)},
    output=lambda s: (s["n"], s["h"], s["w"], s["c"]),
    reference=_normalized,
    tolerance=_tolerance,
    kernel=_kernel,
    notation=Notation("1x64x64x320x32", "{n}x{h}x{w}x{c} group norm of {groups}".format_map),
    arguments=("x", "gamma", "beta"),
    layers=(LayerSchema("group_norm", ("x", "groups", "epsilon"), weights=lambda _: (("gamma", "beta"), ())),),
    onnx=("loopwright::GroupNormalization_nhwc", "loopwright::InstanceNormalization_nhwc"),
    check=_check,
    networks={(1, 64, 64, 320, 32): "Stable Diffusion", (1, 128, 128, 64, 64): "style transfer"},
)
