"""Convolutions, pooling, and regions of interest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.values import ANY, ORDERED, SMALL


class Window:
    """The attributes of a window: kernel, strides, dilations and padding of each spatial axis."""

    def __init__(self, d: NodeDraft, spatial: Sequence[int], dilated: bool = True, kernel: bool = True) -> None:
        rank = len(spatial)
        self.strides = [d.choice(1, 1, 2, 3) for _ in spatial]
        self.dilations = [d.choice(1, 1, 2) if dilated and d.has("dilations") else 1 for _ in spatial]
        self.kernel = []
        self.auto = d.choice("SAME_UPPER", "SAME_LOWER", "VALID") if d.has("auto_pad") and d.chance(30) else None
        before, after = [], []
        for size, dilation in zip(spatial, self.dilations, strict=True):
            taps = d.integer(1, 4)
            low = high = 0
            if self.auto is None:
                low, high = (d.integer(0, taps - 1), d.integer(0, taps - 1)) if d.chance(60) else (0, 0)
            while taps > 1 and (taps - 1) * dilation + 1 > size + low + high:
                taps -= 1
            self.kernel.append(taps)
            before.append(min(low, max((taps - 1), 0)))
            after.append(min(high, max((taps - 1), 0)))
        self.pads = [*before, *after]
        for axis in range(rank):  # the window must fit
            span = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            while span > spatial[axis] + self.pads[axis] + self.pads[axis + rank] and self.auto != "SAME_UPPER":
                if self.kernel[axis] == 1:
                    break
                self.kernel[axis] -= 1
                span = (self.kernel[axis] - 1) * self.dilations[axis] + 1
                self.pads[axis] = min(self.pads[axis], self.kernel[axis] - 1)
                self.pads[axis + rank] = min(self.pads[axis + rank], self.kernel[axis] - 1)
        if kernel or d.chance(60):
            d.set("kernel_shape", self.kernel)
        if any(s != 1 for s in self.strides) or d.chance(30):
            d.set("strides", self.strides)
        if any(s != 1 for s in self.dilations) or d.chance(20):
            d.set("dilations", self.dilations)
        if self.auto is not None:
            d.set("auto_pad", self.auto)
        elif any(self.pads) or d.chance(30):
            d.set("pads", self.pads)


def images(d: NodeDraft, channels: int | None = None, kind: str = SMALL, dims: tuple[int, int] = (1, 3)) -> list[int]:
    """Adds a batch of images and returns their shape."""
    if channels is None and d.model.pool is not None:
        return list(d.data(rank=(2 + dims[0], 2 + dims[1]), kind=kind, least=1, most=9).shape)
    spatial = d.shape(dims, least=1, most=9, elements=120)
    shape = [d.integer(1, 2), channels or d.choice(1, 2, 3, 4, 8), *spatial]
    d.data(shape=shape, kind=kind)
    return shape


def conv(d: NodeDraft) -> None:
    shape = images(d)
    channels = shape[1]
    groups = d.choice(*[g for g in range(1, channels + 1) if channels % g == 0]) if d.chance(40) else 1
    outputs = groups * d.choice(1, 2, 3, 8)
    window = Window(d, shape[2:], kernel=False)
    d.operand([outputs, channels // groups, *window.kernel], SMALL)
    if d.schema.name == "ConvInteger":
        _zero_points(d, outputs)
    elif d.chance(60):
        d.operand([outputs], SMALL)
    if groups != 1 or d.chance(20):
        d.set("group", groups)


def _zero_points(d: NodeDraft, outputs: int) -> None:
    """Adds the zero points of ConvInteger."""
    del outputs
    for index in range(d.integer(0, 2)):
        d.given(np.array(d.integer(0, 3), d.dtype(2 + index)))


def conv_transpose(d: NodeDraft) -> None:
    shape = images(d)
    channels, spatial = shape[1], shape[2:]
    groups = d.choice(*[g for g in range(1, channels + 1) if channels % g == 0]) if d.chance(30) else 1
    strides = [d.choice(1, 1, 2, 3) for _ in spatial]
    dilations = [d.choice(1, 1, 2) for _ in spatial]
    kernel = [d.integer(1, 4) for _ in spatial]
    outputs = d.choice(1, 2, 3)
    d.operand([channels, outputs, *kernel], SMALL)
    if d.chance(60):
        d.operand([outputs * groups], SMALL)
    spans = [(k - 1) * dilation + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    full = [(size - 1) * s + span for size, s, span in zip(spatial, strides, spans, strict=True)]
    form = d.choice("plain", "pads", "pads", "output_padding", "output_shape", "same", "valid")
    extra = [0] * len(spatial)
    if form == "output_padding":
        extra = [d.integer(0, max(s, dil) - 1) for s, dil in zip(strides, dilations, strict=True)]
        d.set("output_padding", extra)
    if form in ("pads", "output_padding"):
        pads = []
        for _ in range(2):
            pads += [d.integer(0, min((size + more - 1) // 2, 2)) for size, more in zip(full, extra, strict=True)]
        d.set("pads", pads)
    if form == "output_shape":
        d.set("output_shape", [d.integer(max(1, size - 2), size + 1) for size in full])
        d.maybe("auto_pad", "SAME_UPPER", "SAME_LOWER", percent=40)
    if form in ("same", "valid"):
        d.set("auto_pad", d.choice("SAME_UPPER", "SAME_LOWER") if form == "same" else "VALID")
    if any(s != 1 for s in strides) or d.chance(30):
        d.set("strides", strides)
    if any(s != 1 for s in dilations) or d.chance(20):
        d.set("dilations", dilations)
    if groups != 1 or d.chance(20):
        d.set("group", groups)
    if d.chance(60):
        d.set("kernel_shape", kernel)


def pool(d: NodeDraft) -> None:
    # ONNX Runtime's maximum of NaN depends on the place of the NaN in the window.
    shape = images(d, kind=ORDERED if d.schema.name == "MaxPool" else ANY)
    Window(d, shape[2:])
    if d.attributes.get("auto_pad", "").startswith("SAME"):
        d.attributes.pop("dilations", None)  # ONNX Runtime ignores them in these pads, and onnx does not
    if d.has("ceil_mode") and "auto_pad" not in d.attributes:
        d.maybe("ceil_mode", 0, 1, percent=40)
    d.maybe("count_include_pad", 0, 1)
    d.maybe("p", 1, 2, 3)
    if d.schema.name == "MaxPool" and d.version >= 8 and d.chance(30):
        d.num_outputs = 2
        d.maybe("storage_order", 0, 1)


def global_pool(d: NodeDraft) -> None:
    d.data(rank=(3, 5), kind=ANY, least=1)
    d.maybe("p", 1, 2, 3)


def max_unpool(d: NodeDraft) -> None:
    """The inverse of a MaxPool of windows that do not overlap."""
    n, c = d.integer(1, 2), d.integer(1, 2)
    spatial = d.shape((1, 3), least=1, most=3)
    kernel = [d.integer(1, 3) for _ in spatial]
    full = [size * k for size, k in zip(spatial, kernel, strict=True)]
    d.data(shape=[n, c, *spatial])
    rng = d.rng()
    places = np.zeros([n, c, *spatial], np.int64)
    for place in np.ndindex(*places.shape):
        inner = [p * k + rng.integers(0, k) for p, k in zip(place[2:], kernel, strict=True)]
        flat = int(np.ravel_multi_index(inner, full))
        places[place] = (place[0] * c + place[1]) * math.prod(full) + flat
    if d.chance(6):
        places.flat[0] = d.choice(places.size * math.prod(kernel) + 5, -7)
        d.illegal = True
    d.given(places, dynamic=100 if d.illegal else 60)
    d.set("kernel_shape", kernel)
    d.set("strides", kernel)


def roi_align(d: NodeDraft) -> None:
    shape = images(d, dims=(2, 2))
    count = d.integer(1, 3)
    corners = d.rng().uniform(0, 8, [count, 2, 2])
    rois = np.concatenate([corners.min(1), corners.max(1)], 1).astype(d.dtype(1))
    d.given(rois, dynamic=60)
    batches = d.rng().integers(0, shape[0], [count]).astype(np.int64)
    if d.chance(4):
        batches[0] = d.choice(shape[0], -1, 1000)
        d.illegal = True
    d.given(batches, dynamic=100 if d.illegal else 60)
    d.maybe("mode", "avg", "max")
    d.maybe("output_height", 1, 2, 3)
    d.maybe("output_width", 1, 2, 3)
    d.maybe("sampling_ratio", 0, 1, 2)
    d.maybe("spatial_scale", 1.0, 0.5, 0.25)
    d.maybe("coordinate_transformation_mode", "half_pixel", "output_half_pixel")


def max_roi_pool(d: NodeDraft) -> None:
    shape = images(d, dims=(2, 2))
    count = d.integer(1, 3)
    rng = d.rng()
    corners = rng.integers(0, 8, [count, 2, 2])
    batches = rng.integers(0, shape[0], [count, 1])
    d.given(np.concatenate([batches, corners.min(1), corners.max(1)], 1).astype(d.dtype(1)), dynamic=60)
    d.set("pooled_shape", [d.integer(1, 3), d.integer(1, 3)])
    d.maybe("spatial_scale", 1.0, 0.5)


def deform_conv(d: NodeDraft) -> None:
    channels = d.choice(2, 4)
    shape = images(d, channels, dims=(2, 2))
    group, offsets = d.choice(1, 2), d.choice(1, 2)
    outputs = group * d.choice(1, 2)
    window = Window(d, shape[2:], kernel=False)
    sizes = [
        (size + window.pads[i] + window.pads[i + 2] - (k - 1) * dil - 1) // s + 1
        for i, (size, k, dil, s) in enumerate(
            zip(shape[2:], window.kernel, window.dilations, window.strides, strict=True)
        )
    ]
    taps = math.prod(window.kernel)
    d.operand([outputs, channels // group, *window.kernel], SMALL)
    d.operand([shape[0], offsets * taps * 2, *sizes], SMALL)
    d.operand([outputs], SMALL) if d.chance(50) else d.absent()
    if d.chance(50):
        d.operand([shape[0], offsets * taps, *sizes], SMALL)
    d.set("group", group)
    d.set("offset_group", offsets)


def grid_sample(d: NodeDraft) -> None:
    if d.chance(60):
        for index in (0, 1):
            d.bind(index, np.dtype("float32"))
    shape = images(d, dims=(2, 3) if d.version >= 20 else (2, 2))
    rank = len(shape) - 2
    sizes = d.shape((rank, rank), least=1, most=4)
    grid = d.rng().uniform(-1.4, 1.4, [shape[0], *sizes, rank])
    d.given(grid.astype(d.dtype(1)), dynamic=70)
    modes = ("linear", "nearest", "cubic") if d.version >= 20 else ("bilinear", "nearest", "bicubic")
    d.maybe("mode", *(modes[:2] if rank == 3 else modes))
    d.maybe("padding_mode", "zeros", "border", "reflection")
    d.maybe("align_corners", 0, 1)


def col2im(d: NodeDraft) -> None:
    rank = d.integer(1, 3)
    image = [d.integer(2, 6) for _ in range(rank)]
    block = [d.integer(1, size) for size in image]
    strides = [d.choice(1, 1, 2) for _ in image]
    pads = [d.choice(0, 0, 1) for _ in range(2 * rank)]
    counts = [
        (size + pads[i] + pads[i + rank] - b) // s + 1
        for i, (size, b, s) in enumerate(zip(image, block, strides, strict=True))
    ]
    channels = d.integer(1, 2)
    d.data(shape=[d.integer(1, 2), channels * math.prod(block), math.prod(counts)], kind=SMALL)
    d.given(np.array(image, np.int64))
    d.given(np.array(block, np.int64))
    if any(s != 1 for s in strides) or d.chance(30):
        d.set("strides", strides)
    if any(pads) or d.chance(30):
        d.set("pads", pads)
    if d.chance(20):
        d.set("dilations", [1] * rank)


def causal_conv(d: NodeDraft) -> None:
    batch, channels, length, taps = d.integer(1, 2), d.integer(1, 4), d.integer(1, 6), d.integer(1, 4)
    d.data(shape=[batch, channels, length], kind=SMALL)
    d.operand([channels, 1, taps], SMALL)
    d.operand([channels], SMALL) if d.chance(50) else d.absent()
    if d.chance(50):
        d.operand([batch, channels, taps - 1], SMALL)
    d.num_outputs = 2
    d.maybe("activation", "none", "silu", "swish")


STRATEGIES: dict[str, Callable[[NodeDraft], None]] = {
    "AveragePool": pool,
    "CausalConvWithState": causal_conv,
    "Col2Im": col2im,
    "Conv": conv,
    "ConvInteger": conv,
    "ConvTranspose": conv_transpose,
    "DeformConv": deform_conv,
    "GlobalAveragePool": global_pool,
    "GlobalLpPool": global_pool,
    "GlobalMaxPool": global_pool,
    "GridSample": grid_sample,
    "LpPool": pool,
    "MaxPool": pool,
    "MaxRoiPool": max_roi_pool,
    "MaxUnpool": max_unpool,
    "RoiAlign": roi_align,
}
