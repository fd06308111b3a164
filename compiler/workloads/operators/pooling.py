"""max_pool2d, avg_pool2d and avg_pool2d_with_pads: over windows of x (n, h, w, c) -> (n, oh, ow, c).

A mean counts the pixels of the image; ``avg_pool2d_with_pads`` also counts those of the padding, which are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import kernels
from compiler.workloads.operators.bounds import gamma
from compiler.workloads.operators.function import FunctionKernel, check_no_schedule
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
from compiler.workloads.operators.windows import DEFAULTS, OPTIONS, check_fit, output_size, pads, taps
from kernels.timed import TimedFunction

_PADS = ("pad_top", "pad_left", "pad_bottom", "pad_right")
_DIMS = (
    *("n", "h", "w", "c", "kh", "kw", "stride_h", "stride_w"),
    *(*_PADS, "dilation_h", "dilation_w", "ceil_mode"),
)


def dims(x: Shape, kernel: tuple[int, int], stride: int = 1, padding: int = 0) -> Shape:
    """The dimensions of pooling over images of shape ``x``, alike in both directions, without dilation."""
    return (*x, *kernel, stride, stride, padding, padding, padding, padding, 1, 1, 0)


def _output(s: Sizes) -> Shape:
    return s["n"], *output_size(s), s["c"]


def _check_mean(s: Sizes) -> None:
    _check(s)
    if s["dilation_h"] != 1 or s["dilation_w"] != 1:
        raise ValueError("pooling: a mean has no dilation")


def _check(s: Sizes) -> None:
    """
    Raises:
        ValueError: the kernel does not fit, the padding is not smaller than it, or ceil_mode is not 0 or 1.
    """
    check_fit("pooling", s)
    reach = [s[f"dilation_{axis}"] * (s[f"k{axis}"] - 1) + 1 for axis in "hw"]
    if max(s["pad_top"], s["pad_bottom"]) >= reach[0] or max(s["pad_left"], s["pad_right"]) >= reach[1]:
        raise ValueError(f"pooling: the padding {pads(s)} must be smaller than the kernel's span {reach[0]}x{reach[1]}")
    if s["ceil_mode"] > 1:
        raise ValueError(f"pooling: ceil_mode must be 0 or 1, got {s['ceil_mode']}")


def _taps(s: Sizes, x: Array, outside: float) -> Iterator[Array]:
    """For each tap of the kernel, the pixels that the windows read there; ``outside`` stands for the padding."""
    _, oh, ow, _ = _output(s)
    outputs = ((oh, "h"), (ow, "w"))
    ends = [(o - 1) * s[f"stride_{a}"] + s[f"dilation_{a}"] * (s[f"k{a}"] - 1) + 1 for o, a in outputs]
    begins = (s["pad_top"], s["pad_left"])
    more = [max(0, end - s[axis] - begin) for end, axis, begin in zip(ends, "hw", begins, strict=True)]
    padded = np.pad(x, [(0, 0), (s["pad_top"], more[0]), (s["pad_left"], more[1]), (0, 0)], constant_values=outside)
    for _i, _j, rows, columns in taps(s, oh, ow):
        yield padded[:, rows, columns]


def _maxima(s: Sizes, inputs: Arrays) -> Array:
    return np.maximum.reduce(list(_taps(s, inputs["x"], -np.inf)))


def _means(with_pads: bool) -> Callable[[Sizes, Arrays], Array]:
    def means(s: Sizes, inputs: Arrays) -> Array:
        counted = np.ones_like(inputs["x"])
        windows = dict(s)
        if with_pads:  # but not what ceil_mode reaches beyond the padding
            top, left, bottom, right = pads(s)
            counted = np.pad(counted, [(0, 0), (top, bottom), (left, right), (0, 0)], constant_values=1.0)
            windows |= {"h": counted.shape[1], "w": counted.shape[2]} | dict.fromkeys(_PADS, 0)
        counts = np.add.reduce(list(_taps(windows, counted, 0.0)))
        return np.add.reduce(list(_taps(s, inputs["x"], 0.0))) / counts

    return means


def _mean_tolerance(means: Callable[[Sizes, Arrays], Array]) -> Callable[[Instance, Arrays, str], Array]:
    def tolerance(workload: Instance, inputs: Arrays, _algorithm: str) -> Array:
        s = workload.sizes
        return gamma(s["kh"] * s["kw"] + 1) * means(s, {"x": np.abs(inputs["x"])})

    return tolerance


def _kernel(function: TimedFunction[...], more: Callable[[Sizes], dict[str, Any]]) -> Callable[..., FunctionKernel]:
    def make(workload: Instance, _inputs: Arrays, *, isa: str, threads: int, schedule: Any = None) -> FunctionKernel:
        check_no_schedule(schedule)
        s = workload.sizes
        window = {"kernel": (s["kh"], s["kw"]), "stride": (s["stride_h"], s["stride_w"]), "padding": pads(s)}
        options = {**window, "ceil_mode": bool(s["ceil_mode"]), **more(s)}
        return FunctionKernel(function, **options, isa=isa, threads=threads)

    return make


def _describe(kind: str) -> Callable[[Sizes], str]:
    def describe(s: Sizes) -> str:
        image = f"{s['n']}x{s['h']}x{s['w']}x{s['c']}"
        if (s["kh"], s["kw"]) == (s["h"], s["w"]):
            return f"{image} {kind} of all"
        stride = f"/{s['stride_h']}" if s["stride_h"] > 1 else ""
        return f"{image} {kind} {s['kh']}x{s['kw']}{stride}"

    return describe


_OPTIONS = {**OPTIONS, "ceil_mode": ("ceil_mode",)}
_DEFAULTS = {**DEFAULTS, "ceil_mode": 0}
_ATTRIBUTES = ("x", "kernel", "stride", "padding", "dilation", "ceil_mode")


def _inputs(s: Sizes) -> dict[str, Shape]:
    return {"x": (s["n"], s["h"], s["w"], s["c"])}


MAX_POOL2D = OperatorDef(
    name="max_pool2d",
    dims=_DIMS,
    inputs=_inputs,
    output=_output,
    reference=_maxima,
    tolerance=lambda workload, _inputs, _algorithm: np.zeros(_output(workload.sizes)),
    kernel=_kernel(kernels.max_pool2d, lambda s: {"dilation": (s["dilation_h"], s["dilation_w"])}),
    notation=Notation("1x112x112x64x3x3,stride=2,padding=1", _describe("max"), _OPTIONS, _DEFAULTS),
    layers=(
        LayerSchema(
            "max_pool2d",
            _ATTRIBUTES,
            optional={"integers": None},
            dtypes=lambda attributes: (attributes["integers"] or "float32",),
        ),
    ),
    onnx=("loopwright::MaxPool_nhwc", "loopwright::GlobalMaxPool_nhwc"),
    recognizer="pooling",
    check=_check,
    networks={dims((1, 112, 112, 64), (3, 3), stride=2, padding=1): "ResNet-50"},
)


def _mean_definition(name: str, with_pads: bool, onnx: tuple[str, ...]) -> OperatorDef:
    means = _means(with_pads)
    return OperatorDef(
        name=name,
        dims=_DIMS,
        inputs=_inputs,
        output=_output,
        reference=means,
        tolerance=_mean_tolerance(means),
        kernel=_kernel(kernels.avg_pool2d, lambda _: {"count_include_pad": with_pads}),
        notation=Notation("1x7x7x2048x7x7", _describe("mean"), _OPTIONS, _DEFAULTS),
        layers=(LayerSchema(name, _ATTRIBUTES),),
        onnx=onnx,
        recognizer="pooling",
        check=_check_mean,
        networks={dims((1, 7, 7, 2048), (7, 7)): "ResNet-50"},
    )


AVG_POOL2D = _mean_definition(
    "avg_pool2d", False, ("loopwright::AveragePool_nhwc", "loopwright::GlobalAveragePool_nhwc", "ReduceMean")
)
AVG_POOL2D_WITH_PADS = _mean_definition("avg_pool2d_with_pads", True, ("loopwright::AveragePool_nhwc",))
