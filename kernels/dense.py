"""The dense layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kernels import _native
from kernels.schedule import schedule_values


class Dense:
    """``y = activation(x @ weight.T + bias + residual)``, with the weights packed once, here.

    The weight's type is the layer's: float32, or bfloat16 (``ml_dtypes.bfloat16``) with sums in float32, for which the
    CPU needs AVX512_BF16. That instruction takes subnormal numbers for zero; results are rounded to nearest even.

    Args:
        weight: (n, k), as ``torch.nn.Linear`` keeps it. Copied.
        bias: (n,) of float32, or None. Copied.
        activation: None, ``"relu"``, ``"relu6"``, ``"gelu"`` (exact), ``"sigmoid"``, ``"tanh"``, ``"silu"`` or
            ``"hard_swish"``.
        isa: one of ``kernels.available_isas()``; None takes the best.
        threads: how many threads of the shared pool take part, the caller included.
        schedule: a mapping of the names that :func:`default_dense_schedule` returns, or an object whose attribute
            ``values`` is one; None takes the default for the shape at hand.

    Raises:
        TypeError: an argument is no array of these types.
        ValueError: a wrong shape, an ISA or a type that this CPU lacks, an unknown activation or an illegal schedule.
    """

    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        activation: str | None = None,
        isa: str | None = None,
        threads: int = 1,
        schedule: Mapping[str, Any] | Any | None = None,
    ) -> None:
        self._native = _native.Dense(weight, bias, activation, isa, threads, schedule_values(schedule))

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None, residual: np.ndarray | None = None) -> np.ndarray:
        """Runs on x (m, k) and returns (m, n): ``out`` where given, else a new array.

        x and residual are of the layer's type, and so is the output, unless ``out`` is float32. Any strides of x and
        residual will do (rows that are not contiguous are copied first); ``out`` needs contiguous rows. ``residual``
        (m, n) may be ``out`` itself. Safe to call from several threads; the GIL is released.

        Raises:
            TypeError: an argument is no array of these types.
            ValueError: a wrong shape, or arrays that overlap.
        """
        return self._native(x, out, residual)

    def time(
        self,
        x: np.ndarray,
        out: np.ndarray | None = None,
        residual: np.ndarray | None = None,
        number: int = 1,
        repeat: int = 1,
    ) -> list[float]:
        """``repeat`` samples, each the mean seconds a run over ``number`` runs back to back, without Python between."""
        return self._native.time(x, out, residual, number, repeat)

    def schedule(self, m: int) -> dict[str, Any]:
        """The schedule that a call with m rows uses."""
        return self._native.schedule(m)


def default_dense_schedule(
    m: int, n: int, k: int, isa: str, threads: int = 1, dtype: str = "float32", fast: bool = False
) -> dict[str, Any]:
    """The schedule that :class:`Dense` takes where it is given none, as a mapping:

    ``algorithm`` ``"direct"``, or ``"strassen"``: seven products of half the sizes, which round more than a sum does
    (only ``threads_m`` matters then). It is chosen where ``fast`` is true alone, needs an even k, and n a multiple of
    two vectors for each of the threads that share columns. ``mr``, ``nr`` the register tile; ``mc``, ``kc``, ``nc``
    the cache blocks; ``order`` the inner loop of a block, ``"m_inner"`` or ``"n_inner"``; ``pack_a`` whether blocks of
    x are copied first; ``prefetch`` bytes ahead of the stream of weights, ``prefetch_next`` whether the next panel of
    them is asked for too; ``threads_m`` how many of the threads split m (the rest split n).
    """
    return _native.default_dense_schedule(m, n, k, isa, threads, dtype, fast)


def register_tiles(isa: str, dtype: str = "float32") -> list[tuple[int, int]]:
    """Every (mr, nr) that ``isa`` has a microkernel for; empty for ``"reference"``.

    Raises:
        ValueError: an unknown ISA or dtype, or one that this CPU lacks.
    """
    return _native.register_tiles(isa, dtype)
