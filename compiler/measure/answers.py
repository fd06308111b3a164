"""Comparison of the answers of two implementations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class WrongAnswerError(RuntimeError):
    """An implementation computes something else."""


def agree(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> float:
    """Returns the largest difference of any output, relative to the largest element of ``theirs`` in that output.

    If all elements of ``theirs`` are 0, the difference is absolute. Equal infinities agree.

    Raises:
        ValueError: the names or shapes of the outputs differ, or an element is not a number.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"outputs differ: {', '.join(ours)} and {', '.join(theirs)}")
    return max((_difference(name, ours[name], theirs[name]) for name in theirs), default=0.0)


def _difference(name: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes of output {name} differ: {ours.shape} and {theirs.shape}")
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    if np.isnan(ours).any() or np.isnan(theirs).any():
        raise ValueError(f"output {name} has elements that are not a number")
    apart = ours != theirs  # keeps equal infinities from becoming NaN
    largest = float(np.abs(ours[apart] - theirs[apart]).max(initial=0.0))
    scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0))
    return largest / scale if scale else largest
