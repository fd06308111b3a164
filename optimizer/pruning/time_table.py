"""Seconds of a layer by the numbers of channels that it reads and writes, from few measurements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PARTS = (0.25, 0.5, 0.75)  # of the range of widths that are measured


@dataclass(frozen=True)
class TimeTable:
    """Measured seconds.

    Attributes:
        reads, writes: the measured widths, ascending.
        secs: seconds, of shape (reads, writes), ascending along both axes.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    secs: np.ndarray

    @classmethod
    def measured(
        cls, measure: Callable[[int, int], float], reads: tuple[int, ...], writes: tuple[int, ...]
    ) -> TimeTable:
        """Measures all pairs of widths.

        A wider layer is never cheaper: a smaller time of a wider one is a sample of low noise, or a stair that the
        narrower one could also reach by computing more channels.
        """
        found = np.array([[measure(read, written) for written in writes] for read in reads])
        return cls(reads, writes, np.maximum.accumulate(np.maximum.accumulate(found, 0), 1))

    def __call__(self, read: int, written: int) -> float:
        """Returns the seconds for widths: bilinear between measured ones."""
        row, part = _place(self.reads, read)
        column, share = _place(self.writes, written)
        lower, right = min(row + 1, len(self.reads) - 1), min(column + 1, len(self.writes) - 1)
        low = (1 - share) * self.secs[row, column] + share * self.secs[row, right]
        high = (1 - share) * self.secs[lower, column] + share * self.secs[lower, right]
        return float((1 - part) * low + part * high)


def measured_widths(narrowest: int, widest: int, step: int) -> tuple[int, ...]:
    """Returns the widths to measure: both ends, and multiples of ``step`` between them."""
    middle = {-(-round(narrowest + part * (widest - narrowest)) // step) * step for part in PARTS}
    return tuple(sorted({narrowest, widest} | {width for width in middle if narrowest < width < widest}))


def _place(points: tuple[int, ...], width: int) -> tuple[int, float]:
    """Returns the measured width below, by its place, and how far on the way to the next one ``width`` is."""
    place = int(np.searchsorted(points, width, side="right")) - 1
    if place < 0:
        return 0, 0.0
    if place >= len(points) - 1:
        return len(points) - 1, 0.0
    return place, (width - points[place]) / (points[place + 1] - points[place])
