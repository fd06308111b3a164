"""Whom we compare with, one small adapter each.

A peer is added with one module and one line in ``PEERS``. The module defines ``missing()``, ``version()`` and
``layer()``, as ``Peer`` below says; it imports its library only when one of these is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from benchmarks.layers.layer import Layer
from benchmarks.peers import onednn, torch_onednn
from compiler.workloads.workload import Workload


class Peer(Protocol):
    """What the module of a peer offers."""

    def missing(self) -> str | None:
        """What would have to be installed for this peer to run here; None where nothing is missing."""
        ...

    def version(self) -> str:
        """Name and version, as the loaded library states it."""
        ...

    def layer(self, workload: Workload, inputs: Mapping[str, np.ndarray], out: np.ndarray, threads: int) -> Layer:
        """Packs the weights for ``threads`` threads; the answer goes into ``out``, or where the peer can only put it.

        Raises:
            ValueError: the peer, or its adapter, cannot compute the workload.
        """
        ...


# The first is the one that every ratio is taken against.
PEERS: Mapping[str, Peer] = {"oneDNN": onednn, "torch": torch_onednn}
