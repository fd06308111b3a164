"""Windows of convolutions and pools: sizes, strides, borders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from optimizer.training.operators.call import Call


def strides(call: Call, axes: int) -> list[int]:
    return list(call.attribute("strides", [1] * axes))


def dilations(call: Call, axes: int) -> list[int]:
    return list(call.attribute("dilations", [1] * axes))


def borders(call: Call, sizes: Sequence[int], window: Sequence[int]) -> list[tuple[int, int]]:
    """Returns how many elements are added before and behind each image axis.

    Args:
        call: a convolution or pool.
        sizes: of the image axes.
        window: sizes of the window, without dilation.
    """
    axes = len(sizes)
    auto = call.attribute("auto_pad", "NOTSET")
    if auto == "VALID":
        return [(0, 0)] * axes
    if auto == "NOTSET":
        pads = call.attribute("pads", [0] * (2 * axes))
        return list(zip(pads[:axes], pads[axes:], strict=True))
    found = []
    for size, width, stride, dilation in zip(sizes, window, strides(call, axes), dilations(call, axes), strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size)
        small, large = total // 2, total - total // 2
        found.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return found


def bordered(x: torch.Tensor, added: Sequence[tuple[int, int]], value: float = 0.0) -> torch.Tensor:
    """Returns x with elements of this value around its last axes; negative numbers remove elements."""
    if not any(number for pair in added for number in pair):
        return x
    return F.pad(x, [number for pair in reversed(added) for number in pair], value=value)
