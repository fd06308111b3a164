"""Sizes of windows over images, in the forms that operators take them."""

from __future__ import annotations

from collections.abc import Sequence

# int: for both directions; two: of height and width; four, for padding alone: top, left, bottom, right.
Sizes = int | Sequence[int]


def pair(argument: str, value: Sizes) -> tuple[int, int]:
    """(height, width). ``argument`` is what the ValueError calls it."""
    sizes = (value, value) if isinstance(value, int) else tuple(value)
    if len(sizes) != 2:
        raise ValueError(f"{argument} must be one number or (height, width), got {value}")
    return sizes


def four_sides(value: Sizes) -> tuple[int, int, int, int]:
    """Padding as (top, left, bottom, right)."""
    sizes = (value, value) if isinstance(value, int) else tuple(value)
    sizes = sizes * 2 if len(sizes) == 2 else sizes
    if len(sizes) != 4:
        raise ValueError(f"padding must be one number, (height, width) or (top, left, bottom, right), got {value}")
    return sizes


def window(
    stride: Sizes, padding: Sizes, dilation: Sizes
) -> tuple[tuple[int, int], tuple[int, int, int, int], tuple[int, int]]:
    """Stride, padding and dilation in the forms of :func:`pair` and :func:`four_sides`."""
    return pair("stride", stride), four_sides(padding), pair("dilation", dilation)
