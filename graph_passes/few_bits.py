"""Numbers of 2, 4 or 8 bits, several of which share a byte, as com.microsoft's operators have them."""

from __future__ import annotations

import numpy as np


def unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Returns the numbers in bytes (rows, columns) of uint8 in order, from the low bits on."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((packed[..., None] >> shifts) & np.uint8(2**bits - 1)).reshape(len(packed), -1)
