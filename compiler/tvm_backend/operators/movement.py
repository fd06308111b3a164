"""Operators that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import StringImm

from compiler.tvm_backend.operators.binary import reshaped
from compiler.tvm_backend.operators.cast import converted, named
from compiler.tvm_backend.operators.checked_indices import checked, without_negative
from compiler.tvm_backend.operators.elements import broadcast_shape, literal, read
from compiler.tvm_backend.operators.node import (
    Converter,
    Expr,
    Node,
    Shape,
    Tensor,
    Unsupported,
    checked_axes,
    checked_axis,
    shape_expr,
)


def transposed(node: Node, x: Tensor, perm: Sequence[int]) -> Tensor:
    if list(perm) == list(range(x.rank)):
        return x
    if x.array is not None:
        return Tensor.constant(x.array.transpose(perm))
    return node.emitted(relax.op.permute_dims(x.expr, list(perm)))


def moved(
    node: Node, x: Tensor, shape: Sequence[int], source: Callable[..., Sequence[Expr]], fusible: bool = True
) -> Tensor:
    """Emits a tensor whose element at an index is that of ``x`` at ``source(*index)``."""

    def compute(data: Any) -> Any:
        return te.compute(tuple(shape), lambda *i: data(*source(*i)), name=node.op.lower())

    return node.computed(compute, x, fusible=fusible)


def _transpose(node: Node) -> Tensor:
    perm = node.ints("perm")
    axes = list(reversed(range(node.x.rank))) if perm is None else perm
    if sorted(axes) != list(range(node.x.rank)):
        raise Unsupported(f"perm {axes} is not a permutation of {node.x.rank} axes")
    return transposed(node, node.x, axes)


def resolved_shape(given: Sequence[int], source: Shape, zero_copies: bool) -> Shape:
    """Returns the shape that a Reshape requires.

    Raises:
        Unsupported: it has another number of elements than ``source``.
    """
    shape = [source[i] if size == 0 and zero_copies and i < len(source) else size for i, size in enumerate(given)]
    if shape.count(-1) > 1 or any(size < -1 for size in shape):
        raise Unsupported(f"the shape {list(given)} is not valid")
    if -1 in shape:
        others = prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = prod(source) // others if others else 0
    if prod(shape) != prod(source):
        raise Unsupported(f"{'x'.join(map(str, source)) or 'a scalar'} does not have as many elements as {list(given)}")
    return tuple(shape)


def runtime_shape(node: Node, resolved: Tensor, result: Tensor) -> Tensor:
    """Returns ``result`` after a check at run time that ``resolved``, the sizes in int64, are those of its shape."""
    arguments = [result, resolved, shape_expr(result.shape), StringImm(str(node))]
    return node.called("loopwright.checked_sizes", arguments, result)


def declared_shape(node: Node, what: str) -> Shape:
    """Returns the first output's shape that the model states, where the operator's sizes are computed at run time.

    Raises:
        Unsupported: the model does not state it.
    """
    if node.declared[0] is None:
        raise Unsupported(f"{what} must be constant, or the model must state the shape of the output")
    return node.declared[0]


def _reshape(node: Node) -> Tensor:
    zero_copies = not node.attribute("allowzero", 0)
    x = node.x
    if "shape" in node.attributes or node.input(1).array is not None:
        given = node.ints("shape", 1)
        return reshaped(node, x, resolved_shape(given or [], x.shape, zero_copies))
    given, shape = node.input(1), declared_shape(node, "shape")
    if prod(shape) != x.size or given.shape != (len(shape),):
        raise Unsupported("the stated shape of the output does not fit the data")

    copied = [zero_copies and axis < x.rank and x.shape[axis] == size for axis, size in enumerate(shape)]
    tables = (Tensor.constant(np.array(shape, np.int64)), Tensor.constant(np.array(copied, np.int64)))

    def resolve(sizes: Any, stated: Any, may_be_zero: Any) -> Any:
        """Replaces 0 and -1 by the sizes that they mean if the others are right; otherwise the check fails."""

        def size(i: Expr) -> Expr:
            value, one = sizes(i), literal(1, "int64")
            zero = tirx.And(tirx.EQ(value, one - one), tirx.EQ(may_be_zero(i), one))
            return tirx.Select(tirx.Or(tirx.EQ(value, literal(-1, "int64")), zero), stated(i), value)

        return te.compute((len(shape),), size, name="sizes")

    return runtime_shape(node, node.computed(resolve, given, *tables), reshaped(node, x, shape))


def _flatten(node: Node) -> Tensor:
    axis, rank = int(node.attribute("axis", 1)), node.x.rank
    if not -rank <= axis <= rank:
        raise Unsupported(f"there is no axis {axis} in {rank} dimensions")
    axis += rank if axis < 0 else 0
    return reshaped(node, node.x, (prod(node.x.shape[:axis]), prod(node.x.shape[axis:])))


def _squeeze(node: Node) -> Tensor:
    axes = node.ints("axes", 1)
    shape = node.x.shape
    gone = [i for i, n in enumerate(shape) if n == 1] if axes is None else checked_axes(axes, node.x.rank)
    for axis in gone:
        if shape[axis] != 1:
            raise Unsupported(f"axis {axis} has size {shape[axis]}, not 1")
    return reshaped(node, node.x, [size for i, size in enumerate(shape) if i not in gone])


def _unsqueeze(node: Node) -> Tensor:
    axes = node.ints("axes", 1) or []
    rank = node.x.rank + len(axes)
    places = checked_axes(axes, rank)
    sizes = iter(node.x.shape)
    return reshaped(node, node.x, [1 if i in places else next(sizes) for i in range(rank)])


def expanded(node: Node, x: Tensor, shape: Shape) -> Tensor:
    if x.shape == shape:
        return x
    result = node.computed(lambda data: te.compute(shape, lambda *i: read(data, i), name="expand"), x)
    result.repeated = x.repeated or x
    return result


def _expand(node: Node) -> Tensor:
    x, sizes = node.x, node.input(1)
    if sizes.array is not None:
        return expanded(node, x, broadcast_shape([x.shape, tuple(int(n) for n in sizes.array)]))
    shape = declared_shape(node, "shape")
    rank = len(shape)
    if sizes.rank != 1 or max(sizes.size, x.rank) != rank or broadcast_shape([x.shape, shape]) != shape:
        raise Unsupported("the stated shape of the output does not fit the data")
    own = Tensor.constant(np.array((*(1,) * (rank - x.rank), *x.shape), np.int64))
    missing = rank - sizes.size

    def broadcast(given: Any, mine: Any) -> Any:
        def size(i: Expr) -> Expr:
            one = literal(1, "int64")
            value = tirx.if_then_else(i >= missing, given(tirx.max(i - missing, 0)), one)
            return tirx.Select(tirx.EQ(value, one), mine(i), value)

        return te.compute((rank,), size, name="sizes")

    return runtime_shape(node, node.computed(broadcast, sizes, own), expanded(node, x, shape))


def _tile(node: Node) -> Tensor:
    x = node.x
    if node.opset < 6:
        tiles, axis = node.known(1, "tiles"), node.known(2, "axis")
        repeats = [1] * x.rank
        repeats[checked_axis(int(axis.item()), x.rank)] = int(tiles.item())  # type: ignore[union-attr]
    else:
        repeats = node.ints("repeats", 1) or []
    if len(repeats) != x.rank or min(repeats, default=0) < 0:
        raise Unsupported(f"repeats {repeats} are not one count for each of {x.rank} axes")
    if all(count == 1 for count in repeats):
        return x
    shape = tuple(size * count for size, count in zip(x.shape, repeats, strict=True))
    if 0 in shape:
        return Tensor.constant(np.zeros(shape, x.dtype))
    return moved(
        node,
        x,
        shape,
        lambda *i: [
            place if count == 1 else 0 if size == 1 else tirx.floormod(place, size)
            for place, size, count in zip(i, x.shape, repeats, strict=True)
        ],
    )


def concatenated(node: Node, tensors: Sequence[Tensor], axis: int) -> Tensor:
    if all(tensor.array is not None for tensor in tensors):
        return Tensor.constant(np.concatenate([tensor.array for tensor in tensors], axis))  # type: ignore[misc]
    first = tensors[0]
    for tensor in tensors:
        others = [[size for i, size in enumerate(t.shape) if i != axis] for t in (first, tensor)]
        if tensor.rank != first.rank or others[0] != others[1]:
            raise Unsupported(f"shapes {first.shape} and {tensor.shape} differ outside axis {axis}")
    filled = [tensor for tensor in tensors if tensor.shape[axis]] or [first]
    return filled[0] if len(filled) == 1 else node.emitted(relax.op.concat([tensor.expr for tensor in filled], axis))


def _concat(node: Node) -> Tensor:
    return concatenated(node, node.given(), node.axis(1))


def _split(node: Node) -> list[Tensor]:
    axis, count = node.axis(0), len(node.outputs)
    size = node.x.shape[axis]
    sizes = node.ints("split", 1)
    if sizes is None:
        count = max(int(node.attribute("num_outputs", count)), 1)
        chunk = -(-size // count)
        sizes = [min(chunk, max(size - i * chunk, 0)) for i in range(count)]
    if len(sizes) != len(node.outputs):
        raise Unsupported(f"there are {len(sizes)} parts for {len(node.outputs)} outputs")
    return parts(node, node.x, axis, sizes)


def parts(node: Node, x: Tensor, axis: int, sizes: Sequence[int]) -> list[Tensor]:
    """Returns neighboring parts of these sizes along an axis.

    Raises:
        Unsupported: the sizes do not add up to that of the axis.
    """
    size = x.shape[axis]
    if sum(sizes) != size or min(sizes, default=0) < 0:
        raise Unsupported(f"an axis of size {size} cannot be split into {sizes}")
    ends = np.cumsum(sizes)
    return [sliced(node, x, {axis: (int(end) - n, n, 1)}) for end, n in zip(ends, sizes, strict=True)]


def sliced(node: Node, x: Tensor, ranges: Mapping[int, tuple[int, int, int]]) -> Tensor:
    """Returns a part of a tensor. ``ranges`` has (start, number of elements, step) for some axes."""
    full = {axis: (0, size, 1) for axis, size in enumerate(x.shape)}
    chosen = {axis: part for axis, part in ranges.items() if part != full[axis]}
    if not chosen:
        return x
    if x.array is not None:
        index = [np.arange(count) * step + start for start, count, step in (full | chosen).values()]
        return Tensor.constant(x.array[np.ix_(*index)])
    shape = [chosen[axis][1] if axis in chosen else size for axis, size in enumerate(x.shape)]
    if 0 in shape:
        return Tensor.constant(np.zeros(shape, x.dtype))

    def source(*index: Expr) -> list[Expr]:
        return [i * chosen[axis][2] + chosen[axis][0] if axis in chosen else i for axis, i in enumerate(index)]

    # TVM lowers remainders of decreasing indices, as of a fused Tile or Reshape, incorrectly.
    return moved(node, x, shape, source, fusible=all(step > 0 for _start, _count, step in chosen.values()))


def _slice(node: Node) -> Tensor:
    x = node.x
    starts, ends = node.ints("starts", 1), node.ints("ends", 2)
    if starts is None or ends is None:
        raise Unsupported("starts and ends are missing")
    axes = checked_axes(node.ints("axes", 3) or list(range(len(starts))), x.rank)
    steps = node.ints("steps", 4) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise Unsupported("starts, ends, axes and steps do not fit together")
    ranges = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        ranges[axis] = _indices(start, end, step, x.shape[axis])
    return sliced(node, x, ranges)


def _indices(start: int, end: int, step: int, size: int) -> tuple[int, int, int]:
    """Returns the first index, the number of indices and the step.

    ONNX moves a start before the first element to it, also if the step is negative. NumPy then takes nothing.
    """
    if not size:
        return 0, 0, step
    start, end = (place + size if place < 0 else place for place in (start, end))
    first, last = (0, size) if step > 0 else (-1, size - 1)
    start, end = min(max(start, 0), last), min(max(end, first), last)
    return start, len(range(start, end, step)), step


def padded(node: Node, x: Tensor, before: Sequence[int], after: Sequence[int], value: Any) -> Tensor:
    """Returns a tensor with borders of a constant, or of a scalar tensor. Negative borders crop."""
    if not any(before) and not any(after):
        return x
    x = _cropped(node, x, before, after)
    low, high = [max(n, 0) for n in before], [max(n, 0) for n in after]
    shape = [a + size + b for a, size, b in zip(low, x.shape, high, strict=True)]
    if not any(low) and not any(high):
        return x
    scalar = converted(node, value, x.dtype) if isinstance(value, Tensor) else Tensor.constant(np.array(value, x.dtype))
    if 0 in x.shape:
        return expanded(node, reshaped(node, scalar, ()), tuple(shape))

    def compute(data: Any, *fill: Any) -> Any:
        edge = fill[0]() if fill else literal(scalar.array.item(), x.dtype)  # type: ignore[union-attr]

        def element(*index: Expr) -> Expr:
            inside = [
                condition
                for i, a, size, b in zip(index, low, x.shape, high, strict=True)
                for condition in [i >= a] * (a > 0) + [i < a + size] * (b > 0)
            ]
            source = data(*(i - a for i, a in zip(index, low, strict=True)))
            return tirx.if_then_else(tirx.all(*inside), source, edge)

        return te.compute(tuple(shape), element, name="pad")

    known = scalar.array is not None
    return node.computed(compute, x, *([] if known else [reshaped(node, scalar, ())]))


def _cropped(node: Node, x: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """Returns a tensor without what negative borders remove."""
    kept = {
        axis: (max(-low, 0), max(size - max(-low, 0) - max(-high, 0), 0), 1)
        for axis, (size, low, high) in enumerate(zip(x.shape, before, after, strict=True))
    }
    return sliced(node, x, kept)


def mirrored(place: np.ndarray, size: int, mode: str) -> np.ndarray:
    """Returns the index whose element numpy.pad puts at a place; of ``reflect``, by less than ``size`` outside."""
    if mode == "edge":
        return np.clip(place, 0, size - 1)
    if mode == "wrap":
        return place % size
    place = np.abs(place)
    return np.minimum(place, 2 * (size - 1) - place)


def gathered_axes(node: Node, x: Tensor, tables: Mapping[int, np.ndarray]) -> Tensor:
    """Returns the elements at constant indices of some axes."""
    shape = [len(tables[axis]) if axis in tables else size for axis, size in enumerate(x.shape)]
    constants = [Tensor.constant(table.astype(np.int64)) for table in tables.values()]

    def compute(data: Any, *indices: Any) -> Any:
        by_axis = dict(zip(tables, indices, strict=True))

        def element(*index: Expr) -> Expr:
            return data(*(by_axis[axis](i) if axis in by_axis else i for axis, i in enumerate(index)))

        return te.compute(tuple(shape), element, name=node.op.lower())

    return node.computed(compute, x, *constants)


def _pad(node: Node) -> Tensor:
    x, mode = node.x, node.attribute("mode", "constant")
    pads = node.ints("pads", 1) or node.ints("paddings")
    if pads is None:
        raise Unsupported("pads are missing")
    axes = checked_axes(node.ints("axes", 3) or list(range(x.rank)), x.rank)
    if len(pads) != 2 * len(axes):
        raise Unsupported(f"there are {len(pads)} pads for {len(axes)} axes")
    before, after = [0] * x.rank, [0] * x.rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[place + len(axes)]
    if any(size + low + high < 0 for size, low, high in zip(x.shape, before, after, strict=True)):
        raise Unsupported(f"pads {pads} remove more than there is")
    if mode == "constant":
        value = node.optional(2) if node.has(2) else node.attribute("value", 0.0)
        return padded(node, x, before, after, value)
    if mode not in ("reflect", "edge", "wrap"):
        raise Unsupported(f"mode is {mode!r}; it must be constant, reflect, edge or wrap")
    x = _cropped(node, x, before, after)
    before, after = [max(n, 0) for n in before], [max(n, 0) for n in after]
    tables = {}
    for axis, (size, low, high) in enumerate(zip(x.shape, before, after, strict=True)):
        if not low and not high:
            continue
        if size == 0:
            raise Unsupported(f"axis {axis} is empty, so {mode} has nothing to repeat")
        if mode == "reflect" and max(low, high) >= size:
            raise Unsupported(
                f"reflect pads axis {axis} by {max(low, high)}, but its size is {size}; at most {size - 1} is possible"
            )
        tables[axis] = mirrored(np.arange(-low, size + high), size, mode)
    return gathered_axes(node, x, tables) if tables else x


def _depth_to_space(node: Node) -> Tensor:
    n, c, h, w = _image(node)
    block = int(node.attribute("blocksize", 1))
    if block < 1 or c % (block * block):
        raise Unsupported(f"{c} channels cannot be divided into blocks of {block} x {block}")
    depth = c // block**2
    if node.attribute("mode", "DCR") == "CRD":
        shape, perm = (n, depth, block, block, h, w), (0, 1, 4, 2, 5, 3)
    else:
        shape, perm = (n, block, block, depth, h, w), (0, 3, 4, 1, 5, 2)
    return _rearranged(node, shape, perm, (n, depth, h * block, w * block))


def _space_to_depth(node: Node) -> Tensor:
    n, c, h, w = _image(node)
    block = int(node.attribute("blocksize", 1))
    if block < 1 or h % block or w % block:
        raise Unsupported(f"an image of {h} x {w} cannot be divided into blocks of {block} x {block}")
    shape = (n, c, h // block, block, w // block, block)
    if node.attribute("mode", "DCR") == "CRD":
        perm: Shape = (0, 1, 3, 5, 2, 4)
    else:
        perm = (0, 3, 5, 1, 2, 4)
    return _rearranged(node, shape, perm, (n, c * block**2, h // block, w // block))


def _image(node: Node) -> Shape:
    if node.x.rank != 4:
        raise Unsupported(f"the data have {node.x.rank} dimensions; they must have 4")
    return node.x.shape


def _rearranged(node: Node, shape: Shape, perm: Shape, result: Shape) -> Tensor:
    return reshaped(node, transposed(node, reshaped(node, node.x, shape), perm), result)


def _reverse_sequence(node: Node) -> Tensor:
    x, lengths = node.input(0), node.input(1)
    batch_axis, time_axis = int(node.attribute("batch_axis", 1)), int(node.attribute("time_axis", 0))
    if {batch_axis, time_axis} != {0, 1} or x.rank < 2:
        raise Unsupported("batch_axis and time_axis must be 0 and 1")
    if lengths.shape != (x.shape[batch_axis],):
        raise Unsupported(f"sequence_lens of shape {lengths.shape} do not fit a batch of {x.shape[batch_axis]}")
    if 0 in x.shape:
        return x
    lengths = checked(node, without_negative(node, lengths), [x.shape[time_axis] + 1])

    def compute(data: Any, given: Any) -> Any:
        def element(*index: Expr) -> Expr:
            length = given(index[batch_axis]).astype("int64")
            place = index[time_axis].astype("int64")
            source = list(index)
            source[time_axis] = tirx.Select(place < length, length - 1 - place, place)
            return data(*source)

        return te.compute(x.shape, element, name="reverse")

    return node.computed(compute, x, lengths)


def _trilu(node: Node) -> Tensor:
    x, upper = node.x, node.attribute("upper", 1)
    if x.rank < 2:
        raise Unsupported("the data must have 2 dimensions or more")
    if node.has(1) and node.input(1).array is None:
        diagonal: Any = reshaped(node, node.input(1), ())
    else:
        known = node.known(1, "k")
        diagonal = 0 if known is None else int(known.item())

    def compute(data: Any, *given: Any) -> Any:
        k = given[0]() if given else literal(diagonal, "int64")

        def element(*index: Expr) -> Expr:
            offset = index[-1].astype("int64") - index[-2].astype("int64")
            kept = offset >= k if upper else offset <= k
            return tirx.Select(kept, data(*index), literal(0, x.dtype))

        return te.compute(x.shape, element, name="trilu")

    return node.computed(compute, x, *([diagonal] if isinstance(diagonal, Tensor) else []))


def _eye_like(node: Node) -> Tensor:
    rows, columns = node.x.shape
    dtype = named(int(node.attributes["dtype"])) if "dtype" in node.attributes else node.x.dtype
    return Tensor.constant(np.eye(rows, columns, int(node.attribute("k", 0)), np.dtype(dtype)))


def _shape(node: Node) -> Tensor:
    rank = node.x.rank
    start, end = int(node.attribute("start", 0)), int(node.attribute("end", rank))
    return Tensor.constant(np.array(node.x.shape[slice(start, end)], np.int64))


def _constant_of_shape(node: Node) -> Tensor:
    value = np.asarray(node.attribute("value", np.zeros(1, np.float32)))
    sizes = node.known(0, "the shape")
    return Tensor.constant(np.full([int(n) for n in sizes], value.reshape(-1)[0], value.dtype))  # type: ignore[union-attr]


def _constant(node: Node) -> Tensor:
    forms = {"value": None, "value_float": "float32", "value_floats": "float32", "value_int": "int64"}
    forms["value_ints"] = "int64"
    for form, dtype in forms.items():
        if form in node.attributes:
            return Tensor.constant(np.asarray(node.attributes[form], dtype))
    raise Unsupported(f"a constant of the form {', '.join(node.attributes)} is not supported")


def _range(node: Node) -> Tensor:
    start, limit, delta = (node.known(i, what) for i, what in enumerate(("start", "limit", "delta")))
    if delta.item() == 0:  # type: ignore[union-attr]
        raise Unsupported("delta is zero")
    count = max(int(np.ceil((limit.item() - start.item()) / delta.item())), 0)  # type: ignore[union-attr]
    return Tensor.constant((start.item() + np.arange(count) * delta.item()).astype(start.dtype))  # type: ignore[union-attr]


def _dropout(node: Node) -> list[Tensor | None]:
    training = node.known(2, "training_mode")
    ratio = node.known(1, "ratio")
    if training is not None and training.any() and (ratio is None or ratio.item() != 0):
        raise Unsupported("training mode draws random numbers")
    mask: Tensor | None = None
    if len(node.outputs) > 1 and node.outputs[1]:
        mask = Tensor.constant(np.ones(node.x.shape, "bool" if node.opset >= 10 else node.x.dtype))
    return [node.x, mask]


CONVERTERS: Mapping[str, Converter] = {
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Flatten": _flatten,
    "Identity": lambda node: node.x,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "Shape": _shape,
    "Size": lambda node: Tensor.constant(np.array(node.x.size, np.int64)),
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
