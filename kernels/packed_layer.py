"""What layers with packed weights have in common."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import numpy as np


class _Timed(Protocol):
    def time(
        self, x: np.ndarray, out: np.ndarray | None, residual: np.ndarray | None, number: int, repeat: int
    ) -> list[float]: ...


Native = TypeVar("Native", bound=_Timed)


class PackedLayer(Generic[Native]):
    """``y = activation(sum + bias + residual)``, where the sum is over products of x and a packed weight."""

    _native: Native  # set by the constructor of the subclass, which packs the weight

    def time(
        self,
        x: np.ndarray,
        out: np.ndarray | None = None,
        residual: np.ndarray | None = None,
        number: int = 1,
        repeat: int = 1,
    ) -> list[float]:
        """Returns ``repeat`` samples in seconds per run, each the mean over ``number`` runs in a native loop.

        Raises:
            TypeError, ValueError: as a call with these arrays.
            ValueError: ``number`` or ``repeat`` is less than 1.
        """
        return self._native.time(x, out, residual, number, repeat)
