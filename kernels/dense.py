"""The dense layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kernels import _native
from kernels.machine_model import MachineModel, native_of
from kernels.packed_layer import PackedLayer
from kernels.quantization import Quantization, native_quantization
from kernels.schedule import schedule_values


class Dense(PackedLayer[_native.Dense]):
    """``y = activation(x @ weight.T + bias + residual)``. The constructor packs the weights.

    The type of the weight is the type of the layer: float32; bfloat16 (``ml_dtypes.bfloat16``) with sums in float32,
    rounded to nearest even, which with AVX512_BF16 treats subnormal numbers as zero; or int8 with exact sums in int32,
    whose ``quantization`` says what the integers stand for.

    Args:
        weight: (n, k), the layout of ``torch.nn.Linear``. It is copied.
        bias: (n,) of float32, or None. It is copied.
        activation: None, ``"relu"``, ``"relu6"``, ``"gelu"`` (exact), ``"sigmoid"``, ``"tanh"``, ``"silu"``,
            ``"hard_swish"`` or ``"prelu"``.
        isa: one of ``kernels.available_isas()``; None selects the best.
        threads: the number of threads of the shared pool, the caller included.
        schedule: a mapping with the names that :func:`default_dense_schedule` returns, or an object with such a mapping
            as the attribute ``values``. None uses the default for the shape.
        machine: the costs from which default schedules follow; None means those of this CPU.
        slopes: (n,) of float32, by which ``"prelu"`` multiplies negative numbers of each column; None for other
            activations. It is copied.
        quantization: the scales of a layer of int8; None for other types. They are copied.

    Raises:
        TypeError: an argument is not an array of these types.
        ValueError: a shape is wrong, this CPU lacks the ISA or type, the activation is unknown, its slopes are missing,
            the schedule is illegal, a scale or zero point is illegal, or sums of integers may exceed int32.
    """

    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        activation: str | None = None,
        isa: str | None = None,
        threads: int = 1,
        schedule: Mapping[str, Any] | Any | None = None,
        machine: MachineModel | None = None,
        slopes: np.ndarray | None = None,
        quantization: Quantization | None = None,
    ) -> None:
        self._native = _native.Dense(
            weight,
            bias,
            activation,
            slopes,
            native_quantization(quantization),
            isa,
            threads,
            schedule_values(schedule),
            native_of(machine),
        )

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None, residual: np.ndarray | None = None) -> np.ndarray:
        """Computes (m, n) from x (m, k). Returns ``out`` if given, otherwise a new array.

        x, residual and output have the type of the layer, or float32. Those of an int8 layer have the
        types of its ``quantization``; its output and residual may be float32, too. x and residual may have any
        strides (rows that are not contiguous are copied); ``out`` must have contiguous rows. ``residual`` (m, n) may be
        the same array as ``out``. Calls from several threads are safe. The GIL is released.

        Raises:
            TypeError: an argument is not an array of these types.
            ValueError: a shape is wrong, or arrays overlap.
        """
        return self._native(x, out, residual)

    def schedule(self, m: int) -> dict[str, Any]:
        """Returns the schedule that a call with m rows uses."""
        return self._native.schedule(m)


def default_dense_schedule(
    m: int,
    n: int,
    k: int,
    isa: str,
    threads: int = 1,
    dtype: str = "float32",
    fast: bool = False,
    machine: MachineModel | None = None,
) -> dict[str, Any]:
    """Returns the default schedule of :class:`Dense` as a mapping.

    ``algorithm`` is ``"direct"``, or ``"strassen"``: seven products of half the sizes, which round more than a plain
    sum. With ``"strassen"``, only ``threads`` has an effect. It is selected only if ``fast`` is true, and requires an
    even k, and n a multiple of two vectors per part of n. ``mr`` and ``nr`` are the register tile;
    ``mc``, ``kc`` and ``nc`` the cache blocks; ``order`` the inner loop of a block, ``"m_inner"`` or ``"n_inner"``.
    ``pack_a`` states whether blocks of x are copied first. ``prefetch`` is the prefetch distance of the weights in
    bytes; ``prefetch_next`` states whether the next panel of weights is prefetched. ``threads`` has
    the numbers of parts of m and of n: each rectangle of the output has a thread. There may be fewer than there could.
    ``machine`` has the costs that the schedule follows from; None means those of this CPU.
    """
    return _native.default_dense_schedule(m, n, k, isa, threads, dtype, fast, native_of(machine))


def narrow_tiles(isa: str, dtype: str = "float32") -> list[tuple[int, int]]:
    """Returns every (mr, nr) with a microkernel of fewer columns than a vector has lanes, for ``isa``.

    Their vectors hold consecutive k. They are for products with few columns, and need the entire sum in one block.

    Raises:
        ValueError: the ISA or dtype is unknown, or this CPU lacks it.
    """
    return _native.narrow_tiles(isa, dtype)


def register_tiles(isa: str, dtype: str = "float32") -> list[tuple[int, int]]:
    """Returns every (mr, nr) with a microkernel for ``isa`` of whole vectors of columns; empty for ``"reference"``.

    Raises:
        ValueError: the ISA or dtype is unknown, or this CPU lacks it.
    """
    return _native.register_tiles(isa, dtype)


def tile_k(isa: str, dtype: str = "float32") -> int:
    """Returns the number of elements that are consecutive in k and that a lane of a microkernel multiplies at once.

    Raises:
        ValueError: the ISA or dtype is unknown, or this CPU lacks it.
    """
    return _native.tile_k(isa, dtype)
