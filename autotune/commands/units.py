"""Numbers with units as text."""

from __future__ import annotations

import math

_UNITS = ("s", "ms", "µs", "ns")


def secs_text(secs: float) -> str:
    """Returns seconds with at least three digits and a suitable unit: 0.01234 is 12.3 ms."""
    if not math.isfinite(secs) or secs <= 0:
        return f"{secs:g} s"
    place = min(len(_UNITS) - 1, max(0, -math.floor(math.log10(secs) / 3)))
    value = secs * 1000**place
    return f"{value:.{max(0, 2 - max(0, math.floor(math.log10(value))))}f} {_UNITS[place]}"


def change_text(before: float, after: float) -> str:
    """Returns the relative change as a percentage, such as -12.3%."""
    return f"{after / before - 1:+.1%}"
