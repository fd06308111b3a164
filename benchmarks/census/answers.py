"""How far an answer is from the reference, and how far it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np

FLOAT32 = 1e-4  # of the scale of an output
FLOAT16 = 2.0**-8  # four steps of float16 at the scale of an output
OWN_SPREADS = 3  # times the difference of ONNX Runtime's answers with and without its optimizations


@dataclass(frozen=True)
class Expected:
    """The right outputs of a model on one set of inputs.

    Attributes:
        outputs: by name.
        allowed: the largest absolute difference of each output; 0 for integers.
        spread: the largest difference of ONNX Runtime's own answers, relative to the scale of the output.
        ranked: the column of scores, if the rows of outputs are sorted by it.
    """

    outputs: Mapping[str, np.ndarray]
    allowed: Mapping[str, float]
    spread: float
    ranked: int | None = None

    @classmethod
    def of(
        cls,
        outputs: Mapping[str, np.ndarray],
        optimized: Mapping[str, np.ndarray],
        steps: Mapping[str, float] | None,
        ranked: int | None = None,
    ) -> Expected:
        """Derives what is allowed.

        Args:
            outputs: of ONNX Runtime without its optimizations.
            optimized: of ONNX Runtime with them.
            steps: the steps of quantization at the outputs; None for a model that is not quantized.
            ranked: see the attribute.
        """
        allowed, spread = {}, 0.0
        for name, want in outputs.items():
            if want.dtype.kind != "f":
                allowed[name] = 0.0
                continue
            own = difference(want, optimized[name], ranked)
            rounding = FLOAT16 if want.dtype.itemsize == 2 else FLOAT32
            # The spread of a quantized model contains its steps.
            allowed[name] = max(rounding * scale(want), OWN_SPREADS * own if steps is None else max(steps[name], own))
            spread = max(spread, own / (scale(want) or 1))
        return cls(outputs, allowed, spread, ranked)

    def compare(self, found: Mapping[str, np.ndarray]) -> tuple[float, str]:
        """Returns the largest difference as a multiple of what is allowed, and what is wrong in one line; "" if nothing."""
        worst, wrong = 0.0, ""
        if list(found) != list(self.outputs):
            return inf, f"outputs {', '.join(found)} instead of {', '.join(self.outputs)}"
        for name, want in self.outputs.items():
            got = np.asarray(found[name])
            if got.shape != want.shape or got.dtype != want.dtype:
                return inf, f"{name} is {got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
            off, allowed = difference(want, got, self.ranked), self.allowed[name]
            ratio = off / allowed if allowed else (0.0 if off == 0 else inf)
            if ratio > 1 and not wrong:
                whole = scale(want) or 1
                wrong = f"{name} differs by {off / whole:.2g} of its scale, {allowed / whole:.2g} is allowed"
            worst = max(worst, ratio)
        return worst, wrong


def scale(array: np.ndarray) -> float:
    """Returns the largest finite magnitude."""
    numbers = np.abs(array.astype(np.float64))
    return float(numbers[np.isfinite(numbers)].max(initial=0))


def difference(want: np.ndarray, got: np.ndarray, ranked: int | None = None) -> float:
    """Returns the largest absolute difference; infinity where only one of both is NaN or the same infinity."""
    if ranked is not None and want.ndim == 3:
        return max(_ranked(*rows, ranked) for rows in zip(want, got, strict=True))
    one, other = want.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0, np.abs(one - other))
    return float(np.where(np.isnan(off), inf, off).max(initial=0))


def _ranked(want: np.ndarray, got: np.ndarray, column: int) -> float:
    """Returns the largest difference of two tables whose rows are sorted by the scores in ``column``.

    Rows with nearly the same score may be in either order, and the last ones may be missing in one of the tables. Scores
    are compared in their order, and each other row with the closest one of a similar score.
    """
    scores = [table[:, column].astype(np.float64) for table in (want, got)]
    off = float(np.abs(scores[0] - scores[1]).max(initial=0))
    similar = max(2 * off, FLOAT32 * scale(want[:, column]))
    for row, score in zip(want.astype(np.float64), scores[0], strict=True):
        if score - similar > scores[1].min():
            candidates = got[np.abs(scores[1] - score) <= similar].astype(np.float64)
            off = max(off, float(np.abs(candidates - row).max(axis=1).min(initial=inf)))
    return off
