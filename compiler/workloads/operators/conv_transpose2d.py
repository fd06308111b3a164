"""conv_transpose2d: x (n, h, w, c), weight (c, o / groups, kh, kw) -> (n, oh, ow, o).

Each pixel of x is added, times the weight, to the outputs at distance ``stride`` from those of its neighbor.
``pad_top`` rows of outputs are cut off at the top, and so on; ``pad_output_h`` rows are added at the bottom.
"""

from __future__ import annotations

from math import gcd, prod
from typing import Any

import numpy as np

import kernels
from compiler.workloads.operators.bounds import sum_tolerance
from compiler.workloads.operators.function import check_no_schedule
from compiler.workloads.operators.operator import (
    Array,
    Arrays,
    Instance,
    LayerSchema,
    Notation,
    OperatorDef,
    Shape,
    Sizes,
)
from compiler.workloads.operators.windows import DEFAULTS, OPTIONS, check_groups, describe, geometry, pads, taps

_MOST_PHASES = 4096  # as kMostPhases in kernels/cpp/include/loopwright/conv_transpose2d.h


def dims(n: int, h: int, w: int, c: int, o: int, kernel: int, stride: int, padding: int = 0, more: int = 0) -> Shape:
    """The dimensions of a transposed convolution that is alike in both directions; ``more``: its output padding."""
    return (n, h, w, c, o, kernel, kernel, stride, stride, *[padding] * 4, more, more, 1, 1, 1)


def _full(s: Sizes) -> tuple[int, int]:
    """Rows and columns of the output before the padding is cut off."""
    h, w = ((s[a] - 1) * s[f"stride_{a}"] + s[f"dilation_{a}"] * (s[f"k{a}"] - 1) + 1 for a in "hw")
    return h + s["pad_output_h"], w + s["pad_output_w"]


def _output(s: Sizes) -> Shape:
    h, w = _full(s)
    top, left, bottom, right = pads(s)
    return s["n"], h - top - bottom, w - left - right, s["o"]


def _inputs(s: Sizes) -> dict[str, Shape]:
    return {"x": (s["n"], s["h"], s["w"], s["c"]), "weight": (s["c"], s["o"] // s["groups"], s["kh"], s["kw"])}


def _reduction(s: Sizes) -> int:
    """Products of the outputs with the most taps: those whose distance from an output is a multiple of the stride."""
    most = [-(-s[f"k{a}"] // (s[f"stride_{a}"] // gcd(s[f"stride_{a}"], s[f"dilation_{a}"]))) for a in "hw"]
    return s["c"] // s["groups"] * prod(most)


def _check(s: Sizes) -> None:
    check_groups("conv_transpose2d", s)
    if s["stride_h"] * s["stride_w"] > _MOST_PHASES:
        raise ValueError(f"conv_transpose2d: stride_h * stride_w must be at most {_MOST_PHASES}")
    if min(_output(s)) < 1:
        raise ValueError(f"conv_transpose2d: the padding {pads(s)} leaves no output of {_full(s)[0]}x{_full(s)[1]}")


def _sum(s: Sizes, inputs: Arrays) -> Array:
    """One matrix product for each tap of the kernel and each group, added to the outputs that the tap reaches."""
    n, h, w, groups = s["n"], s["h"], s["w"], s["groups"]
    x = inputs["x"].reshape(n, h, w, groups, -1)
    weight = inputs["weight"].reshape(groups, s["c"] // groups, s["o"] // groups, s["kh"], s["kw"])
    full = np.zeros((n, *_full(s), groups, s["o"] // groups))
    for i, j, rows, columns in taps(s, h, w):
        full[:, rows, columns] += np.einsum("nhwgc,gco->nhwgo", x, weight[..., i, j], optimize=True)
    top, left, _bottom, _right = pads(s)
    _, oh, ow, o = _output(s)
    return full[:, top : top + oh, left : left + ow].reshape(n, oh, ow, o)


def _no_other_algorithm(_workload: Instance, _magnitudes: Arrays, algorithm: str) -> float:
    raise ValueError(f"conv_transpose2d has no algorithm {algorithm!r}")


def _kernel(workload: Instance, inputs: Arrays, *, isa: str, threads: int, schedule: Any = None) -> Any:
    check_no_schedule(schedule)
    s = workload.sizes
    return kernels.ConvTranspose2d(
        inputs["weight"],
        inputs.get("bias"),
        **geometry(s),
        output_padding=(s["pad_output_h"], s["pad_output_w"]),
        activation=workload.activation,
        slopes=inputs.get("slopes"),
        isa=isa,
        threads=threads,
        width=s["w"],
    )


def _describe(s: Sizes) -> str:
    return describe(s, f"{s['c']}-{s['o']}", "transposed ")


_ATTRIBUTES = ("x", "weight_shape", "stride", "padding", "output_padding", "dilation", "groups")

CONV_TRANSPOSE2D = OperatorDef(
    name="conv_transpose2d",
    dims=(
        *("n", "h", "w", "c", "o", "kh", "kw", "stride_h", "stride_w"),
        *("pad_top", "pad_left", "pad_bottom", "pad_right", "pad_output_h", "pad_output_w"),
        *("dilation_h", "dilation_w", "groups"),
    ),
    inputs=_inputs,
    output=_output,
    reference=_sum,
    tolerance=sum_tolerance(_sum, _reduction, _no_other_algorithm),
    kernel=_kernel,
    notation=Notation(
        "1x32x32x64x32x2x2,stride=2",
        _describe,
        {**OPTIONS, "output_padding": ("pad_output_h", "pad_output_w"), "groups": ("groups",)},
        {**DEFAULTS, "output_padding": 0, "groups": 1},
    ),
    layers=(
        LayerSchema(
            "conv_transpose2d", (*_ATTRIBUTES, "residual", "activation"), lambda _: (("weight",), ("bias", "slopes"))
        ),
    ),
    onnx=("ConvTranspose",),
    reduction=_reduction,
    flops=lambda s: 2 * s["n"] * s["h"] * s["w"] * s["kh"] * s["kw"] * s["c"] * s["o"] // s["groups"],
    check=_check,
    has_epilogue=True,
    networks={
        dims(1, 16, 16, 512, 256, 2, 2): "U-Net 1",
        dims(1, 64, 64, 128, 64, 2, 2): "U-Net 3",
        dims(1, 32, 32, 256, 128, 4, 2, padding=1): "DCGAN",
        dims(1, 32, 32, 128, 64, 3, 2, padding=1, more=1): "CycleGAN",
        dims(1, 160, 160, 24, 24, 2, 2): "PP-OCR detection 1",
        dims(1, 320, 320, 24, 1, 2, 2): "PP-OCR detection 2",
    },
    cold_weights=True,
)
