"""Attention of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kernels import _native
from kernels.machine_model import MachineModel, native_of
from kernels.schedule import schedule_values


class Attention:
    """``softmax(scale * q @ k.T + mask) @ v`` for every head. Scores stay in the caches.

    Args:
        heads: the number of heads.
        head_dim: elements of a head's query, key or value.
        scale: the factor of the scores; None means ``1 / sqrt(head_dim)``.
        isa: one of ``kernels.available_isas()``; None selects the best.
        threads: the number of threads of the shared pool, the caller included.
        schedule: a mapping as returned by :meth:`schedule`, or an object with such a mapping as the attribute
            ``values``. None uses the default for the shape.
        or_zero: whether the weights of a query that are NaN count as zeros. They are NaN if its scores contain NaN or
            ``+inf``, or if ``-inf`` hides every key.
        machine: the costs from which default schedules follow; None means those of this CPU.
        dtype: ``float32``, or ``bfloat16`` to which q, k, v and the weights of v are rounded. Arrays, sums and the
            softmax are float32 in either case.

    Raises:
        ValueError: a number is below 1, this CPU lacks the ISA or dtype, or the schedule is illegal.
    """

    def __init__(
        self,
        heads: int,
        head_dim: int,
        scale: float | None = None,
        isa: str | None = None,
        threads: int = 1,
        schedule: Mapping[str, Any] | Any | None = None,
        or_zero: bool = False,
        machine: MachineModel | None = None,
        dtype: str = "float32",
    ) -> None:
        self._heads = heads
        values = schedule_values(schedule)
        self._native = _native.Attention(
            heads, head_dim, scale, isa, threads, values, or_zero, native_of(machine), dtype
        )

    def __call__(
        self,
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        mask: np.ndarray | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Computes (batch, queries, heads, head_dim) from q of that shape, and k and v (batch, keys, heads, head_dim).

        q, k and v may have any strides if the last axis is contiguous, so they can be slices of one projection.
        Otherwise they are copied. ``mask`` is added to the scaled scores and must broadcast to (batch, heads, queries,
        keys). The output of a query is NaN if ``-inf`` hides every key. ``out`` must be contiguous. Calls from several
        threads are safe. The GIL is released.

        Raises:
            TypeError: an argument is not a float32 array.
            ValueError: a shape is wrong, or ``out`` overlaps an input.
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
        """Returns ``repeat`` samples in seconds per run, each the mean over ``number`` runs in a native loop."""
        return self._native.time(q, k, v, self._broadcast(mask, q, k), out, number, repeat)

    def schedule(self, batch: int, queries: int, keys: int) -> dict[str, Any]:
        """Returns the schedule that a call of this shape uses.

        ``scores_mr`` and ``scores_nr`` are the register tile of the first product, ``values_mr`` and ``values_nr`` that
        of the second; ``rows`` is the number of queries of a head that pass through both at a time; ``threads`` is the
        number of threads.
        """
        return self._native.schedule(batch, queries, keys)

    def _broadcast(self, mask: np.ndarray | None, q: np.ndarray, k: np.ndarray) -> np.ndarray | None:
        if not isinstance(mask, np.ndarray) or np.ndim(q) != 4 or np.ndim(k) != 4:
            return mask  # None, or rejected by the kernel with a precise message
        shape = (q.shape[0], self._heads, q.shape[1], k.shape[1])
        try:
            return np.broadcast_to(mask, shape)
        except ValueError:
            raise ValueError(f"mask must broadcast to shape {shape}, got {mask.shape}") from None
