"""Operators that memory bounds and that have no schedule: what they are, and what they compute in float64.

They are to the benchmark what a ``compiler.workloads.workload.Workload`` is, and this module has the functions of
``compiler.workloads.reference`` for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from compiler.workloads.workload import DTYPE_BYTES, Workload

Array = np.ndarray
Inputs = Mapping[str, Array]
Sizes: TypeAlias = Mapping[str, int]

EPSILON = 1e-5  # of layer normalisation
_UNIT = float(np.finfo(np.float32).eps) / 2
_EXP_UNITS = 8  # what a float32 exponential may be off, in units of rounding


@dataclass(frozen=True)
class RowOperator:
    """``reference`` takes inputs in float64; ``tolerance`` bounds the error of float32 arithmetic on them."""

    dims: tuple[str, ...]
    inputs: Callable[[Sizes], dict[str, tuple[int, ...]]]
    output: Callable[[Sizes], tuple[int, ...]]
    reference: Callable[[Sizes, Inputs], Array]
    tolerance: Callable[[Sizes, Inputs], Array]


@dataclass(frozen=True)
class RowWorkload:
    """One such operator on one shape; ``dims`` are sizes in the order of ``OPERATORS[op].dims``."""

    op: str
    dims: tuple[int, ...]
    dtype: str = "float32"
    epilogue: tuple[str, ...] = ()
    activation = None
    flops = 0  # as everything but sums of products counts nowhere

    @property
    def sizes(self) -> dict[str, int]:
        return dict(zip(OPERATORS[self.op].dims, self.dims, strict=True))

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        return OPERATORS[self.op].inputs(self.sizes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return OPERATORS[self.op].output(self.sizes)

    @property
    def bytes(self) -> int:
        elements = prod(self.output_shape) + sum(map(prod, self.input_shapes.values()))
        return elements * DTYPE_BYTES[self.dtype]

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "dims": list(self.dims), "dtype": self.dtype, "epilogue": []}


AnyWorkload: TypeAlias = Workload | RowWorkload


def from_json(fields: Mapping[str, Any]) -> AnyWorkload:
    """A workload of either kind."""
    if fields["op"] in OPERATORS:
        return RowWorkload(fields["op"], tuple(fields["dims"]), fields["dtype"])
    return Workload.from_json(fields)


def make_inputs(workload: RowWorkload, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in workload.input_shapes.items()}


def reference(workload: RowWorkload, inputs: Inputs) -> Array:
    return OPERATORS[workload.op].reference(workload.sizes, _wide(inputs))


def tolerance(workload: RowWorkload, inputs: Inputs, _algorithm: str = "direct") -> Array:
    return OPERATORS[workload.op].tolerance(workload.sizes, _wide(inputs))


def _wide(inputs: Inputs) -> dict[str, Array]:
    return {name: array.astype(np.float64) for name, array in inputs.items()}


def _gamma(roundings: int) -> float:
    return roundings * _UNIT / (1 - roundings * _UNIT)


def _matrix(s: Sizes) -> tuple[int, ...]:
    return s["rows"], s["columns"]


def _softmax(_: Sizes, inputs: Inputs) -> Array:
    e = np.exp(inputs["x"] - inputs["x"].max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _softmax_tolerance(s: Sizes, inputs: Inputs) -> Array:
    """An exponential errs with its argument; so does the sum of them, and it rounds once a column."""
    spread = inputs["x"].max(-1, keepdims=True) - inputs["x"].min(-1, keepdims=True)
    return _softmax(s, inputs) * (2 * _gamma(_EXP_UNITS) * (1 + spread) + _gamma(s["columns"] + 2))


def _moments(x: Array) -> tuple[Array, Array]:
    return x.mean(-1, keepdims=True), np.sqrt(x.var(-1, keepdims=True) + EPSILON)


def _layer_norm(_: Sizes, inputs: Inputs) -> Array:
    mean, deviation = _moments(inputs["x"])
    return (inputs["x"] - mean) / deviation * inputs["gamma"] + inputs["beta"]


def _layer_norm_tolerance(s: Sizes, inputs: Inputs) -> Array:
    """The mean is off by a sum's error, so are the differences from it, and by as much of them the deviation."""
    mean, deviation = _moments(inputs["x"])
    gamma = _gamma(s["columns"] + 4)
    off = gamma * np.abs(inputs["x"]).mean(-1, keepdims=True) / deviation
    normed = np.abs(inputs["x"] - mean) / deviation
    scale, shift = np.abs(inputs["gamma"]), np.abs(inputs["beta"])
    return scale * (off + normed * (gamma + 2 * off)) + _gamma(4) * (scale * normed + shift)


def _max_pool_output(s: Sizes) -> tuple[int, ...]:
    rows, columns = ((s[d] + 2 * s["padding"] - s["kernel"]) // s["stride"] + 1 for d in ("h", "w"))
    return s["n"], rows, columns, s["c"]


def _max_pool(s: Sizes, inputs: Inputs) -> Array:
    _, rows, columns, _ = _max_pool_output(s)
    around = (s["padding"], s["padding"])
    x = np.pad(inputs["x"], ((0, 0), around, around, (0, 0)), constant_values=-np.inf)
    ends = [(size - 1) * s["stride"] + 1 for size in (rows, columns)]
    taps = itertools.product(range(s["kernel"]), repeat=2)
    return np.max([x[:, i : i + ends[0] : s["stride"], j : j + ends[1] : s["stride"]] for i, j in taps], axis=0)


def _mean_of_image(_: Sizes, inputs: Inputs) -> Array:
    return inputs["x"].mean((1, 2), keepdims=True)


OPERATORS: Mapping[str, RowOperator] = {
    "softmax": RowOperator(
        ("rows", "columns"), lambda s: {"x": _matrix(s)}, _matrix, reference=_softmax, tolerance=_softmax_tolerance
    ),
    "layer_norm": RowOperator(
        ("rows", "columns"),
        lambda s: {"x": _matrix(s), "gamma": (s["columns"],), "beta": (s["columns"],)},
        _matrix,
        reference=_layer_norm,
        tolerance=_layer_norm_tolerance,
    ),
    "add": RowOperator(
        ("rows", "columns"),
        lambda s: {"a": _matrix(s), "b": _matrix(s)},
        _matrix,
        reference=lambda _, inputs: inputs["a"] + inputs["b"],
        tolerance=lambda _, inputs: _gamma(1) * np.abs(inputs["a"] + inputs["b"]),
    ),
    "max_pool": RowOperator(
        ("n", "h", "w", "c", "kernel", "stride", "padding"),
        lambda s: {"x": (s["n"], s["h"], s["w"], s["c"])},
        _max_pool_output,
        reference=_max_pool,
        tolerance=lambda s, _: np.zeros(_max_pool_output(s)),
    ),
    "global_avg_pool": RowOperator(
        ("n", "h", "w", "c"),
        lambda s: {"x": (s["n"], s["h"], s["w"], s["c"])},
        lambda s: (s["n"], 1, 1, s["c"]),
        reference=_mean_of_image,
        tolerance=lambda s, inputs: _gamma(s["h"] * s["w"] + 1) * np.abs(inputs["x"]).mean((1, 2), keepdims=True),
    ),
}
