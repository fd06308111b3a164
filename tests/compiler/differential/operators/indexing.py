"""Operators whose indices are data: legal indices, and some that the compiled model must reject."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.values import ANY, EXACT, FINITE

_DYNAMIC = 55  # percentage of indices that are inputs of the model


def indices(d: NodeDraft, shape: Sequence[int], size: int, index: int, dynamic: int = _DYNAMIC) -> np.ndarray:
    """Adds indices into an axis of ``size`` as the operator's input ``index``; few are out of range."""
    low = -size if d.version >= 11 and d.chance(50) else 0
    array = d.rng().integers(low, max(size, 1), shape).astype(d.dtype(index))
    if array.size and d.chance(4):
        array.flat[d.integer(0, array.size - 1)] = d.choice(size, size + 100, -size - 1, 2**31 - 1)
        d.illegal = True
        dynamic = 100
    d.given(array, dynamic)
    return array


def gather(d: NodeDraft) -> None:
    x = d.data(rank=(1, 4), least=1)
    axis = d.axis(x.rank)
    indices(d, d.shape((0, 3), most=3), x.shape[axis], 1)
    if axis or d.chance(50):
        d.set("axis", axis)


def gather_elements(d: NodeDraft) -> None:
    x = d.data(rank=(1, 4), least=1)
    axis = d.integer(0, x.rank - 1)
    sizes = [d.integer(1, 5) if a == axis else d.integer(1, size) for a, size in enumerate(x.shape)]
    indices(d, sizes, x.shape[axis], 1)
    if axis or d.chance(50):
        d.set("axis", axis - x.rank if d.chance(40) else axis)


def gather_nd(d: NodeDraft) -> None:
    x = d.data(rank=(1, 4), least=1)
    batch = d.integer(0, x.rank - 1) if d.version >= 12 and d.chance(40) else 0
    depth = d.integer(1, x.rank - batch)
    between = d.shape((1 if not batch else 0, 2), least=1, most=3)
    _nd_indices(d, [*x.shape[:batch], *between], x.shape[batch : batch + depth])
    if batch or d.chance(30):
        d.set("batch_dims", batch)


def _nd_indices(d: NodeDraft, shape: Sequence[int], sizes: Sequence[int], distinct: bool = False) -> list[int]:
    count = int(np.prod(shape))
    rng = d.rng()
    if distinct:  # updates of one element have no order
        places = rng.permutation(int(np.prod(sizes)))[:count]
        array = np.stack(np.unravel_index(places, sizes), -1).reshape([*shape, len(sizes)])
    else:
        array = np.stack([rng.integers(0, size, shape) for size in sizes], -1)
    if d.chance(40):
        array = np.where(rng.random(array.shape) < 0.5, array - np.array(sizes), array)
    dynamic = _DYNAMIC
    if array.size and d.chance(4):
        place = d.integer(0, array.size - 1)
        size = sizes[place % len(sizes)]
        array.flat[place] = d.choice(size, size + 100, -size - 1)
        d.illegal = True
        dynamic = 100
    d.given(array.astype(np.int64), dynamic)
    return list(array.shape)


def scatter_elements(d: NodeDraft) -> None:
    reduction = (
        d.choice("none", "none", "add", "mul", *(["max", "min"] * (d.version >= 18))) if d.version >= 16 else "none"
    )
    x = d.data(rank=(1, 4), least=1, kind=EXACT if reduction in ("add", "mul") else ANY)
    axis = d.integer(0, x.rank - 1)
    size = x.shape[axis]
    sizes = [d.integer(1, size) for size in x.shape]
    if reduction == "none":  # updates of one element have no order
        rows = np.moveaxis(np.zeros(sizes, np.int64), axis, -1)
        rng = d.rng()
        for place in np.ndindex(*rows.shape[:-1]):
            rows[place] = rng.permutation(size)[: rows.shape[-1]]
        array = np.moveaxis(rows, -1, axis)
        if d.version >= 11 and d.chance(40):
            array = np.where(rng.random(sizes) < 0.5, array - size, array)
        if d.chance(4):
            array = array.copy()
            array.flat[0] = d.choice(size, size + 100, -size - 1)
            d.illegal = True
        d.given(np.ascontiguousarray(array).astype(d.dtype(1)), 100 if d.illegal else _DYNAMIC)
    else:
        indices(d, sizes, size, 1)
    d.operand(sizes, EXACT if reduction in ("add", "mul") else ANY)
    if axis or d.chance(50):
        d.set("axis", axis - x.rank if d.version >= 11 and d.chance(40) else axis)
    if reduction != "none" or d.chance(30):
        d.set("reduction", reduction)


