"""Convolutions and products."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional as F

from optimizer.training.operators import windows
from optimizer.training.operators.call import Call

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _conv(call: Call) -> torch.Tensor:
    x, weight = call[0], call[1]
    axes = weight.ndim - 2
    x = windows.bordered(x, windows.borders(call, x.shape[2:], weight.shape[2:]))
    strides, dilations = windows.strides(call, axes), windows.dilations(call, axes)
    return _CONVOLUTIONS[axes](x, weight, call.optional(2), strides, 0, dilations, call.attribute("group", 1))


def _conv_transpose(call: Call) -> torch.Tensor:
    x, weight = call[0], call[1]
    axes = weight.ndim - 2
    strides, dilations = windows.strides(call, axes), windows.dilations(call, axes)
    extra = list(call.attribute("output_padding", [0] * axes))
    whole = [
        (size - 1) * stride + (width - 1) * dilation + 1 + more
        for size, stride, width, dilation, more in zip(
            x.shape[2:], strides, weight.shape[2:], dilations, extra, strict=True
        )
    ]
    group = call.attribute("group", 1)
    y = _TRANSPOSED[axes](x, weight, None, strides, 0, 0, group, dilations)
    # PyTorch limits output_padding to less than the stride; here it is a border of zeros like any other.
    y = windows.bordered(y, [(0, more) for more in extra])
    y = windows.bordered(y, [(-begin, -end) for begin, end in _removed(call, x.shape[2:], whole, strides)])
    bias = call.optional(2)
    return y if bias is None else y + bias.reshape(1, -1, *[1] * axes)


def _removed(call: Call, sizes: torch.Size, whole: list[int], strides: list[int]) -> list[tuple[int, int]]:
    """Returns how many elements of a transposed convolution are removed at both ends of each axis."""
    axes = len(whole)
    auto = call.attribute("auto_pad", "NOTSET")
    wanted = call.attributes.get("output_shape")
    if wanted is None and auto in ("NOTSET", "VALID"):
        pads = call.attribute("pads", [0] * (2 * axes)) if auto == "NOTSET" else [0] * (2 * axes)
        return list(zip(pads[:axes], pads[axes:], strict=True))
    if wanted is None:
        wanted = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    found = []
    for size, target in zip(whole, wanted[-axes:], strict=True):
        total = max(0, size - target)
        small, large = total // 2, total - total // 2
        found.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return found


def _gemm(call: Call) -> torch.Tensor:
    a, b, c = call[0], call[1], call.optional(2)
    a = a.T if call.attribute("transA", 0) else a
    b = b.T if call.attribute("transB", 0) else b
    y = call.attribute("alpha", 1.0) * (a @ b)
    return y if c is None else y + call.attribute("beta", 1.0) * c


PRODUCTS: Mapping[str, Callable[[Call], torch.Tensor]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": lambda call: torch.einsum(call.attribute("equation", ""), *[call[i] for i in range(len(call.inputs))]),
    "Gemm": _gemm,
    "MatMul": lambda call: call[0] @ call[1],
}
