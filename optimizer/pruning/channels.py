"""Sets of channels that must be removed together (union-find)."""

from __future__ import annotations

import numpy as np


class Channels:
    """All channels of a model, each with a number, in disjoint sets.

    The channels of one set are kept or removed together. A fixed set is always kept.
    """

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._origin: list[str] = []
        self._reason: dict[int, str] = {}  # by the root of a fixed set

    def __len__(self) -> int:
        return len(self._parent)

    def new(self, count: int, origin: str) -> np.ndarray:
        """Returns the numbers of new channels, which are sets of one; ``origin`` names what makes them."""
        first = len(self._parent)
        self._parent += range(first, first + count)
        self._origin += [origin] * count
        return np.arange(first, first + count)

    def root(self, channel: int) -> int:
        """Returns the smallest number in the set of a channel."""
        parent = self._parent
        while parent[channel] != channel:
            parent[channel] = parent[parent[channel]]
            channel = parent[channel]
        return channel

    def roots(self, channels: np.ndarray) -> np.ndarray:
        found = [self.root(channel) for channel in channels.ravel().tolist()]
        return np.array(found, np.int64).reshape(channels.shape)

    def join(self, some: np.ndarray, others: np.ndarray) -> None:
        """Joins the sets of each pair of channels."""
        for one, other in zip(some.ravel().tolist(), others.ravel().tolist(), strict=True):
            first, second = sorted((self.root(one), self.root(other)))
            if first != second:
                self._parent[second] = first
                if second in self._reason:
                    reason = self._reason.pop(second)
                    self._reason.setdefault(first, reason)

    def fix(self, channels: np.ndarray, reason: str) -> None:
        """Fixes the sets of channels. The first reason of a set is kept."""
        for channel in channels.ravel().tolist():
            self._reason.setdefault(self.root(channel), reason)

    def reason(self, root: int) -> str | None:
        """Returns why a set is fixed; None if it is not."""
        return self._reason.get(root)

    def origin(self, channel: int) -> str:
        return self._origin[channel]
