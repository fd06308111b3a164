"""What is measured: one layer of some contender, ours or a peer's, and the same with cold weights."""

from __future__ import annotations

from itertools import cycle
from statistics import fmean
from typing import Protocol

import numpy as np

# Together the copies' weights exceed the last-level cache this many times.
CACHES = 2
MAX_COPIES_BYTES = 256 << 20  # of weights as they are given; Winograd's transform makes four times as many of them
# Lighter layers than 64 KiB or so then find their weights in the last-level cache, which for them is next to nothing:
# they read activations many times as large.
MAX_COPIES = 1024


class Contender(Protocol):
    """Something that computes a layer on fixed inputs, its weights packed.

    Attributes:
        implementation: the code that runs: a peer's choice, our schedule.
        algorithm: by whose error bound the answer is judged, as ``compiler.workloads.reference.tolerance`` knows them.
    """

    implementation: str
    algorithm: str

    def run(self) -> np.ndarray:
        """Runs once and returns the output, which the next run overwrites."""
        ...

    def time(self, number: int, repeat: int) -> list[float]:
        """``repeat`` samples, each the mean seconds a run over ``number`` runs back to back.

        Where there is a residual, it is the output buffer itself, so runs add up and their answers mean nothing.
        """
        ...


class Layer(Contender, Protocol):
    """A contender of which there can be several."""

    def copy(self) -> Layer:
        """The same on the same inputs and output, with packed weights of its own."""
        ...


class ColdLayer:
    """A layer as it runs inside a network: its weights come from memory, its activations from the cache.

    A network's weights do not fit the caches, so by the time a layer runs again they are gone; its input was written
    just before. So copies of the layer, which have inputs and output in common, run in turn, and there are so many of
    them that each meets weights that the others have long evicted. Every run is timed natively and by itself, which
    leaves out the call from Python that lies between two of them.
    """

    def __init__(self, layer: Layer, copies: int) -> None:
        self._first = layer
        self._turns = cycle([layer, *(layer.copy() for _ in range(copies - 1))])
        self.implementation, self.algorithm = layer.implementation, layer.algorithm

    def run(self) -> np.ndarray:
        return self._first.run()

    def time(self, number: int, repeat: int) -> list[float]:
        return [fmean(next(self._turns).time(1, 1)[0] for _ in range(number)) for _ in range(repeat)]


def copies_needed(weight_bytes: int, cache_bytes: int) -> int:
    """How many copies of a layer make each meet cold weights; ``cache_bytes`` is the last-level cache's size."""
    wanted = -(-CACHES * cache_bytes // weight_bytes)
    return max(2, min(wanted, MAX_COPIES_BYTES // weight_bytes, MAX_COPIES))
