"""Operators that read or write at indices from data. An index out of range is an error that names the node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import StringImm

from compiler.tvm_backend.operators.binary import reshaped
from compiler.tvm_backend.operators.cast import converted, widened
from compiler.tvm_backend.operators.checked_indices import checked, without_negative
from compiler.tvm_backend.operators.elements import literal
from compiler.tvm_backend.operators.movement import expanded
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Tensor, Unsupported, checked_axis, tensor_type

_REDUCTIONS = ("none", "add", "mul", "max", "min")


def gathered(node: Node, x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Returns the elements of ``x`` at ``indices`` of an axis, which the axes of ``indices`` replace."""
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    places = checked(node, indices, [x.shape[axis]])
    if x.array is not None and places.array is not None:
        return Tensor.constant(np.take(x.array, places.array, axis))
    if 0 in shape:
        return Tensor.constant(np.zeros(shape, x.dtype))
    last = axis + indices.rank

    def compute(data: Any, at: Any) -> Any:
        return te.compute(
            shape, lambda *i: data(*i[:axis], at(*i[axis:last]).astype("int64"), *i[last:]), name="gather"
        )

    return node.computed(compute, x, places)


def _gather(node: Node) -> Tensor:
    return gathered(node, node.x, node.input(1), node.axis(0))


def _gather_elements(node: Node) -> Tensor:
    x, indices, axis = node.x, node.input(1), node.axis(0)
    _check_element_shapes(x, indices, axis)
    if 0 in indices.shape:
        return Tensor.constant(np.zeros(indices.shape, x.dtype))
    rows = _of_rows(node, indices, axis)
    places = checked(node, indices if rows is None else rows, [x.shape[axis]])
    rank = places.rank

    def compute(data: Any, at: Any) -> Any:
        return te.compute(
            indices.shape, lambda *i: data(*i[:axis], at(*i[:rank]).astype("int64"), *i[axis + 1 :]), name="gather"
        )

    return node.computed(compute, x, places)


def _of_rows(node: Node, indices: Tensor, axis: int) -> Tensor | None:
    """Returns one index for each row, without the axes behind ``axis``; None if the indices of a row may differ."""
    shape = indices.shape[: axis + 1]
    if len(shape) == indices.rank:
        return None
    if indices.array is not None:
        first = indices.array.reshape(*shape, -1)[..., :1]
        same = (indices.array.reshape(*shape, -1) == first).all()
        return Tensor.constant(first.reshape(shape)) if same else None
    if indices.repeated is None:
        return None
    sizes = (*(1,) * (indices.rank - indices.repeated.rank), *indices.repeated.shape)
    if any(size != 1 for size in sizes[axis + 1 :]):
        return None
    return expanded(node, reshaped(node, indices.repeated, sizes[: axis + 1]), shape)


def _check_element_shapes(x: Tensor, indices: Tensor, axis: int) -> None:
    fits = indices.rank == x.rank and all(
        n <= size for a, (n, size) in enumerate(zip(indices.shape, x.shape, strict=True)) if a != axis
    )
    if not fits:
        raise Unsupported(f"indices of shape {indices.shape} are larger than the data of shape {x.shape}")


def _gather_nd(node: Node) -> Tensor:
    x, indices, batch = node.x, node.input(1), int(node.attribute("batch_dims", 0))
    depth = indices.shape[-1] if indices.rank else 0
    if not 0 <= batch < min(x.rank, indices.rank) or not batch + depth <= x.rank:
        raise Unsupported(f"batch_dims {batch} and {depth} indices do not fit {x.rank} dimensions")
    if x.shape[:batch] != indices.shape[:batch]:
        raise Unsupported(f"the batches of {x.shape} and {indices.shape} differ")
    places = checked(node, indices, x.shape[batch : batch + depth]) if depth else indices
    outer = indices.shape[:-1]
    shape = (*outer, *x.shape[batch + depth :])
    if 0 in shape:
        return Tensor.constant(np.zeros(shape, x.dtype))

    def compute(data: Any, at: Any) -> Any:
        def element(*i: Expr) -> Expr:
            chosen = [at(*i[: len(outer)], k).astype("int64") for k in range(depth)]
            return data(*i[:batch], *chosen, *i[len(outer) :])

        return te.compute(shape or (1,), element if shape else lambda _i: element(), name="gather")

    return reshaped(node, node.computed(compute, x, places), shape)


