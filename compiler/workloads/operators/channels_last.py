"""channels_last: x (n, c, h, w) -> (n, h, w, c), of up to 4 channels, as images are given to a model."""

from __future__ import annotations

import numpy as np

import kernels
from compiler.workloads.operators.function import function_kernel
from compiler.workloads.operators.operator import LayerSchema, Notation, OperatorDef, Sizes

MOST_CHANNELS = 4


def _check(s: Sizes) -> None:
    if s["c"] > MOST_CHANNELS:
        raise ValueError(f"channels_last is for up to {MOST_CHANNELS} channels, got {s['c']}")


CHANNELS_LAST = OperatorDef(
    name="channels_last",
    dims=("n", "c", "h", "w"),
    inputs=lambda s: {"x": (s["n"], s["c"], s["h"], s["w"])},
    output=lambda s: (s["n"], s["h"], s["w"], s["c"]),
    reference=lambda _, inputs: inputs["x"].transpose(0, 2, 3, 1),
    tolerance=lambda _, inputs, _algorithm: np.zeros(inputs["x"].transpose(0, 2, 3, 1).shape),
    kernel=function_kernel(kernels.channels_last),
    notation=Notation("1x3x224x224", "{n}x{c}x{h}x{w} channels last".format_map),
    layers=(
        LayerSchema(
            "channels_last", ("x",), optional={f"out_{name}": None for name in ("dtype", "scale", "zero_point")}
        ),
    ),
    onnx=("Transpose", "QuantizeLinear"),
    check=_check,
    networks={(1, 3, 224, 224): "an image"},
)
