"""What a peer's adapter offers, and what ``compiler.runtimes.prepare`` makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import onnx

# Inputs by name to new arrays by output name.
Run: TypeAlias = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


class PeerUnavailable(RuntimeError):
    """A peer that is not installed, or cannot take a model: why, in one line."""


@dataclass(frozen=True)
class Runner:
    """A model, loaded into a peer.

    Attributes:
        name: of the peer, as in ``PEERS``.
        version: of the peer's package.
        run: the answers, by the model's own output names, to inputs by name.
    """

    name: str
    version: str
    run: Run


class Peer(Protocol):
    """The module of a peer; it imports the peer's packages only in ``prepare``."""

    @property
    def PACKAGES(self) -> tuple[str, ...]:
        """What to install for it; the first is the one whose version counts."""
        ...

    def prepare(self, model: onnx.ModelProto, threads: int) -> Run:
        """Loads a model of static shapes and no functions, in the fastest setting that keeps float32.

        Raises:
            PeerUnavailable: the peer cannot take the model, where there is more to say than by its own error.
            Exception: any error of the peer's own.
        """
        ...