def _reduction(node: Node) -> str:
    reduction = node.attribute("reduction", "none")
    if reduction not in _REDUCTIONS:
        raise Unsupported(f"reduction is {reduction!r}; it must be one of {', '.join(_REDUCTIONS)}")
    return reduction


def scattered(node: Node, x: Tensor, indices: Tensor, updates: Tensor, axis: int, reduction: str) -> Tensor:
    """Returns ``x`` with ``updates`` combined into the places that ``indices`` name along an axis."""
    if indices.shape != updates.shape:
        raise Unsupported(f"indices of shape {indices.shape} and updates of shape {updates.shape} differ")
    _check_element_shapes(x, indices, axis)
    if not indices.size:
        return x
    if x.shape[axis + 1 :] == updates.shape[axis + 1 :] and x.shape[:axis] == updates.shape[:axis]:
        rows = _of_rows(node, indices, axis)
        indices = indices if rows is None else rows
    return _scatter(
        node, "scatter_elements", x, indices, updates, (relax.prim_value(axis),), reduction, [x.shape[axis]]
    )


def _scatter(
    node: Node,
    function: str,
    x: Tensor,
    indices: Tensor,
    updates: Tensor,
    arguments: tuple[Any, ...],
    reduction: str,
    limits: Sequence[int],
) -> Tensor:
    dtype = x.dtype
    x, updates = widened(node, x), widened(node, updates)
    # Checked apart from the loop that writes, so that this one has no way to fail half-way.
    places = converted(node, checked(node, indices, limits), "int64")
    written = node.called(f"loopwright.{function}", [x, places, updates, *arguments, StringImm(reduction)], x)
    return converted(node, written, dtype)


def _scatter_elements(node: Node) -> Tensor:
    return scattered(node, node.x, node.input(1), node.input(2), node.axis(0), _reduction(node))


def _scatter_nd(node: Node) -> Tensor:
    x, indices, updates = node.x, node.input(1), node.input(2)
    depth = indices.shape[-1] if indices.rank else 0
    if not 1 <= depth <= x.rank or updates.shape != (*indices.shape[:-1], *x.shape[depth:]):
        raise Unsupported(f"indices of shape {indices.shape} and updates of shape {updates.shape} do not fit {x.shape}")
    if not updates.size:
        return x
    return _scatter(node, "scatter_nd", x, indices, updates, (), _reduction(node), x.shape[:depth])


def _max_unpool(node: Node) -> Tensor:
    """Puts the elements back into the places that MaxPool's second output has named, in an image of zeros."""
    x, indices = node.x, node.input(1)
    kernel = node.ints("kernel_shape") or []
    strides = node.ints("strides") or [1] * len(kernel)
    pads = node.ints("pads") or [0] * 2 * len(kernel)
    if x.rank - 2 != len(kernel) or len(strides) != len(kernel) or len(pads) != 2 * len(kernel):
        raise Unsupported(f"kernel_shape, strides and pads do not fit {x.rank - 2} axes of an image")
    inferred = [
        (size - 1) * stride + k - before - after
        for size, stride, k, before, after in zip(
            x.shape[2:], strides, kernel, pads[: len(kernel)], pads[len(kernel) :], strict=True
        )
    ]
    if min(inferred, default=1) < 1:
        raise Unsupported(f"kernel_shape, strides and pads give an image of {inferred}")
    given = node.ints("output_shape", 2)
    shape = (*x.shape[:2], *inferred) if given is None else tuple(given)
    zeros = Tensor.constant(np.zeros(prod(shape), x.dtype))
    places = indices
    if given is not None and tuple(inferred) != shape[2:]:
        # The indices count in the image that was pooled; its size is the inferred one.
        places = _renumbered(node, indices, (*x.shape[:2], *inferred), shape)
    flat = [reshaped(node, tensor, (x.size,)) for tensor in (without_negative(node, places), x)]
    return reshaped(node, scattered(node, zeros, flat[0], flat[1], 0, "none"), shape)


