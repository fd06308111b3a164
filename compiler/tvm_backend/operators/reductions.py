"""Reductions over axes: sums, extremes, norms, and the places of extremes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm_ffi
from tvm import te, tirx

from compiler.tvm_backend.operators.binary import reshaped
from compiler.tvm_backend.operators.elements import NARROW, dtype_of, is_nan, literal, maximum, minimum
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Shape, Tensor, Unsupported, checked_axes

_register = tvm_ffi.get_global_func("s_tir.schedule.RegisterReducer")


def lowest(dtype: str) -> float | int:
    return -math.inf if "float" in dtype else int(np.iinfo(dtype).min)


def highest(dtype: str) -> float | int:
    return math.inf if "float" in dtype else int(np.iinfo(dtype).max)


def _kept(function: Callable[..., Any]) -> Any:
    """Returns a function of TVM that is never freed: TVM's table of reducers outlives the interpreter."""
    made = tvm_ffi.convert(function)
    tvm_ffi.LIB.TVMFFIObjectIncRef(made.__ctypes_handle__())
    return made


def _reducer(combine: Callable[[Expr, Expr], Expr], start: Callable[[str], float | int], name: str) -> Any:
    """Returns a reducer that TVM's schedules may split into parts, such as the lanes of a vector."""

    def identity(dtype: Any) -> Expr:
        return literal(start(str(dtype)), str(dtype))

    functions = (lambda a, b: [combine(a[0], b[0])]), (lambda values: [identity(dtype_of(values[0]))])
    _register(1, *map(_kept, functions))
    return te.comm_reducer(combine, identity, name=name)


# Unlike TVM's max and min, these start from infinity and propagate NaN.
max_of: Any = _reducer(maximum, lowest, "max_of")
min_of: Any = _reducer(minimum, highest, "min_of")
product_of: Any = te.comm_reducer(lambda a, b: a * b, lambda dtype: literal(1, str(dtype)), name="product_of")


def over(shape: Shape, axes: Sequence[int], reducer: Any, element: Callable[..., Expr], name: str = "reduced") -> Any:
    """Returns a tensor expression of ``shape`` with size 1 in the reduced axes."""
    places = {axis: te.reduce_axis((0, shape[axis]), name=f"k{axis}") for axis in axes}

    def total(*index: Expr) -> Expr:
        source = [places[axis].var if axis in places else i for axis, i in enumerate(index)]
        return reducer(element(*source), axis=list(places.values())) if places else element(*source)

    return te.compute(kept(shape, axes), total, name=name)


def at_axes(index: Sequence[Expr], reduced: Sequence[int]) -> list[Expr]:
    """Returns the index in a tensor whose reduced axes have size 1."""
    return [0 if axis in reduced else i for axis, i in enumerate(index)]


def kept(shape: Shape, axes: Sequence[int]) -> Shape:
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


@dataclass(frozen=True)
class _Reduction:
    """A reduction: ``after`` of the sum (product, maximum, ...) of ``before`` of each element.

    Attributes:
        empty: the result over no elements, by the type of the elements.
        in_floats: whether integers are computed in float64.
    """

    reducer: Any
    empty: Callable[[str], float | int]
    before: Callable[[Expr], Expr] = lambda x: x
    after: Callable[[Expr, int], Expr] = lambda total, _count: total
    in_floats: bool = False


def _mean(total: Expr, count: int) -> Expr:
    dtype = dtype_of(total)
    of = literal(count, dtype)
    return tirx.truncdiv(total, of) if "int" in dtype else tirx.div(total, of)


def _zero(_dtype: str) -> int:
    return 0


def _size(x: Expr) -> Expr:
    if "uint" in dtype_of(x):
        return x
    return tirx.Select(x < literal(0, dtype_of(x)), x * literal(-1, dtype_of(x)), x)


_REDUCTIONS: Mapping[str, _Reduction] = {
    "ReduceL1": _Reduction(te.sum, _zero, _size),
    "ReduceL2": _Reduction(te.sum, _zero, lambda x: x * x, lambda total, _n: tirx.sqrt(total), in_floats=True),
    "ReduceLogSum": _Reduction(te.sum, lowest, after=lambda total, _n: tirx.log(total), in_floats=True),
    "ReduceMax": _Reduction(max_of, lowest),
    "ReduceMean": _Reduction(te.sum, lambda dtype: math.nan if "float" in dtype else 0, after=_mean),
    "ReduceMin": _Reduction(min_of, highest),
    "ReduceProd": _Reduction(product_of, lambda _dtype: 1),
    "ReduceSum": _Reduction(te.sum, _zero),
    "ReduceSumSquare": _Reduction(te.sum, _zero, lambda x: x * x),
}


def _reduced_axes(node: Node) -> tuple[list[int], bool]:
    """Returns the axes, and whether they stay with size 1."""
    axes = node.ints("axes", 1)
    keep = bool(node.attribute("keepdims", 1))
    if not axes:
        axes = [] if node.attribute("noop_with_empty_axes", 0) else list(range(node.x.rank))
    return checked_axes(axes, node.x.rank), keep


