"""How far a tensor is from the reference, and how far it may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf

import numpy as np

FLOAT32 = 1e-4  # of the scale of a tensor
FLOAT16 = 2.0**-8  # four steps of float16 at the scale of a tensor
ROUNDED = 2.0**-6  # four steps of bfloat16, of models with layers of it
OWN_SPREADS = 3  # times the difference of ONNX Runtime's answers with and without its optimizations

Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Difference:
    """How far one output is from the reference; ``error`` and ``allowed`` are relative to its scale."""

    name: str
    error: float
    allowed: float

    @property
    def ok(self) -> bool:
        return self.error <= self.allowed  # also False for NaN

    def __str__(self) -> str:
        return f"{self.name} differs by {self.error:.2g} of its scale ({self.allowed:.2g} allowed)"


def scale(array: np.ndarray) -> float:
    """Returns the largest finite magnitude; 1 if all elements are zero."""
    numbers = np.abs(array.astype(np.float64))
    return float(numbers[np.isfinite(numbers)].max(initial=0)) or 1.0


def largest_difference(want: np.ndarray, got: np.ndarray) -> float:
    """Returns the largest absolute difference; infinity where only one is NaN, or they are not the same infinity."""
    one, other = want.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0, np.abs(one - other))
    return float(np.where(np.isnan(off), inf, off).max(initial=0))


def difference(
    name: str, want: np.ndarray, got: np.ndarray | None, allowed: float, measure: Measure = largest_difference
) -> Difference:
    """Compares one tensor; another shape or type is an infinite error. Tensors of text are equal or not."""
    if got is None or got.shape != want.shape or got.dtype != want.dtype:
        return Difference(name, inf, allowed)
    if want.dtype.kind not in "fiub":
        return Difference(name, 0.0 if np.array_equal(want, got) else inf, allowed)
    return Difference(name, measure(want, got) / scale(want), allowed)


def rounding(array: np.ndarray) -> float:
    """Returns what rounding may change, relative to the scale of a tensor; 0 for integers."""
    if array.dtype.kind != "f":
        return 0.0
    return FLOAT16 if array.dtype.itemsize == 2 else FLOAT32


@dataclass(frozen=True)
class Expected:
    """The right outputs of a model on one set of inputs.

    Attributes:
        outputs: by name.
        allowed: the largest error of each output, relative to its scale; 0 for integers, but a step for those of 8 bits
            in a quantized model.
        spread: the largest error of ONNX Runtime's optimized answers.
        measure: returns the absolute difference of two tensors.
    """

    outputs: Mapping[str, np.ndarray]
    allowed: Mapping[str, float]
    spread: float
    measure: Measure = largest_difference

    @classmethod
    def of(
        cls,
        outputs: Mapping[str, np.ndarray],
        optimized: Mapping[str, np.ndarray],
        steps: Mapping[str, float] | None = None,
        measure: Measure = largest_difference,
    ) -> Expected:
        """Derives what is allowed: 1e-4 of the scale, or three times the spread of ONNX Runtime's answers if larger.

        Args:
            outputs: of ONNX Runtime without its optimizations.
            optimized: of ONNX Runtime with them.
            steps: the absolute steps of quantization at the outputs; None for a model that is not quantized. They
                are allowed in place of three times the spread.
            measure: see the attribute.
        """
        allowed, spread = {}, 0.0
        for name, want in outputs.items():
            allowed[name] = rounding(want)
            if steps is not None and want.dtype.name in ("int8", "uint8"):  # the middle of two steps may go to either
                allowed[name] = 1 / scale(want)
            if want.dtype.kind == "f":
                own = difference(name, want, optimized.get(name), 0, measure).error
                own = own if np.isfinite(own) else 0.0
                stepped = OWN_SPREADS * own if steps is None else max(steps[name] / scale(want), own)
                allowed[name] = max(allowed[name], stepped)
                spread = max(spread, own)
        return cls(outputs, allowed, spread, measure)

    def at_least(self, allowed: float) -> Expected:
        """Allows outputs of floats this error, if it is larger."""
        floats = {name for name, want in self.outputs.items() if want.dtype.kind == "f"}
        return replace(self, allowed={n: max(a, allowed) if n in floats else a for n, a in self.allowed.items()})

    def compare(self, found: Mapping[str, np.ndarray]) -> list[Difference]:
        """Returns the difference of each output; one that is missing has an infinite error."""
        return [
            difference(name, want, found.get(name), self.allowed[name], self.measure)
            for name, want in self.outputs.items()
        ]
