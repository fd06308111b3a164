"""Whom we compare with, one small adapter each.

A peer is added with one file and one line in ``PEERS``. The file defines ``missing()``, ``version()`` and ``Dense``, as
``Peer`` and ``Layer`` below say; it imports its library only when one of these is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from benchmarks.peers import onednn, torch_onednn
from compiler.workload import Workload


class Layer(Protocol):
    """One dense layer of a peer, made for fixed inputs, its weights packed.

    ``implementation`` names the code that the peer chose to run.
    """

    implementation: str

    def run(self) -> np.ndarray:
        """Runs once and returns the output (m, n)."""
        ...

    def time(self, number: int, repeat: int) -> list[float]:
        """``repeat`` samples, each the mean seconds a run over ``number`` runs back to back."""
        ...


class Peer(Protocol):
    """What the module of a peer offers."""

    def missing(self) -> str | None:
        """What would have to be installed for this peer to run here; None where nothing is missing."""
        ...

    def version(self) -> str:
        """Name and version, as the loaded library states it."""
        ...

    def Dense(self, workload: Workload, inputs: Mapping[str, np.ndarray], threads: int) -> Layer:
        """Packs the weights for ``threads`` threads; ValueError where the peer cannot compute the workload."""
        ...


# The first is the one that every ratio is taken against.
PEERS: Mapping[str, Peer] = {"oneDNN": onednn, "torch": torch_onednn}
