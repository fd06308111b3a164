"""oneDNN's C++ interface, from the wheels ``onednn-cpu-gomp`` and ``onednn-devel-cpu-gomp``.

oneDNN runs under its best conditions: it chooses the layout of weights and, for convolutions, of activations. Reorders
are not timed. Bias, residual and activation are fused, and primitives are created for the number of threads.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import kernels
from benchmarks.peers.onednn import adapter
from compiler.workloads.operators.layer_norm import EPSILON
from compiler.workloads.workload import Workload

missing = adapter.missing
Inputs = Mapping[str, np.ndarray]

_NOTHING = np.empty(0, np.float32)


def version() -> str:
    """Returns the version that the loaded library reports, not that of the wheel."""
    wheel = adapter.WHEELS[0]
    return f"oneDNN {adapter.load().version()} ({wheel} {importlib.metadata.version(wheel)})"


class Layer:
    """One layer of oneDNN primitives with fixed inputs."""

    algorithm = "direct"

    def __init__(self, native: Any, out: np.ndarray, name: str) -> None:
        self._native, self._out = native, out
        self.description = f"{name}: {native.implementation}"
        self._name = name

    def run(self) -> np.ndarray:
        self._native.run()
        return self._out

    def time(self, number: int, repeat: int) -> list[float]:
        return self._native.time(number, repeat)

    def copy(self) -> Layer:
        return Layer(self._native.copy(), self._out, self._name)


def layer(workload: Workload, inputs: Inputs, out: np.ndarray, threads: int) -> Layer:
    """Returns oneDNN's layer for the workload, the fastest if several primitives or layouts can compute it.

    Raises:
        ValueError: this adapter does not support the operator, or oneDNN has no primitive for the workload.
    """
    if workload.op not in _OPERATORS:
        raise ValueError(f"no {workload.op} here; choose from: {', '.join(_OPERATORS)}")
    bits = {name: _bits(array) for name, array in inputs.items()}
    try:
        ways = _OPERATORS[workload.op](workload, bits, _bits(out), threads)
    except RuntimeError as error:
        if "primitive descriptor" not in str(error):
            raise
        ways = {}  # for example bfloat16 on a CPU without AVX-512
    layers = [Layer(native, out, name) for name, native in ways.items()]
    if not layers:
        raise ValueError(f"oneDNN has no primitive for {workload}")
    return _fastest(layers) if len(layers) > 1 else layers[0]


def _dense(workload: Workload, inputs: Inputs, out: np.ndarray, threads: int) -> dict[str, Any]:
    epilogue = (inputs.get("bias", _NOTHING), inputs.get("residual", _NOTHING), out, workload.activation or "")
    return {
        primitive: adapter.load().dense(primitive, inputs["x"], inputs["weight"], *epilogue, _scales(inputs), threads)
        for primitive in ("inner_product", "matmul")
    }


def _conv2d(workload: Workload, inputs: Inputs, out: np.ndarray, threads: int) -> dict[str, Any]:
    s = workload.sizes
    epilogue = (inputs.get("bias", _NOTHING), inputs.get("residual", _NOTHING), out, workload.activation or "")
    geometry = (
        (s["stride_h"], s["stride_w"]),
        (s["pad_top"], s["pad_left"]),
        (s["pad_bottom"], s["pad_right"]),
        (s["dilation_h"], s["dilation_w"]),
        s["groups"],
    )
    ways = {}
    for layout in ("any", "nChw16c" if kernels.detect_isa() == "avx512" else "nChw8c"):
        tensors = (inputs["x"], inputs["weight"], *epilogue)
        try:
            native = adapter.load().convolution(*tensors, *geometry, layout, _scales(inputs), threads)
        except RuntimeError:  # dnnl::error: the layout is not supported
            continue
        if not native.implementation.startswith("ref"):  # scalar loops, which take seconds
            ways[f"convolution, {layout}"] = native
    return ways


def _conv_transpose2d(workload: Workload, inputs: Inputs, out: np.ndarray, threads: int) -> dict[str, Any]:
    s = workload.sizes
    if s["groups"] > 1:
        raise ValueError("this adapter does not support transposed convolutions in groups")
    epilogue = (inputs.get("bias", _NOTHING), inputs.get("residual", _NOTHING), out, workload.activation or "")
    native = adapter.load().deconvolution(
        inputs["x"],
        inputs["weight"],
        *epilogue,
        (s["stride_h"], s["stride_w"]),
        (s["pad_top"], s["pad_left"]),
        (s["pad_bottom"] - s["pad_output_h"], s["pad_right"] - s["pad_output_w"]),
        (s["dilation_h"], s["dilation_w"]),
        threads,
    )
    return {"deconvolution": native}


def _attention(_: Workload, inputs: Inputs, out: np.ndarray, threads: int) -> dict[str, Any]:
    qkv = (inputs["q"], inputs["k"], inputs["v"])
    return {
        f"matmul, softmax, matmul, {layout}": adapter.load().attention(*qkv, out, layout == "head by head", threads)
        for layout in ("in place", "head by head")
    }


def _softmax(_: Workload, inputs: Inputs, out: np.ndarray, threads: int) -> dict[str, Any]:
    return {"softmax": adapter.load().softmax(inputs["x"], out, threads)}


def _layer_norm(_: Workload, inputs: Inputs, out: np.ndarray, threads: int) -> dict[str, Any]:
    tensors = (inputs["x"], inputs["gamma"], inputs["beta"], out)
    return {"layer normalization": adapter.load().layer_norm(*tensors, EPSILON, threads)}


def _add(_: Workload, inputs: Inputs, out: np.ndarray, threads: int) -> dict[str, Any]:
    return {"binary": adapter.load().add(inputs["a"], inputs["b"], out, threads)}


def _pool2d(workload: Workload, inputs: Inputs, out: np.ndarray, threads: int) -> dict[str, Any]:
    s = workload.sizes
    geometry = ((s["kh"], s["kw"]), (s["stride_h"], s["stride_w"]), (s["pad_top"], s["pad_left"]))
    ends = (s["pad_bottom"], s["pad_right"])
    if s["ceil_mode"] or (s["dilation_h"], s["dilation_w"]) != (1, 1):
        raise ValueError("this adapter supports neither ceil_mode nor dilation")
    return {
        f"pooling, {layout}": adapter.load().pool(
            inputs["x"], out, workload.op == "max_pool2d", *geometry, ends, layout == "nChw16c", threads
        )
        for layout in ("nhwc", "nChw16c")
    }


_OPERATORS: Mapping[str, Callable[[Any, Inputs, np.ndarray, int], dict[str, Any]]] = {
    "dense": _dense,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "attention": _attention,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "add": _add,
    "max_pool2d": _pool2d,
    "avg_pool2d": _pool2d,
}


def _bits(array: np.ndarray) -> np.ndarray:
    """Returns bfloat16 as 16-bit integers, since pybind11 does not support the type."""
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def _scales(inputs: Inputs) -> Any:
    """Returns what the integers of a layer stand for; None for a layer of another type."""
    if "x_scale" not in inputs:
        return None
    names = ("x_scale", "weight_scales", "out_scale")
    return adapter.load().Scales(*(inputs[name] for name in names), inputs["residual_scale"].item())


def _fastest(layers: Sequence[Layer], samples: int = 10, sample_secs: float = 0.002) -> Layer:
    """Returns the layer with the best of a few short samples, which are interleaved."""
    numbers = [max(1, round(sample_secs / min(layer.time(1, 3)))) for layer in layers]
    best = [math.inf] * len(layers)
    for _ in range(samples):
        for i, layer in enumerate(layers):
            best[i] = min(best[i], *layer.time(numbers[i], 1))
    return layers[best.index(min(best))]
