"""Attention of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kernels import _native
from kernels.schedule import schedule_values


class Attention:
    """``softmax(scale * q @ k.T + mask) @ v`` for every head, in float32, the scores never leaving the caches.

    Args:
        heads: how many.
        head_dim: elements of a head's query, key or value.
        scale: of the scores; None takes ``1 / sqrt(head_dim)``.
        isa: one of ``kernels.available_isas()``; None takes the best.
        threads: how many threads of the shared pool may take part, the caller included.
        schedule: a mapping as :meth:`schedule` returns, or an object whose attribute ``values`` is one; None takes the
            default for the shape at hand.

    Raises:
        ValueError: a number below 1, an ISA that this CPU lacks or an illegal schedule.
    """

    def __init__(
        self,
        heads: int,
        head_dim: int,
        scale: float | None = None,
        isa: str | None = None,
        threads: int = 1,
        schedule: Mapping[str, Any] | Any | None = None,
    ) -> None:
        self._heads = heads
        self._native = _native.Attention(heads, head_dim, scale, isa, threads, schedule_values(schedule))

    def __call__(
        self,
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        mask: np.ndarray | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Runs on q (batch, queries, heads, head_dim), k and v (batch, keys, heads, head_dim); returns what q is like.

        Any strides will do where the last axis is contiguous, so that q, k and v may be slices of one projection; else
        they are copied first. ``mask`` is added to the scaled scores; it is anything that numpy broadcasts to (batch,
        heads, queries, keys). A query from which ``-inf`` hides every key has the answer zero. ``out`` is contiguous.
        Safe to call from several threads; the GIL is released.

        Raises:
            TypeError: an argument is no float32 array.
            ValueError: a wrong shape, or ``out`` overlaps an input.
        """
        return self._native(q, k, v, self._broadcast(mask, q, k), out)

    def time(
        self,
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        mask: np.ndarray | None = None,
        out: np.ndarray | None = None,
        number: int = 1,
        repeat: int = 1,
    ) -> list[float]:
        """``repeat`` samples, each the mean seconds a run over ``number`` runs back to back, without Python between."""
        return self._native.time(q, k, v, self._broadcast(mask, q, k), out, number, repeat)

    def schedule(self, batch: int, queries: int, keys: int) -> dict[str, Any]:
        """What a call of this shape uses: ``scores_mr``, ``scores_nr`` the register tile of the first product,
        ``values_mr``, ``values_nr`` that of the second; ``rows`` how many queries of a head go through both at a time;
        ``threads`` how many take part.
        """
        return self._native.schedule(batch, queries, keys)

    def _broadcast(self, mask: np.ndarray | None, q: np.ndarray, k: np.ndarray) -> np.ndarray | None:
        if not isinstance(mask, np.ndarray) or np.ndim(q) != 4 or np.ndim(k) != 4:
            return mask  # None, or refused with the right words where it is used
        shape = (q.shape[0], self._heads, q.shape[1], k.shape[1])
        try:
            return np.broadcast_to(mask, shape)
        except ValueError:
            raise ValueError(f"mask must broadcast to shape {shape}, got {mask.shape}") from None
