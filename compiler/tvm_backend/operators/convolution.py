"""Convolutions and transposed convolutions of one to three image axes, channels first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from compiler.tvm_backend.operators.binary import reshaped
from compiler.tvm_backend.operators.cast import converted, widened
from compiler.tvm_backend.operators.elements import elementwise, literal
from compiler.tvm_backend.operators.movement import padded
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Tensor, Unsupported
from compiler.tvm_backend.operators.windows import Windows

_CONVOLUTIONS: Mapping[int, Callable[..., Any]] = {
    1: relax.op.nn.conv1d,
    2: relax.op.nn.conv2d,
    3: relax.op.nn.conv3d,
}


def convolved(
    node: Node, x: Tensor, weight: Tensor, strides: Sequence[int], dilations: Sequence[int], groups: int
) -> Tensor:
    """Returns the convolution of an image that has its borders. Weights are (output channels, channels / groups, ...).

    Raises:
        Unsupported: the channels do not fit.
    """
    axes = x.rank - 2
    if axes not in _CONVOLUTIONS:
        raise Unsupported(f"an image of {axes} axes is not supported; 1 to 3 are")
    channels, outputs = x.shape[1], weight.shape[0]
    if groups < 1 or channels != weight.shape[1] * groups or outputs % groups:
        raise Unsupported(f"{channels} channels and weights of shape {weight.shape} do not fit {groups} groups")
    shape = (x.shape[0], outputs)
    sizes = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, s, d in zip(x.shape[2:], weight.shape[2:], strides, dilations, strict=True)
    ]
    if 0 in (*shape, *sizes) or 0 in x.shape:
        return Tensor.constant(np.zeros((*shape, *sizes), x.dtype))
    dtype = x.dtype
    x, weight = widened(node, x), widened(node, weight)
    call = _CONVOLUTIONS[axes](
        x.expr, weight.expr, strides=list(strides), dilation=list(dilations), groups=groups, padding=[0] * 2 * axes
    )
    return converted(node, node.emitted(call), dtype)


def with_bias(node: Node, y: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return y
    if bias.shape != (y.shape[1],):
        raise Unsupported(f"a bias of shape {bias.shape} does not fit {y.shape[1]} channels")
    return elementwise(node, lambda a, b: a + b, y, reshaped(node, bias, (bias.size, *(1,) * (y.rank - 2))))


def windowed(node: Node, x: Tensor, weight: Tensor) -> Tensor:
    """Returns the convolution that a node's attributes describe, without its bias."""
    if x.rank < 3 or weight.rank != x.rank:
        raise Unsupported(f"data of shape {x.shape} and weights of shape {weight.shape} do not fit")
    kernel = node.ints("kernel_shape") or weight.shape[2:]
    if tuple(kernel) != weight.shape[2:]:
        raise Unsupported(f"kernel_shape {kernel} differs from that of the weights, {weight.shape[2:]}")
    windows = Windows.of(node, x.shape[2:], kernel)
    image = padded(node, x, (0, 0, *windows.before), (0, 0, *windows.after), 0)
    return convolved(node, image, weight, windows.strides, windows.dilations, int(node.attribute("group", 1)))


def _conv(node: Node) -> Tensor:
    return with_bias(node, windowed(node, node.input(0), node.input(1)), node.optional(2))


def _conv_transpose(node: Node) -> Tensor:
    """The convolution of the image with zeros between its pixels, with mirrored weights."""
    x, weight, groups = node.input(0), node.input(1), int(node.attribute("group", 1))
    rank = x.rank - 2
    if rank < 1 or weight.rank != x.rank or groups < 1 or x.shape[1] % groups or weight.shape[0] != x.shape[1]:
        raise Unsupported(f"data of shape {x.shape} and weights of shape {weight.shape} do not fit {groups} groups")
    strides = node.ints("strides") or [1] * rank
    dilations = node.ints("dilations") or [1] * rank
    extra = node.ints("output_padding") or [0] * rank
    extents = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    full = [(size - 1) * s + e for size, s, e in zip(x.shape[2:], strides, extents, strict=True)]
    before, after = _cropped(node, x.shape[2:], full, strides, extra)
    image = _spread(
        node,
        x,
        strides,
        [e - 1 - low for e, low in zip(extents, before, strict=True)],
        [e - 1 - high + more for e, high, more in zip(extents, after, extra, strict=True)],
    )
    y = convolved(node, image, _mirrored(node, weight, groups), [1] * rank, dilations, groups)
    return with_bias(node, y, node.optional(2))


