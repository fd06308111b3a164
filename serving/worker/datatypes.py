"""The data types of the protocol, and its form of strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

# NumPy's types by the names of the protocol. BYTES are strings.
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(bool),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    **{f"{sign.upper()}INT{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def pack(array: np.ndarray) -> bytes:
    """Returns strings as the protocol has them: each with its length in 4 bytes."""
    texts = [text if isinstance(text, bytes) else str(text).encode() for text in array.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def unpack(data: bytes) -> list[bytes]:
    """Returns the strings of :func:`pack`."""
    texts, place = [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "little")
        texts.append(data[place + 4 : place + 4 + size])
        place += 4 + size
    return texts
