"""Layers of 8-bit integers, as they are between other such layers: x, residual and output in uint8, weights in int8.

The inputs of such a layer have scales, too: ``x_scale``, ``out_scale``, ``residual_scale`` of (1,) and
``weight_scales`` of (channels,). Zero points are 0, as behind a ReLU, since they would cost the baseline time.
``make_inputs``, ``reference`` and ``tolerance`` are as those of ``compiler.workloads.reference``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import kernels
from compiler.workloads import reference as of_floats
from compiler.workloads.operators.windows import geometry
from compiler.workloads.workload import FLOAT_BYTES, Workload

Inputs = Mapping[str, np.ndarray]
INT8 = "int8"
LARGEST = 32767 // (2 * 255)  # weight


def make_inputs(workload: Workload) -> dict[str, np.ndarray]:
    """Returns seeded inputs whose answers are spread over the integers of the output.

    Two products never exceed 16 bits, at which the baseline may saturate on CPUs without VNNI.
    """
    rng = np.random.default_rng(0)
    inputs = {}
    for name, shape in workload.input_shapes.items():
        if name == "weight":
            inputs[name] = rng.integers(-LARGEST, LARGEST + 1, shape, np.int8)
        elif name == "bias":
            inputs[name] = rng.standard_normal(shape, np.float32)
        else:
            inputs[name] = rng.integers(0, 256, shape, np.uint8)
    steps = LARGEST * math.sqrt(workload.reduction)
    scales = {"x_scale": 1 / 128, "out_scale": 1 / 64, "residual_scale": 1 / 64}
    channels = workload.output_shape[-1]
    inputs["weight_scales"] = (rng.uniform(0.5, 1.5, channels) / steps).astype(np.float32)
    return inputs | {name: np.full(1, scale, np.float32) for name, scale in scales.items()}


def reference(workload: Workload, inputs: Inputs) -> np.ndarray:
    """Returns the answer in float64, in steps of the output, saturated but not rounded."""
    wide = {name: inputs[name].astype(np.float64) for name in workload.input_shapes}
    wide["x"] *= inputs["x_scale"]
    wide["weight"] *= inputs["weight_scales"].reshape(-1, *[1] * (wide["weight"].ndim - 1))
    if "residual" in wide:
        wide["residual"] *= inputs["residual_scale"]
    return np.clip(of_floats.reference(workload, wide) / inputs["out_scale"], 0, 255)


def tolerance(_workload: Workload, _inputs: Inputs, _algorithm: str = "direct") -> np.ndarray:
    """Returns half a step for rounding; float32 and activations shift what is rounded by much less."""
    return np.array(0.51)


def kernel(workload: Workload, inputs: Inputs, **options: Any) -> kernels.Dense | kernels.Conv2d:
    """Returns our kernel of a layer.

    Raises:
        TypeError, ValueError: as the kernels.
    """
    x, out, residual = (
        kernels.Integers("uint8", float(inputs[name].item())) for name in ("x_scale", "out_scale", "residual_scale")
    )
    quantization = kernels.Quantization(inputs["weight_scales"], x=x, out=out, residual=residual)
    options |= {"activation": workload.activation, "quantization": quantization}
    if workload.op == "dense":
        return kernels.Dense(inputs["weight"], inputs.get("bias"), **options)
    return kernels.Conv2d(inputs["weight"], inputs.get("bias"), **geometry(workload.sizes), **options)


@dataclass(frozen=True)
class Work:
    """What bounds the time of a layer, as ``compiler.measure.roofline.Work``.

    Attributes:
        workload: of int8, which has float32 in all places but the weight.
    """

    workload: Workload
    dtype: str = INT8

    @property
    def flops(self) -> int:
        return self.workload.flops

    @property
    def bytes(self) -> int:
        activations = self.workload.bytes - self.workload.weight_bytes
        return activations // FLOAT_BYTES + self.weight_bytes

    @property
    def weight_bytes(self) -> int:
        return self.workload.weight_bytes
