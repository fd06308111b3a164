"""conv2d: x (n, h, w, c), weight (o, c / groups, kh, kw) -> (n, oh, ow, o).

The image has ``pad_top`` rows of zeros above it, and so on; oh and ow are those of ``windows.output_size``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

import kernels
from compiler.workloads import strassen, winograd
from compiler.workloads.operators.bounds import sum_tolerance
from compiler.workloads.operators.int8 import INT8, quantized_weight
from compiler.workloads.operators.operator import (
    QUANTIZATION,
    Array,
    Arrays,
    Instance,
    LayerSchema,
    Notation,
    OperatorDef,
    Shape,
    Sizes,
)
from compiler.workloads.operators.windows import (
    DEFAULTS,
    OPTIONS,
    check_fit,
    check_groups,
    describe,
    geometry,
    output_size,
    pads,
    taps,
)

_MOST_INTEGER_TAPS = 2**24 // (255 * 128)  # as in kernels/cpp/depthwise/integer_depthwise.h


def is_pointwise(workload: Instance) -> bool:
    """Whether the convolution is a matrix product over its pixels."""
    s = workload.sizes
    return all(s[d] == 1 for d in ("kh", "kw", "stride_h", "stride_w", "groups")) and not any(pads(s))


def is_depthwise(workload: Instance) -> bool:
    """Whether the kernel for depthwise convolutions computes it."""
    s = workload.sizes
    if not s["groups"] == s["c"] == s["o"] > 1:
        return False
    return workload.dtype == "float32" or (workload.dtype == INT8 and s["kh"] * s["kw"] <= _MOST_INTEGER_TAPS)


def dims(
    n: int, h: int, w: int, c: int, o: int, kh: int, kw: int, stride: int = 1, padding: int = 0, groups: int = 1
) -> Shape:
    """The dimensions of a convolution that is alike in both directions."""
    return (n, h, w, c, o, kh, kw, stride, stride, padding, padding, padding, padding, 1, 1, groups)


def _inputs(s: Sizes) -> dict[str, Shape]:
    return {"x": (s["n"], s["h"], s["w"], s["c"]), "weight": (s["o"], s["c"] // s["groups"], s["kh"], s["kw"])}


def _output(s: Sizes) -> Shape:
    return s["n"], *output_size(s), s["o"]


def _reduction(s: Sizes) -> int:
    return s["c"] // s["groups"] * s["kh"] * s["kw"]


def _unread(s: Sizes) -> int:
    """A stride that is longer than the kernel skips rows and columns."""
    output_h, output_w = output_size(s)
    read = min(s["h"], output_h * s["kh"]) * min(s["w"], output_w * s["kw"])
    return s["n"] * s["c"] * (s["h"] * s["w"] - read)


def _check(s: Sizes) -> None:
    check_groups("conv2d", s)
    check_fit("conv2d", s)


def _sum(s: Sizes, inputs: Arrays) -> Array:
    """One matrix product for each tap of the kernel and each group, over the pixels that the tap reads."""
    n, oh, ow, o = _output(s)
    groups = s["groups"]
    top, left, bottom, right = pads(s)
    x = np.pad(inputs["x"], [(0, 0), (top, bottom), (left, right), (0, 0)])
    weight = inputs["weight"].reshape(groups, o // groups, -1, s["kh"], s["kw"])
    y = np.zeros((groups, n * oh * ow, o // groups))
    for i, j, rows, columns in taps(s, oh, ow):
        pixels = x[:, rows, columns].reshape(n * oh * ow, groups, -1)
        y += pixels.transpose(1, 0, 2) @ weight[..., i, j].transpose(0, 2, 1)
    return y.transpose(1, 0, 2).reshape(n, oh, ow, o)


def _fast_error(workload: Instance, magnitudes: Arrays, algorithm: str) -> Array | float:
    x, weight, s = magnitudes["x"], magnitudes["weight"], workload.sizes
    if algorithm == "strassen":
        return strassen.error_bound(x.reshape(-1, _reduction(s)), weight.reshape(-1, _reduction(s)))
    dilation = (s["dilation_h"], s["dilation_w"])
    factor_unit = 2.0**-8 if workload.dtype == "bfloat16" else 0.0
    return winograd.error_bound(x, weight, pads(s), winograd.ALGORITHMS[algorithm], dilation, factor_unit)


def _saving(workload: Instance) -> float:
    return strassen.saving(workload) if is_pointwise(workload) else winograd.saving(workload)


def _kernel(workload: Instance, inputs: Arrays, **options: Any) -> Any:
    weight, quantization = quantized_weight(workload, inputs["weight"])
    return kernels.Conv2d(
        weight,
        inputs.get("bias"),
        **geometry(workload.sizes),
        activation=workload.activation,
        slopes=inputs.get("slopes"),
        quantization=quantization,
        **options,
    )


def _describe(s: Sizes) -> str:
    return describe(s, f"{s['c']} dw" if 1 < s["groups"] == s["c"] else f"{s['c']}-{s['o']}")


def _chain_weights(attributes: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    stages = attributes["stages"]
    places = range(len(stages) if isinstance(stages, list) else 0)
    constants = tuple(f"{name}{place}" for place in places for name in ("bias", "slopes"))
    return tuple(f"weight{place}" for place in places), constants


def _chain_dtypes(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    return (attributes["stages"][-1].get("out_dtype") or "float32",)


_ATTRIBUTES = ("x", "weight_shape", "stride", "padding", "dilation", "groups", "residual", "activation")

CONV2D = OperatorDef(
    name="conv2d",
    dims=(
        *("n", "h", "w", "c", "o", "kh", "kw", "stride_h", "stride_w"),
        *("pad_top", "pad_left", "pad_bottom", "pad_right", "dilation_h", "dilation_w", "groups"),
    ),
    inputs=_inputs,
    output=_output,
    reference=_sum,
    tolerance=sum_tolerance(_sum, _reduction, _fast_error),
    kernel=_kernel,
    notation=Notation(
        "1x56x56x64x64x3x3,padding=1", _describe, {**OPTIONS, "groups": ("groups",)}, {**DEFAULTS, "groups": 1}
    ),
    schedule_sizes=("n", "h", "w"),
    layers=(
        LayerSchema(
            "conv2d",
            (*_ATTRIBUTES, "fast_algorithms"),
            weights=lambda _: (("weight",), ("bias", "slopes", "scales")),
            optional=QUANTIZATION,
        ),
        LayerSchema("conv2d_chain", ("stages",), weights=_chain_weights, dtypes=_chain_dtypes),
    ),
    onnx=("Conv", "QuantizedConv"),
    reduction=_reduction,
    flops=lambda s: 2 * prod(_output(s)) * _reduction(s),
    unread=_unread,
    check=_check,
    has_epilogue=True,
    dtypes=("float32", "bfloat16", "int8"),
    tvm_dtypes=("float32",),
    space="conv2d",
    networks={
        dims(1, 224, 224, 3, 64, 7, 7, stride=2, padding=3): "ResNet-50 first",
        dims(1, 56, 56, 64, 64, 3, 3, padding=1): "ResNet-50 stage 1",
        dims(1, 28, 28, 128, 128, 3, 3, padding=1): "ResNet-50 stage 2",
        dims(1, 14, 14, 256, 256, 3, 3, padding=1): "ResNet-50 stage 3",
        dims(1, 7, 7, 512, 512, 3, 3, padding=1): "ResNet-50 stage 4",
        dims(1, 56, 56, 64, 256, 1, 1): "ResNet-50 stage 1, out",
        dims(1, 14, 14, 1024, 256, 1, 1): "ResNet-50 stage 3, in",
        dims(1, 56, 56, 144, 144, 3, 3, padding=1, groups=144): "MobileNetV2 depthwise",
    },
    cold_weights=True,
    saving=_saving,
    verify_factor=60,  # Winograd's tiles are several times as large as the images
)
