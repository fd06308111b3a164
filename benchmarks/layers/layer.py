"""The implementations of a layer, ours or a baseline, and a layer with cold weights."""

from __future__ import annotations

from itertools import cycle
from statistics import fmean
from typing import Protocol

import numpy as np

# The weights of all copies together exceed the last-level cache by this factor.
CACHES = 2
MAX_COPIES_BYTES = 256 << 20  # of plain weights; Winograd's transform of them is four times as large
# With this limit, layers with less than about 64 KiB of weights find them in the last-level cache. That hardly matters,
# because such layers read activations many times as large.
MAX_COPIES = 1024


class Implementation(Protocol):
    """Computes a layer on fixed inputs, with packed weights.

    Attributes:
        description: the code that runs: a baseline's choice, our schedule.
        algorithm: the algorithm whose error bound applies, as ``compiler.workloads.reference.tolerance`` takes it.
    """

    description: str
    algorithm: str

    def run(self) -> np.ndarray:
        """Runs once and returns the output, which the next run overwrites."""
        ...

    def time(self, number: int, repeat: int) -> list[float]:
        """Returns ``repeat`` samples, each the mean seconds per run of ``number`` consecutive runs.

        A residual is the output buffer itself, so the runs add up and their answers mean nothing.
        """
        ...


class Layer(Implementation, Protocol):
    """An implementation that can be copied."""

    def copy(self) -> Layer:
        """Returns a layer on the same inputs and output, with separate packed weights."""
        ...


class ColdLayer:
    """A layer as it runs inside a network: its weights come from memory, its activations from the cache.

    The weights of a network do not fit the caches, so a layer finds its weights evicted when it runs again. Its input
    was written just before. Therefore copies of the layer with the same inputs and output run in turn. There are so
    many of them that the weights of each one have long been evicted when its turn comes. Every run is timed natively
    and alone, without the call from Python between two runs.
    """

    def __init__(self, layer: Layer, copies: int) -> None:
        self._first = layer
        self._turns = cycle([layer, *(layer.copy() for _ in range(copies - 1))])
        self.description, self.algorithm = layer.description, layer.algorithm

    def run(self) -> np.ndarray:
        return self._first.run()

    def time(self, number: int, repeat: int) -> list[float]:
        return [fmean(next(self._turns).time(1, 1)[0] for _ in range(number)) for _ in range(repeat)]


def copies_needed(weight_bytes: int, cache_bytes: int) -> int:
    """Returns how many copies of a layer are needed for cold weights; ``cache_bytes``: the last-level cache."""
    wanted = -(-CACHES * cache_bytes // weight_bytes)
    return max(2, min(wanted, MAX_COPIES_BYTES // weight_bytes, MAX_COPIES))
