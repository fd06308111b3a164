"""Summaries over several results, of layers and of whole models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

OWN = ("default", "tuned")


class OnThreads(Protocol):
    """A comparison on a number of threads."""

    @property
    def threads(self) -> int: ...


T = TypeVar("T", bound=OnThreads)


def by_threads(comparisons: Sequence[T]) -> Iterator[tuple[int, list[T]]]:
    """Yields the comparisons of each number of threads."""
    for threads in sorted({comparison.threads for comparison in comparisons}):
        yield threads, [comparison for comparison in comparisons if comparison.threads == threads]


def ours(names: Iterable[str]) -> str:
    """Returns the implementation of ours that counts: the tuned one, or the default one if nothing is tuned."""
    return "tuned" if "tuned" in names else "default"


def geometric_mean(values: Iterable[float]) -> float:
    """Returns the geometric mean of positive values."""
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms))
