"""The dense layer with weights of few bits, which have a scale and a zero point per block."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import _native
from kernels.packed_layer import PackedLayer


class BlockDense(PackedLayer[_native.BlockDense]):
    """``y = activation(x @ weight.T + bias + residual)`` in float32, with weights of 2, 4 or 8 bits.

    ``weight[j, p] = (number[j, p] - zero_point[j, p // block]) * scale[j, p // block]``. The values are computed in
    each run: few rows of x wait for memory, which has to deliver only the numbers.

    Args:
        numbers: (n, ceil(k * bits / 8)) of uint8, as :func:`packed_numbers` returns them. They are copied.
        scales: (n, ceil(k / block)) of float32. They are copied.
        k: the length of a row.
        bits: of a number.
        block: numbers of a row per scale: a multiple of 32 / bits, or at least k.
        zero_points: of uint8 and the shape of the scales; None means half of the range. They are copied.
        bias, activation, isa, threads, slopes: as :class:`kernels.Dense`.

    Raises:
        TypeError: an argument is not an array of these types.
        ValueError: a shape, the number of bits, a block or a zero point is wrong, this CPU lacks the ISA, the
            activation is unknown, or its slopes are missing.
    """

    def __init__(
        self,
        numbers: np.ndarray,
        scales: np.ndarray,
        k: int,
        bits: int = 4,
        block: int = 32,
        zero_points: np.ndarray | None = None,
        bias: np.ndarray | None = None,
        activation: str | None = None,
        isa: str | None = None,
        threads: int = 1,
        slopes: np.ndarray | None = None,
    ) -> None:
        self._native = _native.BlockDense(
            numbers, scales, k, bits, block, zero_points, bias, activation, slopes, isa, threads
        )

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None, residual: np.ndarray | None = None) -> np.ndarray:
        """Computes (m, n) from x (m, k). Returns ``out`` if given, otherwise a new array.

        All are of float32; their strides are those that :class:`kernels.Dense` takes. Calls from several threads are
        safe. The GIL is released.

        Raises:
            TypeError: an argument is not an array of this type.
            ValueError: a shape is wrong, or arrays overlap.
        """
        return self._native(x, out, residual)

    def schedule(self, m: int) -> dict[str, Any]:
        """Returns the schedule that a call with m rows uses: there is nothing to choose."""
        del m
        return {}


def packed_numbers(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Returns numbers (n, k) of uint8, each below 2^bits, in (n, ceil(k * bits / 8)) bytes, the first one lowest."""
    if bits == 8:
        return np.ascontiguousarray(numbers)
    per_byte = 8 // bits
    n, k = numbers.shape
    padded = np.zeros((n, -(-k // per_byte), per_byte), np.uint8)
    padded.reshape(n, -1)[:, :k] = numbers
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return np.bitwise_or.reduce(padded << shifts, axis=2)
