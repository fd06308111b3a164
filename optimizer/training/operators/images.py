"""Pools, resizing, and exchanges of channels and pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch.nn import functional as F

from optimizer.training.operators import windows
from optimizer.training.operators.call import Call

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _rounded_up(call: Call, sizes: torch.Size, added: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns the borders with which rounding down gives the sizes that rounding up gives with ``added``."""
    if not call.attribute("ceil_mode", 0):
        return added
    axes = len(sizes)
    found = []
    for size, (begin, end), width, stride, dilation in zip(
        sizes,
        added,
        call.attribute("kernel_shape", []),
        windows.strides(call, axes),
        windows.dilations(call, axes),
        strict=True,
    ):
        span = (width - 1) * dilation + 1
        count = -(-(size + begin + end - span) // stride) + 1
        if (count - 1) * stride >= size + begin:  # the last window would begin behind the image
            count -= 1
        found.append((begin, end + max(0, (count - 1) * stride + span - (size + begin + end))))
    return found


def _max_pool(call: Call) -> torch.Tensor:
    if call.outputs > 1:
        raise ValueError("the places of maxima are not supported")
    x, window = call[0], call.attribute("kernel_shape", [])
    axes = len(window)
    added = _rounded_up(call, x.shape[2:], windows.borders(call, x.shape[2:], window))
    x = windows.bordered(x, added, -math.inf)
    return _MAX[axes](x, window, windows.strides(call, axes), 0, windows.dilations(call, axes))


def _average_pool(call: Call) -> torch.Tensor:
    x, window = call[0], call.attribute("kernel_shape", [])
    axes, strides = len(window), windows.strides(call, len(window))
    if any(each > 1 for each in windows.dilations(call, axes)):
        raise ValueError("dilations are not supported")
    given = windows.borders(call, x.shape[2:], window)
    added = _rounded_up(call, x.shape[2:], given)
    # What counts in the mean: the image, with its borders if they are included, but not what rounding up adds.
    inside = torch.ones_like(x[:1, :1])
    if call.attribute("count_include_pad", 0):
        inside = windows.bordered(inside, given, 1.0)
        inside = windows.bordered(inside, [(0, all_[1] - own[1]) for all_, own in zip(added, given, strict=True)])
    else:
        inside = windows.bordered(inside, added)
    sums = _AVERAGE[axes](windows.bordered(x, added), window, strides)
    return sums / _AVERAGE[axes](inside, window, strides)


def _over_image(function: Callable[..., torch.Tensor]) -> Callable[[Call], torch.Tensor]:
    return lambda call: function(call[0], dim=tuple(range(2, call[0].ndim)), keepdim=True)


def _resize(call: Call) -> torch.Tensor:
    """Resizes by whole numbers, to the nearest pixel; linear interpolation between centers or corners of pixels."""
    x, mode = call[0], call.attribute("mode", "nearest")
    between = call.attribute("coordinate_transformation_mode", "half_pixel")
    scales, sizes = call.optional(2), call.optional(3)
    if sizes is not None and sizes.numel():
        target = [int(size) for size in sizes.tolist()]
    elif scales is not None and scales.numel():
        target = [math.floor(size * scale) for size, scale in zip(x.shape, scales.tolist(), strict=True)]
    else:
        raise ValueError("it has neither scales nor sizes")
    if target[:2] != list(x.shape[:2]):
        raise ValueError("only image axes can be resized")
    if mode == "nearest" and all(new % old == 0 for new, old in zip(target, x.shape, strict=True)):
        for axis in range(2, x.ndim):
            x = x.repeat_interleave(target[axis] // x.shape[axis], axis)
        return x
    if mode == "linear" and x.ndim == 4 and between in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return F.interpolate(x, target[2:], mode="bilinear", align_corners=between == "align_corners")
    raise ValueError(f"mode {mode} with {between} is not supported")


def _depth_to_space(call: Call) -> torch.Tensor:
    x, block = call[0], call.attribute("blocksize", 1)
    n, c, h, w = x.shape
    if call.attribute("mode", "DCR") == "DCR":
        x = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(n, c // block**2, block, block, h, w).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(call: Call) -> torch.Tensor:
    x, block = call[0], call.attribute("blocksize", 1)
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * block**2, h // block, w // block)


IMAGES: Mapping[str, Callable[[Call], torch.Tensor]] = {
    "AveragePool": _average_pool,
    "DepthToSpace": _depth_to_space,
    "GlobalAveragePool": _over_image(torch.mean),
    "GlobalMaxPool": _over_image(torch.amax),
    "MaxPool": _max_pool,
    "Resize": _resize,
    "SpaceToDepth": _space_to_depth,
}
