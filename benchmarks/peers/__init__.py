"""Baselines for single layers: oneDNN, torch and ONNX Runtime, one small adapter each.

A baseline is one module and one line in ``PEERS``. The module defines ``missing()``, ``version()`` and ``layer()`` of
``Peer`` and imports its library only when one of them is called. ``compiler/runtimes`` has another purpose: its
runtimes load whole models, and commands of users depend on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from benchmarks.layers.layer import Layer
from benchmarks.peers import onednn, onnxruntime_blocks, torch_onednn
from compiler.workloads.workload import Workload


class Peer(Protocol):
    """The module of a baseline."""

    def missing(self) -> str | None:
        """Returns what is not installed, or None if this baseline can run."""
        ...

    def version(self) -> str:
        """Returns the name and version that the loaded library reports."""
        ...

    def layer(self, workload: Workload, inputs: Mapping[str, np.ndarray], out: np.ndarray, threads: int) -> Layer:
        """Packs the weights for a number of threads. The answer goes into ``out`` if the library supports that.

        Raises:
            ValueError: the library or its adapter does not support the workload.
        """
        ...


PEERS: Mapping[str, Peer] = {"oneDNN": onednn, "torch": torch_onednn, "ONNX Runtime": onnxruntime_blocks}
