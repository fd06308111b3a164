"""The comparison of a model in several runtimes: answers first, then latencies."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from compiler import runtimes
from compiler.measure.answers import agree
from compiler.measure.comparison import Ratio, speedup
from compiler.measure.sampling import Latencies, measure
from compiler.runtimes import Runtime, RuntimeUnavailable

if TYPE_CHECKING:
    import onnx

# Largest differences relative to the scale of an output. Rounding in float32 stays far below the first one; a wrong
# answer hardly ever does. In a model that rounds values to 8 bits itself, the smallest difference before such a
# rounding may become a full step after it, in each layer.
LARGEST_DIFFERENCE, LARGEST_QUANTIZED_DIFFERENCE = 0.01, 0.1
LARGEST_BFLOAT16_DIFFERENCE = 0.03  # of a model with layers of bfloat16, about twice what a check allows

Arrays: TypeAlias = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Implementation:
    """A model in one runtime.

    Attributes:
        runtime: the loaded model.
        difference: the difference between its answers and ours, relative to the scale of an output; None for ours.
        allowed: the largest difference that rounding explains.
    """

    runtime: Runtime
    difference: float | None = None
    allowed: float = LARGEST_DIFFERENCE

    @property
    def name(self) -> str:
        return self.runtime.name

    @property
    def agrees(self) -> bool:
        return self.difference is None or self.difference <= self.allowed


@dataclass(frozen=True)
class Result:
    """Measured latencies, and the speedup of ours over this implementation; None for ours."""

    implementation: Implementation
    latencies: Latencies
    speedup: Ratio | None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.implementation.name,
            "version": self.implementation.runtime.version,
            "latencies": dataclasses.asdict(self.latencies),
            "difference": self.implementation.difference,
            "speedup": dataclasses.asdict(self.speedup) if self.speedup else None,
        }


def load_other(
    name: str,
    model: onnx.ModelProto,
    threads: int,
    inputs: Arrays,
    expected: Arrays,
    allowed: float,
    operators: Sequence[Path] = (),
) -> Implementation | str:
    """Loads a model into another runtime and compares its answers. Returns the reason in one line if it cannot.

    Args:
        name: the runtime.
        model: the model with static shapes.
        threads: the number of threads.
        inputs: the inputs to run it on.
        expected: our answers.
        allowed: the largest difference that rounding explains; see :func:`allowed_difference`.
        operators: libraries of operators of users.
    """
    try:
        runtime = runtimes.load(name, model, threads, operators)
    except RuntimeUnavailable as error:
        return one_line(error)
    try:
        difference = agree(expected, runtime.run(inputs))
    except Exception as error:  # noqa: BLE001 - the errors of the runtimes share no base class
        runtime.close()
        return f"{name} fails on this model: {one_line(error)}"
    return Implementation(runtime, difference, allowed)


def allowed_difference(model: onnx.ModelProto, precision: str) -> float:
    """Returns the largest difference of answers that rounding explains, if ours computes in this precision."""
    if is_quantized(model):
        return LARGEST_QUANTIZED_DIFFERENCE
    return LARGEST_DIFFERENCE if precision == "float32" else LARGEST_BFLOAT16_DIFFERENCE


def is_quantized(model: onnx.ModelProto) -> bool:
    """Returns whether values, and not only weights, are rounded to integers."""
    return any(re.search("(^|Dynamic)Quantize|QLinear", node.op_type) for node in model.graph.node)


def compare(
    ours: Implementation,
    others: Sequence[Implementation],
    inputs: Arrays,
    duration: float,
    progress: Callable[[float], None],
) -> list[Result]:
    """Measures the implementations, ours first, for ``duration`` seconds each."""
    runs = {each.name: partial(each.runtime.run, inputs) for each in (ours, *others)}
    samples = measure(runs, duration, progress=progress)
    mine = samples[ours.name]
    return [
        Result(ours, mine.latencies, None),
        *(Result(other, samples[other.name].latencies, speedup(mine, samples[other.name])) for other in others),
    ]


def one_line(error: Exception) -> str:
    """Returns the message of an exception in one line."""
    return " ".join(str(error).split())
