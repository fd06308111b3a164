"""Operators that move elements, and those that return shapes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.values import ANY, DTYPES, SMALL, random_array


def reshape(d: NodeDraft) -> None:
    x = d.data()
    sizes = _factors(d, math.prod(x.shape))
    allow_zero = bool(d.maybe("allowzero", 0, 1, percent=30)) if d.version >= 14 else False
    if 0 in sizes and not allow_zero:
        # A size of zero copies the input's, so only the same shape can be given without the attribute.
        sizes = list(x.shape)
    for index, size in enumerate(sizes):
        if not allow_zero and index < x.rank and x.shape[index] == size and d.chance(25):
            sizes[index] = 0
    if sizes and 0 not in x.shape and d.chance(40):
        sizes[d.integer(0, len(sizes) - 1)] = -1
    d.given(np.array(sizes, np.int64))


def _factors(d: NodeDraft, count: int) -> list[int]:
    """Returns sizes with the given product."""
    if not count:
        return [d.integer(1, 3), 0][:: d.choice(1, -1)]
    sizes = []
    for _ in range(d.integer(0, 4)):
        size = d.choice(*[k for k in range(1, count + 1) if count % k == 0])
        sizes.append(size)
        count //= size
    return [*sizes, count] if count > 1 or d.chance(30) else sizes


def transpose(d: NodeDraft) -> None:
    x = d.data()
    if x.rank and d.chance(80):
        d.set("perm", d.subset(range(x.rank), least=x.rank))


def flatten(d: NodeDraft) -> None:
    x = d.data(rank=(1, 5)) if d.version < 11 else d.data()
    if d.chance(70) or not x.rank:
        low = -x.rank if d.version >= 11 else 0
        d.set("axis", d.integer(low, x.rank))


def squeeze(d: NodeDraft) -> None:
    x = d.data()
    ones = [axis for axis, size in enumerate(x.shape) if size == 1]
    _axes(d, x.rank, d.subset(ones, least=1) if d.chance(70) and ones else None)


def unsqueeze(d: NodeDraft) -> None:
    x = d.data(rank=(0, 4))
    count = d.integer(1, 2)
    _axes(d, x.rank + count, d.subset(range(x.rank + count), least=x.rank + count)[:count])


def _axes(d: NodeDraft, rank: int, axes: list[int] | None) -> None:
    if axes is None:
        return
    if d.version >= 11:
        axes = [axis - rank if d.chance(40) else axis for axis in axes]
    if d.version < 13:
        d.set("axes", axes)
    else:
        d.given(np.array(axes, np.int64))


def concat(d: NodeDraft) -> None:
    x = d.data(rank=(1, 5))
    axis = d.integer(0, x.rank - 1)
    for _ in range(d.integer(0, 3)):
        sizes = list(x.shape)
        sizes[axis] = d.integer(0 if d.chance(10) else 1, 4)
        d.operand(sizes)
    d.set("axis", axis - x.rank if d.version >= 11 and d.chance(40) else axis)


def split(d: NodeDraft) -> None:
    x = d.data(rank=(1, 5), most=8)
    axis = d.integer(0, x.rank - 1)
    size = x.shape[axis]
    d.num_outputs = d.integer(1, 4)
    sizes: list[int] | None = None
    if d.version >= 18 and d.chance(50):
        d.num_outputs = max(min(d.num_outputs, size), 1)
        d.set("num_outputs", d.num_outputs)
    elif d.version < 18 and size % d.num_outputs == 0 and d.chance(50):
        pass  # equal parts
    else:
        cuts = sorted(d.integers(d.num_outputs - 1, 0, size))
        sizes = np.diff([0, *cuts, size]).tolist()
    if sizes is not None and d.version < 13:
        d.set("split", sizes)
    elif sizes is not None:
        d.given(np.array(sizes, np.int64))
    if d.chance(80):
        d.set("axis", axis - x.rank if d.version >= 11 and d.chance(40) else axis)
    elif axis:
        d.set("axis", axis)


def slice_(d: NodeDraft) -> None:
    x = d.data(rank=(1, 5))
    axes = d.subset(range(x.rank), least=1)
    plain = d.chance(20)  # all axes in order, from the first
    if plain:
        axes = list(range(len(axes)))
    starts, ends, steps = [], [], []
    backward = d.version >= 10
    for axis in axes:
        size = x.shape[axis]
        step = d.choice(1, 1, 1, 2, 3, -1, -1, -2, 7) if backward else 1
        start, end = d.integer(-size - 2, size + 2), d.integer(-size - 2, size + 2)
        if d.chance(25):
            end = 2**63 - 1 if step > 0 else -(2**63) + (1 if d.chance(50) else 0)
        if d.chance(10):
            start = 2**31 - 1 if step < 0 else -(2**31)
        starts.append(start)
        ends.append(end)
        steps.append(step)
    if d.version < 10:
        if not plain:
            d.set("axes", axes)
        d.set("starts", starts)
        d.set("ends", ends)
        return
    dtype = d.dtype(1)
    info = np.iinfo(dtype)

    def array(numbers: list[int]) -> np.ndarray:
        return np.array([min(max(n, info.min), info.max) for n in numbers], dtype)

    d.given(array(starts))
    d.given(array(ends))
    if plain:
        d.absent()
    else:
        d.given(array([axis - x.rank if d.chance(40) else axis for axis in axes]))
    if any(step != 1 for step in steps) or d.chance(50):
        d.given(array(steps))


def pad(d: NodeDraft) -> None:
    x = d.data(rank=(1, 5))
    modes = ["constant", "constant", "reflect", "edge"] + ["wrap"] * (d.version >= 19)
    mode = d.choice(*modes)
    if mode != "constant" or d.chance(60):
        d.set("mode", mode)
    axes = list(range(x.rank))
    some = d.version >= 18 and d.chance(40)
    if some:
        axes = d.subset(axes, least=1)
    most = {"constant": 3, "edge": 3}
    pads: list[tuple[int, int]] = []
    for axis in axes:
        size = x.shape[axis]
        limit = most.get(mode, size - 1 if mode == "reflect" else size)
        limit = max(min(limit, 4), 0) if size else (3 if mode == "constant" else 0)
        low = -min(1, size - 1) if size > 1 and d.chance(15) else 0
        pair = (d.integer(low, limit), d.integer(low, limit)) if d.chance(75) else (0, 0)
        pads.append(pair if sum(pair) + size >= 0 else (0, 0))
    if mode == "reflect" and pads and d.chance(4):
        place = d.integer(0, len(pads) - 1)
        pads[place] = (x.shape[axes[place]] + 2, pads[place][1])
        d.undefined = True
    flat = [before for before, _ in pads] + [after for _, after in pads]
    value = d.choice(None, None, 0, 1, 3)
    if d.version < 11:
        d.set("pads", flat)
        if value is not None:
            d.set("value", float(value))
        return
    d.given(np.array(flat, np.int64))
    if value is not None:
        d.given(np.array(value).astype(x.dtype))
    elif some:
        d.absent()
    if some:
        d.bind(3, np.dtype("int64")) if d.chance(80) else None
        d.given(np.array([axis - x.rank if d.chance(40) else axis for axis in axes], d.dtype(3)))


def tile(d: NodeDraft) -> None:
    x = d.data()
    repeats = [d.integer(0, 1) if d.chance(4) else d.integer(1, 3) for _ in x.shape]
    d.given(np.array(repeats, np.int64))


def expand(d: NodeDraft) -> None:
    x = d.data(rank=(0, 4), most=4)
    sizes = [d.integer(1, 4) if size == 1 else (1 if d.chance(20) else size) for size in x.shape]
    if d.chance(30):
        sizes = [d.integer(1, 3), *sizes]
    elif sizes and d.chance(20):
        sizes = sizes[1:]
    d.given(np.array(sizes, np.int64))


def depth_to_space(d: NodeDraft) -> None:
    block = d.integer(1, 3)
    n, c, h, w = d.integer(1, 2), d.integer(1, 2), d.integer(1, 3), d.integer(1, 3)
    if d.schema.name == "DepthToSpace":
        d.data(shape=[n, c * block * block, h, w])
    else:
        d.data(shape=[n, c, h * block, w * block])
    d.set("blocksize", block)
    d.maybe("mode", "DCR", "CRD")


def shape_of(d: NodeDraft) -> None:
    x = d.data()
    if d.version >= 15:
        for name in ("start", "end"):
            if d.chance(60):
                d.set(name, d.integer(-x.rank - 1, x.rank + 1))


def constant_of_shape(d: NodeDraft) -> None:
    sizes = d.shape((0, 4))
    d.given(np.array(sizes, np.int64), dynamic=20)
    if d.chance(75):
        dtype = d.choice(*sorted(DTYPES.values(), key=str))
        d.set("value", random_array(d.rng(), dtype, [1], SMALL))


def eye_like(d: NodeDraft) -> None:
    d.data(shape=d.shape((2, 2)), kind=ANY)
    d.maybe("k", -2, -1, 0, 1, 3)
    d.maybe("dtype", 1, 6, 7, 11)


def trilu(d: NodeDraft) -> None:
    x = d.data(rank=(2, 5))
    if d.chance(70):
        d.given(np.array(d.integer(-x.shape[-2] - 1, x.shape[-1] + 1), np.int64))
    d.maybe("upper", 0, 1)


def range_(d: NodeDraft) -> None:
    dtype = d.dtype(0)
    step = d.choice(1, 2, 3, -1, -2)
    start, count = d.integer(-3, 5), d.integer(-1, 6)
    for number in (start, start + step * count, step):
        d.given(np.array(number).astype(dtype), dynamic=20)


def center_crop_pad(d: NodeDraft) -> None:
    x = d.data(rank=(1, 4))
    axes = list(range(x.rank))
    if d.chance(50):
        axes = d.subset(axes, least=1)
        d.set("axes", [axis - x.rank if d.chance(40) else axis for axis in axes])
    d.given(np.array([d.integer(1, 7) for _ in axes], d.dtype(1)))


def reverse_sequence(d: NodeDraft) -> None:
    x = d.data(rank=(2, 4), least=1)
    time = d.choice(0, 1)
    if time or d.chance(50):
        d.set("time_axis", time)
        d.set("batch_axis", 1 - time)
    d.given(np.array([d.integer(1, x.shape[time]) for _ in range(x.shape[1 - time])], np.int64), dynamic=50)


STRATEGIES: dict[str, Callable[[NodeDraft], None]] = {
    "CenterCropPad": center_crop_pad,
    "Concat": concat,
    "ConstantOfShape": constant_of_shape,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "EyeLike": eye_like,
    "Flatten": flatten,
    "Pad": pad,
    "Range": range_,
    "Reshape": reshape,
    "ReverseSequence": reverse_sequence,
    "Shape": shape_of,
    "Size": shape_of,
    "Slice": slice_,
    "SpaceToDepth": depth_to_space,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Trilu": trilu,
    "Unsqueeze": unsqueeze,
}
