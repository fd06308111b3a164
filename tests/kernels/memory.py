"""Arrays in memory that reveals accesses out of bounds."""

from __future__ import annotations

import ctypes
import math
import mmap
from typing import Literal

import numpy as np

CANARY = np.float32(-12345.0)


def next_to_forbidden_page(array: np.ndarray, edge: Literal["start", "end"]) -> np.ndarray:
    """Returns a copy that begins right after, or ends right before, a page without access rights."""
    page = mmap.PAGESIZE
    size = math.ceil(array.nbytes / page) * page
    memory = mmap.mmap(-1, size + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    forbidden = address if edge == "start" else address + size
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(forbidden), ctypes.c_size_t(page), ctypes.c_int(0)) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    offset = page if edge == "start" else size - array.nbytes
    copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy


def unaligned(array: np.ndarray) -> np.ndarray:
    """Returns a copy whose address is not a multiple of four."""
    memory = np.empty(array.nbytes + 1, np.uint8)
    copy = memory[1:].view(np.float32).reshape(array.shape)
    copy[...] = array
    return copy
