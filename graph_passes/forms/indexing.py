"""Operators that select elements: OneHot, ScatterElements, Slice, Split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph_passes.lazy import ir
from graph_passes.replacement import Replacement
from graph_passes.values import constant, data_input, required, static_shape


def one_hot(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``OneHot`` as a comparison: TVM has other types of values, and counts negative axes from another end."""
    indices, depth, values = map(required, node.inputs)
    known = constant(depth)
    if known is None or indices.shape is None:
        return None
    count, axis = int(known.reshape(-1)[0]), node.attributes.get_int("axis", -1) or 0
    rank = len(indices.shape) + 1
    axis %= rank
    index = new.op("Cast", indices, to=ir.DataType.INT64)
    size, zero = (new.constant("number", np.array(number, np.int64)) for number in (count, 0))
    index = new.op("Where", new.op("Less", index, zero), new.op("Add", index, size), index)
    wide = new.op("Unsqueeze", index, new.constant("axis", np.array([axis], np.int64)))
    classes = np.arange(count, dtype=np.int64).reshape([-1 if place == axis else 1 for place in range(rank)])
    chosen = new.op("Equal", wide, new.constant("classes", classes))
    off, on = (new.op("Gather", values, new.constant("place", np.array(place, np.int64)), axis=0) for place in (0, 1))
    return [new.op("Where", chosen, on, off)]


def scatter_elements(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``ScatterElements`` with negative indices, or with fewer of them than elements along another axis.

    TVM does not count from the end, and assumes that the other axes have equal sizes.
    """
    x, indices, updates = map(required, node.inputs)
    shape, sizes, known = static_shape(x), static_shape(indices), constant(indices)
    if shape is None or not shape or sizes is None:
        return None
    axis = (node.attributes.get_int("axis", 0) or 0) % len(shape)
    whole = all(sizes[place] == shape[place] for place in range(len(shape)) if place != axis)
    if whole and known is not None and (known >= 0).all():
        return None
    dtype = (indices.dtype or ir.DataType.INT64).numpy()
    size, zero = (new.constant("number", np.array(number, dtype)) for number in (shape[axis], 0))
    if known is not None:
        index = new.constant("index", np.where(known < 0, known + dtype.type(shape[axis]), known))
    elif _is_counted(indices):
        if whole:
            return None
        index = indices
    else:
        index = new.op("Where", new.op("Less", indices, zero), new.op("Add", indices, size), indices)
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    if whole:
        return [new.op("ScatterElements", x, index, updates, **attributes)]
    attributes.pop("axis", None)
    column = new.constant("column", np.array([-1, 1], np.int64))
    places = np.moveaxis(np.indices(sizes), 0, -1).reshape(-1, len(shape))
    columns = [new.constant("places", places[:, [place]]) for place in range(len(shape))]
    columns[axis] = new.op("Cast", new.op("Reshape", index, column), to=ir.DataType.INT64)
    flat = new.op("Reshape", updates, new.constant("flat", np.array([-1], np.int64)))
    return [new.op("ScatterND", x, new.op("Concat", *columns, axis=1), flat, **attributes)]


def _is_counted(indices: ir.Value) -> bool:
    """Returns whether indices were counted from the beginning before, by this rewriting."""
    where = indices.producer()
    if where is None or where.op_type != "Where" or where.inputs[0] is None:
        return False
    less, add = where.inputs[0].producer(), where.inputs[1].producer() if where.inputs[1] is not None else None
    if less is None or add is None or (less.op_type, add.op_type) != ("Less", "Add"):
        return False
    return less.inputs[0] is where.inputs[2] and add.inputs[0] is where.inputs[2]


def constant_slice(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``Slice`` with steps backwards, or without elements: a Gather of the elements, or an empty constant."""
    x = required(node.inputs[0])
    shape, arrays = static_shape(x), [constant(value) for value in node.inputs[1:]]
    given = [value for value in node.inputs[1:] if value is not None]
    if shape is None or x.dtype is None or len([array for array in arrays if array is not None]) != len(given):
        return None
    starts, ends = (np.asarray(array).tolist() for array in arrays[:2])
    axes = arrays[2].tolist() if len(arrays) > 2 and arrays[2] is not None else list(range(len(starts)))
    steps = arrays[3].tolist() if len(arrays) > 3 and arrays[3] is not None else [1] * len(starts)
    taken = {
        axis % len(shape): np.arange(shape[axis], dtype=np.int64)[start : _end(end, step, shape[axis]) : step]
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
    }
    if any(len(index) == 0 for index in taken.values()):
        sizes = [len(taken[axis]) if axis in taken else size for axis, size in enumerate(shape)]
        return [new.op("Identity", new.constant("empty", np.zeros(sizes, x.dtype.numpy())))]
    if all(step > 0 for step in steps):
        return None
    for axis, index in taken.items():
        x = new.op("Gather", x, new.constant("taken", index), axis=axis)
    return [x]


def _end(end: int, step: int, size: int) -> int | None:
    """Returns the end in Python's terms, in which an end before the first element is None."""
    return None if step < 0 and end < -size else end


def split(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``Split`` with parts without elements: Slices, and empty constants."""
    x, sizes = required(node.inputs[0]), constant(data_input(node, 1))
    shape = static_shape(x)
    if shape is None or sizes is None or x.dtype is None or sizes.all():
        return None
    axis, start, parts = (node.attributes.get_int("axis", 0) or 0) % len(shape), 0, []
    for size in sizes.tolist():
        if size:
            ends = (new.constant("end", np.array([place], np.int64)) for place in (start, start + size, axis))
            parts.append(new.op("Slice", x, *ends))
        else:
            empty = np.zeros([0 if place == axis else whole for place, whole in enumerate(shape)], x.dtype.numpy())
            parts.append(new.op("Identity", new.constant("empty", empty)))
        start += size
    return parts