def scatter_nd(d: NodeDraft) -> None:
    reduction = (
        d.choice("none", "none", "add", "mul", *(["max", "min"] * (d.version >= 18))) if d.version >= 16 else "none"
    )
    x = d.data(rank=(1, 4), least=1, kind=EXACT if reduction in ("add", "mul") else ANY)
    depth = d.integer(1, x.rank)
    elements = int(np.prod(x.shape[:depth]))
    count = d.integer(1, min(elements, 4))
    shape = _nd_indices(d, [count], x.shape[:depth], distinct=reduction == "none")
    d.operand([*shape[:-1], *x.shape[depth:]], EXACT if reduction in ("add", "mul") else ANY)
    if reduction != "none" or d.chance(30):
        d.set("reduction", reduction)


def tensor_scatter(d: NodeDraft) -> None:
    x = d.data(rank=(3, 4), least=1)
    axis = d.integer(1, x.rank - 1)
    sizes = list(x.shape)
    sizes[axis] = d.integer(1, x.shape[axis])
    d.operand(sizes)
    circular = d.chance(40)
    if circular or d.chance(30):
        d.set("mode", "circular" if circular else "linear")
    if d.chance(70):
        high = x.shape[axis] if circular else x.shape[axis] - sizes[axis] + 1
        d.given(d.rng().integers(0, high, x.shape[:1]).astype(np.int64), _DYNAMIC)
    if axis != x.rank - 2 or d.chance(50):
        d.set("axis", axis - x.rank if d.chance(50) else axis)


def one_hot(d: NodeDraft) -> None:
    depth = d.integer(1, 6)
    shape = d.shape((0 if d.chance(10) else 1, 3), most=4)
    if d.chance(60):  # types that ONNX Runtime has code for
        for index, name in enumerate(("int64", "int64", d.choice("float32", "int64"))):
            d.bind(index, np.dtype(name))
    dtype = d.dtype(0, "" if d.chance(20) else "iu")
    low = -depth if dtype.kind != "u" and d.version >= 11 else 0
    # Indices out of range give the value of "off".
    array = d.rng().integers(low - (2 if dtype.kind != "u" else 0), depth + 2, shape)
    d.data(shape=shape)
    d.model.inputs[d.inputs[0]] = array.astype(dtype)
    form = [] if d.chance(60) else [1]
    d.given(np.full(form, depth).astype(d.dtype(1)))
    d.given(np.array([0, 1] if d.chance(50) else [2, 5]).astype(d.dtype(2)))
    if d.chance(70):
        d.set("axis", d.integer(-len(shape) - 1, len(shape)))


def top_k(d: NodeDraft) -> None:
    x = d.data(rank=(1, 4), least=1, kind=FINITE, most=6)
    axis = d.integer(0, x.rank - 1)
    k = d.integer(1 if d.version < 10 else 0, x.shape[axis])
    if d.version < 10:
        d.set("k", k)
    else:
        d.given(np.array([k], np.int64))
    if axis != x.rank - 1 or d.chance(50):
        d.set("axis", axis - x.rank if d.version >= 11 and d.chance(40) else axis)
    d.maybe("largest", 0, 1)
    d.maybe("sorted", 1)  # the order of 0 is not defined


def compress(d: NodeDraft) -> None:
    x = d.data(rank=(1, 4), least=1)
    axis = d.axis(x.rank) if d.chance(70) else None
    size = int(np.prod(x.shape)) if axis is None else x.shape[axis]
    d.given(d.rng().integers(0, 2, [d.integer(1, size)]).astype(bool), dynamic=20)
    if axis is not None:
        d.set("axis", axis)


def plain(d: NodeDraft) -> None:
    d.data(rank=(1, 4))


def unique(d: NodeDraft) -> None:
    x = d.data(rank=(1, 3), kind=FINITE, least=1)
    d.num_outputs = d.integer(1, 4)
    if d.chance(50):
        d.set("axis", d.integer(-x.rank, x.rank - 1))
    d.maybe("sorted", 0, 1)


def non_max_suppression(d: NodeDraft) -> None:
    batch, classes, boxes = d.integer(1, 2), d.integer(1, 3), d.integer(1, 6)
    rng = d.rng()
    corners = rng.uniform(0, 1, [batch, boxes, 2, 2])
    centered = bool(d.maybe("center_point_box", 0, 1))
    array = corners if centered else np.stack([corners.min(2), corners.max(2)], 2)
    d.data(shape=[batch, boxes, 4])
    d.model.inputs[d.inputs[0]] = array.reshape(batch, boxes, 4).astype(np.float32)
    d.data(shape=[batch, classes, boxes], kind=FINITE)
    given = d.integer(0, 3)
    numbers = (
        np.array(d.integer(0, 4), np.int64),
        np.float32(d.choice(0.0, 0.3, 0.7)),
        np.float32(d.choice(-1, 0.1, 0.5)),
    )
    for value in numbers[:given]:
        d.given(np.asarray(value).reshape([1] if d.chance(60) else []))


STRATEGIES: dict[str, Callable[[NodeDraft], None]] = {
    "Compress": compress,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "NonMaxSuppression": non_max_suppression,
    "NonZero": plain,
    "OneHot": one_hot,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TensorScatter": tensor_scatter,
    "TopK": top_k,
    "Unique": unique,
}
