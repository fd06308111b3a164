"""How close the answers of a changed model come to those of the original."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Fidelity:
    """How close one output is, over all samples.

    Attributes:
        output: its name.
        sqnr_db: the power of the original's values over the power of the differences, in decibels; infinite without
            differences.
        agreement: the share of rows along the last axis with the same largest element; None if that axis has one.
    """

    output: str
    sqnr_db: float
    agreement: float | None

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON, which has no infinite numbers: there, ``sqnr_db`` is None."""
        finite = self.sqnr_db if math.isfinite(self.sqnr_db) else None
        return {"name": self.output, "sqnr_db": finite, "agreement": self.agreement}


def compared(output: str, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Fidelity:
    """Returns how close an output is, from pairs of (original, changed) values."""
    power = error = 0.0
    rows = agreeing = 0
    for original, changed in pairs:
        wide = original.astype(np.float64)
        power += float(np.square(wide).sum())
        error += float(np.square(wide - changed).sum())
        if original.ndim and original.shape[-1] > 1:
            same = original.argmax(-1) == changed.argmax(-1)
            rows, agreeing = rows + same.size, agreeing + int(same.sum())
    ratio = math.inf if error == 0 else power / error
    decibels = 10 * math.log10(ratio) if ratio > 0 else -math.inf
    return Fidelity(output, decibels, agreeing / rows if rows else None)