def _without(node: Node, x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    return x if keep else reshaped(node, x, [size for axis, size in enumerate(x.shape) if axis not in axes])


def working_dtype(dtype: str, in_floats: bool = False) -> str:
    """Returns the type in which elements are summed."""
    if dtype in NARROW:
        return "float32"
    if dtype == "bool":
        return "uint8"
    return "float64" if in_floats and "int" in dtype else dtype


def _reduce(reduction: _Reduction) -> Converter:
    def convert(node: Node) -> Tensor:
        x, (axes, keep) = node.x, _reduced_axes(node)
        count = math.prod(x.shape[axis] for axis in axes)
        if count == 0:
            value = bool(reduction.empty("uint8")) if x.dtype == "bool" else reduction.empty(x.dtype)
            return _without(node, Tensor.constant(np.full(kept(x.shape, axes), value, x.dtype)), axes, keep)
        wide = working_dtype(x.dtype, reduction.in_floats)

        def compute(data: Any) -> Any:
            total = over(x.shape, axes, reduction.reducer, lambda *i: reduction.before(data(*i).astype(wide)))
            return te.compute(
                total.shape,
                lambda *i: reduction.after(total(*i), count).astype(x.dtype),
                name=node.op.lower(),
            )

        return _without(node, node.computed(compute, x), axes, keep)

    return convert


def _log_sum_exp(node: Node) -> Tensor:
    """Subtracts the maximum, so that exp does not overflow; not an infinite one, since inf - inf is NaN."""
    x, (axes, keep) = node.x, _reduced_axes(node)
    if math.prod(x.shape[axis] for axis in axes) == 0:
        return _without(node, Tensor.constant(np.full(kept(x.shape, axes), lowest(x.dtype), x.dtype)), axes, keep)
    wide = working_dtype(x.dtype, in_floats=True)

    def compute(data: Any) -> Any:
        largest = over(x.shape, axes, max_of, lambda *i: data(*i).astype(wide), "largest")

        def shift(*index: Expr) -> Expr:
            value = largest(*at_axes(index, axes))
            return tirx.Select(tirx.abs(value) < literal(math.inf, wide), value, literal(0, wide))

        total = over(x.shape, axes, te.sum, lambda *i: tirx.exp(data(*i).astype(wide) - shift(*i)), "total")

        def result(*index: Expr) -> Expr:
            if x.kind in "iu":  # each term is truncated, as in ONNX Runtime
                return tirx.log(total(*index)).astype(x.dtype) + shift(*index).astype(x.dtype)
            return (tirx.log(total(*index)) + shift(*index)).astype(x.dtype)

        return te.compute(total.shape, result, name="logsumexp")

    return _without(node, node.computed(compute, x), axes, keep)


def place_of_extreme(data: Any, axis: int, largest: bool, last: bool) -> Any:
    """Returns a tensor expression of the index of the first or last largest or smallest element along an axis.

    NaN counts as the largest and as the smallest, as in NumPy. Two reductions, which can be vectorized: the extreme,
    and the place of an element that is equal to it.
    """
    shape = tuple(int(size) for size in data.shape)
    extreme = over(shape, [axis], max_of if largest else min_of, data, "extreme")
    place = te.reduce_axis((0, shape[axis]), name="k")
    beyond = literal(-1 if last else int(np.iinfo("int32").max), "int32")

    def found(*index: Expr) -> Any:
        element = data(*(place.var if a == axis else i for a, i in enumerate(index)))
        same = tirx.EQ(element, extreme(*index))
        if "float" in dtype_of(element):
            same = tirx.Or(same, is_nan(element))
        chosen = tirx.Select(same, place.var.astype("int32"), beyond)
        return te.max(chosen, axis=place) if last else te.min(chosen, axis=place)

    first: Any = te.compute(kept(shape, [axis]), found, name="place")
    return te.compute(first.shape, lambda *i: first(*i).astype("int64"), name="index")


def _arg(largest: bool) -> Converter:
    def convert(node: Node) -> Tensor:
        x, axis = node.x, node.axis(0)
        if x.shape[axis] == 0:
            raise Unsupported(f"axis {axis} is empty, so it has no largest or smallest element")
        wide, last = working_dtype(x.dtype), bool(node.attribute("select_last_index", 0))

        def compute(data: Any) -> Any:
            values = data if wide == x.dtype else te.compute(x.shape, lambda *i: data(*i).astype(wide), name="wide")
            return place_of_extreme(values, axis, largest, last)

        return _without(node, node.computed(compute, x), [axis], bool(node.attribute("keepdims", 1)))

    return convert


CONVERTERS: Mapping[str, Converter] = {
    **{name: _reduce(reduction) for name, reduction in _REDUCTIONS.items()},
    "ArgMax": _arg(largest=True),
    "ArgMin": _arg(largest=False),
    "ReduceLogSumExp": _log_sum_exp,
}