def _cropped(
    node: Node, size: Sequence[int], full: Sequence[int], strides: Sequence[int], extra: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Returns what is cut off the full result before and after each axis."""
    rank, auto_pad = len(size), node.attribute("auto_pad", "NOTSET")
    pads = node.ints("pads") or [0] * 2 * rank
    shape = node.ints("output_shape")
    if shape is not None:
        shape = shape[-rank:]
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        # Never larger than the full result, as in ONNX Runtime.
        shape = [min(n * s, whole + more) for n, s, whole, more in zip(size, strides, full, extra, strict=True)]
    elif auto_pad == "VALID":
        return [0] * rank, [0] * rank
    else:
        return pads[:rank], pads[rank:]
    totals = [whole + more - wanted for whole, more, wanted in zip(full, extra, shape, strict=True)]
    shared = [max(total, 0) for total in totals]  # a result that is larger than the full one grows at its end
    low = [total // 2 if auto_pad == "SAME_UPPER" else total - total // 2 for total in shared]
    return low, [total - part for total, part in zip(totals, low, strict=True)]


def _spread(node: Node, x: Tensor, strides: Sequence[int], before: Sequence[int], after: Sequence[int]) -> Tensor:
    """Returns an image with zeros between its pixels and around them. Negative borders crop."""
    if all(s == 1 for s in strides):
        return padded(node, x, (0, 0, *before), (0, 0, *after), 0)
    sizes = [
        max((size - 1) * s + 1 + low + high, 0)
        for size, s, low, high in zip(x.shape[2:], strides, before, after, strict=True)
    ]

    def compute(data: Any) -> Any:
        def element(n: Expr, c: Expr, *index: Expr) -> Expr:
            places = [i - low for i, low in zip(index, before, strict=True)]
            inside = [
                condition
                for place, size, s in zip(places, x.shape[2:], strides, strict=True)
                for condition in (
                    place >= 0,
                    place <= (size - 1) * s,
                    tirx.EQ(tirx.floormod(place, s), literal(0, "int32")),
                )
            ]
            pixel = data(n, c, *(tirx.floordiv(place, s) for place, s in zip(places, strides, strict=True)))
            return tirx.if_then_else(tirx.all(*inside), pixel, literal(0, x.dtype))

        return te.compute((*x.shape[:2], *sizes), element, name="spread")

    return node.computed(compute, x)


def _mirrored(node: Node, weight: Tensor, groups: int) -> Tensor:
    """(channels, outputs / groups, ...) -> (outputs, channels / groups, ...), mirrored along the image axes."""
    channels, outputs, *kernel = weight.shape
    inner = channels // groups
    if weight.array is not None:
        grouped = weight.array.reshape(groups, inner, outputs, *kernel).swapaxes(1, 2)
        mirrored = np.flip(grouped, tuple(range(3, grouped.ndim)))
        return Tensor.constant(mirrored.reshape(groups * outputs, inner, *kernel))

    def compute(data: Any) -> Any:
        def element(o: Expr, c: Expr, *index: Expr) -> Expr:
            group = tirx.floordiv(o, outputs)
            places = [k - 1 - i for k, i in zip(kernel, index, strict=True)]
            return data(group * inner + c, tirx.floormod(o, outputs), *places)

        return te.compute((groups * outputs, inner, *kernel), element, name="mirror")

    return node.computed(compute, weight)


CONVERTERS: Mapping[str, Converter] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
}