def _renumbered(node: Node, indices: Tensor, source: Sequence[int], target: Sequence[int]) -> Tensor:
    """Converts flat indices of one shape into those of a larger one."""

    def compute(at: Any) -> Any:
        def element(*i: Expr) -> Expr:
            rest, strides, result = at(*i), 1, literal(0, "int64")
            for own, other in zip(reversed(source), reversed(target), strict=True):
                result = result + tirx.truncmod(rest, literal(own, "int64")) * literal(strides, "int64")
                rest = tirx.truncdiv(rest, literal(own, "int64"))
                strides *= other
            return result

        return te.compute(indices.shape, element, name="renumber")

    return node.computed(compute, checked(node, without_negative(node, indices), [prod(source)]))


def _one_hot(node: Node) -> Tensor:
    """Indices from -depth to -1 count from the end; others out of range are "off" everywhere."""
    indices, depth, values = node.input(0), node.known(1, "depth"), node.input(2)
    size = int(depth.reshape(-1)[0])  # type: ignore[union-attr]
    if size < 0 or values.shape != (2,):
        raise Unsupported("depth must not be negative, and values must be two numbers")
    axis = checked_axis(int(node.attribute("axis", -1)), indices.rank + 1)
    shape = (*indices.shape[:axis], size, *indices.shape[axis:])

    def compute(at: Any, choices: Any) -> Any:
        def element(*i: Expr) -> Expr:
            index = at(*i[:axis], *i[axis + 1 :]).astype("int64")
            wrapped = tirx.Select(index < literal(0, "int64"), index + literal(size, "int64"), index)
            return tirx.Select(tirx.EQ(wrapped, i[axis].astype("int64")), choices(1), choices(0))

        return te.compute(shape, element, name="one_hot")

    return node.computed(compute, indices, values)


def _top_k(node: Node) -> list[Tensor]:
    x = node.x
    axis = checked_axis(int(node.attribute("axis", -1)), x.rank)
    count = node.ints("k", 1)
    size = count[0] if count else 0
    if not 0 <= size <= x.shape[axis]:
        raise Unsupported(f"k is {size}; an axis of size {x.shape[axis]} has from 0 to {x.shape[axis]} elements")
    shape = tuple(size if a == axis else n for a, n in enumerate(x.shape))
    if 0 in shape:
        return [Tensor.constant(np.zeros(shape, x.dtype)), Tensor.constant(np.zeros(shape, np.int64))]
    dtype = x.dtype
    x = widened(node, x)
    out = [tensor_type(shape, x.dtype), tensor_type(shape, "int64")]
    arguments = [x.expr, relax.prim_value(axis), relax.prim_value(int(bool(node.attribute("largest", 1))))]
    call = node.builder.emit(relax.call_dps_packed("loopwright.top_k", relax.Tuple(arguments), out))
    values, indices = (Tensor.of(node.builder.emit(relax.TupleGetItem(call, i))) for i in (0, 1))
    return [converted(node, values, dtype), indices]


def _cumulative(function: str) -> Converter:
    def convert(node: Node) -> Tensor:
        x = node.x
        axis = checked_axis(int(node.known(1, "axis").item()), x.rank)  # type: ignore[union-attr]
        if not x.size:
            return x
        wide = widened(node, x)
        flags = [int(bool(node.attribute(name, 0))) for name in ("exclusive", "reverse")]
        numbers = [relax.prim_value(number) for number in (axis, *flags)]
        return converted(node, node.called(f"loopwright.{function}", [wide, *numbers], wide), x.dtype)

    return convert


CONVERTERS: Mapping[str, Converter] = {
    "CumProd": _cumulative("cumulative_product"),
    "CumSum": _cumulative("cumulative_sum"),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "MaxUnpool": _max_unpool,
    "OneHot": _one_hot,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
}
