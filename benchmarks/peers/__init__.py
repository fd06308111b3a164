"""Adapters for the implementations that our layers are compared with, one file each.

A peer is added with one module and one line in ``PEERS``. The module defines the functions of ``Peer`` below, and
imports its library only when one of them is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from benchmarks.layers.layer import Layer
from benchmarks.peers import onednn, torch_onednn
from compiler.workloads.workload import Workload


class Peer(Protocol):
    """The interface of a peer's module."""

    def missing(self) -> str | None:
        """Returns what must be installed for this peer; None if nothing is missing."""
        ...

    def version(self) -> str:
        """Returns the name and version that the loaded library reports."""
        ...

    def layer(self, workload: Workload, inputs: Mapping[str, np.ndarray], out: np.ndarray, threads: int) -> Layer:
        """Packs the weights for ``threads`` threads. The output is written to ``out``, or to memory of the peer.

        Raises:
            ValueError: the peer, or its adapter, cannot compute the workload.
        """
        ...


# Ratios are relative to the first.
PEERS: Mapping[str, Peer] = {"oneDNN": onednn, "torch": torch_onednn}
