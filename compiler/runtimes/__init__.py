"""Whom a compiled model is compared with, one small adapter each.

A peer is added with one module (see ``base.Peer``) and one line in ``PEERS``.

Peers keep their own way of waiting: some let threads spin for a while after a run, to be there sooner for the next.
That is fair to them in a row of runs, and unfair to whoever runs right after; so a comparison leaves idle time between
contenders, as ``compiler.measure.sampling.measure`` does.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING

import graph_passes
from compiler.runtimes import ncnn, onnxruntime, openvino, tvm
from compiler.runtimes.base import Peer, PeerUnavailable, Runner

if TYPE_CHECKING:
    import onnx

PEERS: Mapping[str, Peer] = {"onnxruntime": onnxruntime, "openvino": openvino, "ncnn": ncnn, "tvm": tvm}

__all__ = ["PEERS", "Peer", "PeerUnavailable", "Runner", "prepare"]


def prepare(name: str, model: onnx.ModelProto, threads: int) -> Runner:
    """Loads a model of static shapes (``graph_passes.FreezeShapes`` makes them so) into a peer.

    Raises:
        ValueError: there is no peer of this name, or ``threads`` is below 1.
        PeerUnavailable: the peer is not installed, or cannot take the model.
    """
    if name not in PEERS:
        raise ValueError(f"there is no peer {name!r}; choose from: {', '.join(PEERS)}")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    peer = PEERS[name]
    missing = [package for package in peer.PACKAGES if not _version(package)]
    if missing:
        raise PeerUnavailable(f"{name} cannot run here: pip install {' '.join(missing)}")
    try:
        # Only ONNX Runtime knows functions well.
        run = peer.prepare(graph_passes.inline(model) if model.functions else model, threads)
    except PeerUnavailable:
        raise
    except Exception as error:  # their errors share no base class
        raise PeerUnavailable(f"{name} cannot take the model: {' '.join(str(error).split())}") from error
    return Runner(name, _version(peer.PACKAGES[0]), run)


def _version(package: str) -> str:
    """Empty where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
