"""Tensors in the memory that a worker shares with the server."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.worker.datatypes import DTYPES, pack, unpack

_ALIGNMENT = 64


class Memory:
    """A file of shared memory, which only ever becomes larger."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._mapped: mmap.mmap | None = None

    def view(self, size: int) -> memoryview:
        """Returns the memory, of at least ``size`` bytes; it is enlarged if it has fewer."""
        if self._mapped is None or len(self._mapped) < size:
            length = os.fstat(self._file).st_size
            if length < size:
                length = max(size, 2 * length)
                os.ftruncate(self._file, length)
            self._mapped = mmap.mmap(self._file, length)  # arrays keep the one before
        return memoryview(self._mapped)


def read(memory: Memory, entries: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    """Returns the arrays that a message of the server describes, without a copy."""
    end = max((entry["offset"] + entry["bytes"] for entry in entries), default=0)
    data = memory.view(max(end, 1))
    arrays = []
    for entry in entries:
        own = data[entry["offset"] : entry["offset"] + entry["bytes"]]
        if entry["datatype"] == "BYTES":
            texts = unpack(bytes(own))
            array = np.empty(len(texts), object)
            array[:] = texts
        else:
            array = np.frombuffer(own, DTYPES[entry["datatype"]])
            array.flags.writeable = False
        arrays.append(array.reshape(entry["shape"]))
    return arrays


def write(memory: Memory, arrays: Sequence[tuple[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Copies arrays, each with its type's name, and returns their description for the server."""
    packed = [pack(array) if datatype == "BYTES" else np.ascontiguousarray(array) for datatype, array in arrays]
    entries, end = [], 0
    for (_, array), data in zip(arrays, packed, strict=True):
        size = data.nbytes if isinstance(data, np.ndarray) else len(data)
        entries.append({"shape": list(array.shape), "offset": end, "bytes": size})
        end = (end + size + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
    target = memory.view(max(end, 1))
    for entry, data in zip(entries, packed, strict=True):
        own = target[entry["offset"] : entry["offset"] + entry["bytes"]]
        own[:] = data.reshape(-1).view(np.uint8).data if isinstance(data, np.ndarray) else data
    return entries
