"""Softmax and normalizations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from compiler.tvm_backend.operators.binary import reshaped
from compiler.tvm_backend.operators.cast import converted, widened
from compiler.tvm_backend.operators.elements import literal, power, read, require_broadcast
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Shape, Tensor, Unsupported, checked_axes
from compiler.tvm_backend.operators.reductions import at_axes, kept, over, place_of_extreme, working_dtype

_SOFTMAX_OPSET = 13  # before, Softmax flattens the axes from ``axis`` on into one


def _along_axis(function: Callable[[Node, Tensor, int], Tensor]) -> Converter:
    """A function along an axis, in the data's own shape or, in old opsets, in a matrix."""

    def convert(node: Node) -> Tensor:
        x = node.x
        if x.rank == 0:
            x = reshaped(node, x, (1,))
        axis = node.axis(-1 if node.opset >= _SOFTMAX_OPSET else 1 if x.rank > 1 else 0, x.rank)
        wide = widened(node, x)
        if node.opset < _SOFTMAX_OPSET:
            wide, axis = reshaped(node, wide, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))), 1
        result = wide if 0 in wide.shape else function(node, wide, axis)
        return converted(node, reshaped(node, result, node.x.shape), node.x.dtype)

    return convert


def _hardmax(node: Node, x: Tensor, axis: int) -> Tensor:
    def compute(data: Any) -> Any:
        place = place_of_extreme(data, axis, largest=True, last=False)

        def element(*index: Expr) -> Expr:
            chosen = place(*at_axes(index, [axis]))
            return tirx.Select(tirx.EQ(chosen, index[axis].astype("int64")), literal(1, x.dtype), literal(0, x.dtype))

        return te.compute(x.shape, element, name="hardmax")

    return node.computed(compute, x)


def _statistics(data: Any, shape: Shape, axes: Sequence[int], dtype: str) -> tuple[Any, Any]:
    """Returns tensor expressions of the mean and the variance over axes, of size 1 there.

    The variance is a second sum, over the deviations: E[x^2] - E[x]^2 would cancel.
    """
    count = literal(math.prod(shape[axis] for axis in axes), dtype)
    total: Any = over(shape, axes, te.sum, lambda *i: data(*i).astype(dtype), "total")
    mean: Any = te.compute(total.shape, lambda *i: tirx.div(total(*i), count), name="mean")

    def squared(*index: Expr) -> Expr:
        deviation = data(*index).astype(dtype) - mean(*at_axes(index, axes))
        return deviation * deviation

    squares: Any = over(shape, axes, te.sum, squared, "squares")
    return mean, te.compute(squares.shape, lambda *i: tirx.div(squares(*i), count), name="variance")


def _standardized(
    node: Node, x: Tensor, axes: Sequence[int], epsilon: float, scale: Tensor | None, bias: Tensor | None
) -> list[Tensor]:
    """Returns ``(x - mean) / sqrt(variance + epsilon) * scale + bias``, the mean, and the inverse deviation.

    Scale and bias are broadcast to the data.
    """
    wide = working_dtype(x.dtype)
    for parameter in (scale, bias):
        if parameter is not None:
            require_broadcast(parameter, x, "a parameter")

    def compute(data: Any, *parameters: Any) -> Any:
        given = iter(parameters)
        factor, offset = (next(given) if tensor is not None else None for tensor in (scale, bias))
        mean, variance = _statistics(data, x.shape, axes, wide)
        inverse: Any = te.compute(
            variance.shape,
            lambda *i: tirx.div(literal(1, wide), tirx.sqrt(variance(*i) + literal(epsilon, wide))),
            name="inverse",
        )

        def element(*index: Expr) -> Expr:
            place = at_axes(index, axes)
            y = (data(*index).astype(wide) - mean(*place)) * inverse(*place)
            y = y if factor is None else y * read(factor, index).astype(wide)
            y = y if offset is None else y + read(offset, index).astype(wide)
            return y.astype(x.dtype)

        return [te.compute(x.shape, element, name="normalized"), mean, inverse]

    return node.computed(compute, x, *(tensor for tensor in (scale, bias) if tensor is not None))


def _per_channel(node: Node, parameter: Tensor, x: Tensor) -> Tensor:
    """Returns a parameter of one element per channel, which is axis 1, in a shape that is broadcast to the data.

    Raises:
        Unsupported: it has another number of elements.
    """
    if x.rank < 2 or parameter.shape != (x.shape[1],):
        raise Unsupported(
            f"a parameter of shape {parameter.shape} does not fit the channels of data of shape {x.shape}"
        )
    return reshaped(node, parameter, (parameter.size, *(1,) * (x.rank - 2)))


def _batch_norm(node: Node) -> list[Tensor | None]:
    x = node.x
    scale, bias, mean, variance = (node.input(i) for i in range(1, 5))
    epsilon = float(node.attribute("epsilon", 1e-5))
    trains = bool(node.attribute("training_mode", 0))
    extra = any(node.outputs[1:])
    if node.opset < 9 and not node.attribute("spatial", 1):
        raise Unsupported("spatial=0 is not supported")
    if extra and not trains:
        raise Unsupported("statistics are computed in training mode of opset 14 and later only")
    if x.rank < 2:
        raise Unsupported("the data must have 2 dimensions or more")
    if 0 in x.shape:
        return [x, *([mean, variance] if extra else [])]
    if trains:
        return _trained(node, epsilon)
    wide = working_dtype(x.dtype)
    factor, offset = (_per_channel(node, p, x) for p in (scale, bias))
    center, spread = (_per_channel(node, p, x) for p in (mean, variance))

    def compute(*tensors: Any) -> Any:
        def element(*index: Expr) -> Expr:
            data, a, b, m, v = (read(t, index).astype(wide) for t in tensors)
            return ((data - m) * tirx.div(a, tirx.sqrt(v + literal(epsilon, wide))) + b).astype(x.dtype)

        return te.compute(x.shape, element, name="batch_norm")

    return [node.computed(compute, x, factor, offset, center, spread)]


def _trained(node: Node, epsilon: float) -> list[Tensor | None]:
    """Normalizes with the statistics of the batch, and updates the running ones, as in training."""
    x = node.x
    scale, bias, mean, variance = (_per_channel(node, node.input(i), x) for i in range(1, 5))
    momentum = float(node.attribute("momentum", 0.9))
    axes = [axis for axis in range(x.rank) if axis != 1]
    wide = working_dtype(x.dtype)

    def compute(data: Any, *running: Any) -> Any:
        of_batch = _statistics(data, x.shape, axes, wide)

        def updated(old: Any, new: Any) -> Any:
            def element(channel: Expr) -> Expr:
                place = [channel if axis == 1 else 0 for axis in range(x.rank)]
                before = old(channel, *(0,) * (x.rank - 2)).astype(wide) * literal(momentum, wide)
                return (before + new(*place) * literal(1 - momentum, wide)).astype(str(old.dtype))

            return te.compute((x.shape[1],), element, name="running")

        return [updated(old, new) for old, new in zip(running, of_batch, strict=True)]

    computed = node.computed(compute, x, mean, variance) if any(node.outputs[1:]) else []
    return [_standardized(node, x, axes, epsilon, scale, bias)[0], *computed]


def _instance_norm(node: Node) -> Tensor:
    x = node.x
    if 0 in x.shape:
        return x
    scale, bias = (_per_channel(node, node.input(i), x) for i in (1, 2))
    return _standardized(node, x, range(2, x.rank), float(node.attribute("epsilon", 1e-5)), scale, bias)[0]


def _layer_norm(node: Node) -> list[Tensor]:
    x, axis = node.x, node.axis(-1)
    axes = list(range(axis, x.rank))
    epsilon = float(node.attribute("epsilon", 1e-5))
    if 0 in x.shape:
        statistic = Tensor.constant(np.zeros(kept(x.shape, axes), working_dtype(x.dtype)))
        return [x, statistic, statistic]
    y, *computed = _standardized(node, x, axes, epsilon, node.input(1), node.optional(2))
    if node.attribute("stash_type", 1) == 1:
        computed = [converted(node, statistic, "float32") for statistic in computed]
    return [y, *computed]


def _group_norm(node: Node) -> Tensor:
    """Scale and bias have one element per group in opset 18, and one per channel since 21."""
    x, groups = node.x, int(node.attributes["num_groups"])
    channels = x.shape[1]
    if groups < 1 or channels % groups:
        raise Unsupported(f"{channels} channels cannot be divided into {groups} groups")
    if 0 in x.shape:
        return x
    shape = (x.shape[0], groups, channels // groups, *x.shape[2:])
    grouped = reshaped(node, x, shape)
    parameters = []
    for index in (1, 2):
        parameter = node.input(index)
        per_group = parameter.size == groups and node.opset < 21
        sizes = (groups, 1) if per_group else (groups, channels // groups)
        parameters.append(reshaped(node, parameter, (*sizes, *(1,) * (x.rank - 2))))
    epsilon = float(node.attribute("epsilon", 1e-5))
    return reshaped(node, _standardized(node, grouped, range(2, len(shape)), epsilon, *parameters)[0], x.shape)


def _mean_variance_norm(node: Node) -> Tensor:
    if 0 in node.x.shape:
        return node.x
    axes = checked_axes(node.ints("axes") or [0, 2, 3], node.x.rank)
    return _standardized(node, node.x, axes, 1e-9, None, None)[0]


def _root_mean_square_norm(node: Node) -> Tensor:
    x, scale, axis = node.x, node.input(1), node.axis(-1)
    if 0 in x.shape:
        return x
    require_broadcast(scale, x, "the scale")
    axes, wide = list(range(axis, x.rank)), working_dtype(x.dtype)
    epsilon = float(node.attribute("epsilon", 1e-5))
    count = literal(math.prod(x.shape[axis:]), wide)

    def compute(data: Any, factor: Any) -> Any:
        squares: Any = over(x.shape, axes, te.sum, lambda *i: data(*i).astype(wide) * data(*i).astype(wide), "squares")
        root: Any = te.compute(
            squares.shape, lambda *i: tirx.sqrt(tirx.div(squares(*i), count) + literal(epsilon, wide)), name="deviation"
        )

        def element(*index: Expr) -> Expr:
            y = tirx.div(data(*index).astype(wide), root(*at_axes(index, axes)))
            return (y * read(factor, index).astype(wide)).astype(x.dtype)

        return te.compute(x.shape, element, name="normalized")

    return node.computed(compute, x, scale)


def _lp_norm(node: Node) -> Tensor:
    x, axis, p = node.x, node.axis(-1), int(node.attribute("p", 2))
    if p not in (1, 2):
        raise Unsupported(f"p is {p}; it must be 1 or 2")
    if 0 in x.shape:
        return x
    wide = working_dtype(x.dtype)

    def compute(data: Any) -> Any:
        def term(*index: Expr) -> Expr:
            value = data(*index).astype(wide)
            return value * value if p == 2 else tirx.abs(value)

        total: Any = over(x.shape, [axis], te.sum, term, "total")

        def element(*index: Expr) -> Expr:
            norm = total(*at_axes(index, [axis]))
            norm = tirx.sqrt(norm) if p == 2 else norm
            divisor = tirx.Select(tirx.EQ(norm, literal(0, wide)), literal(1, wide), norm)
            return tirx.div(data(*index).astype(wide), divisor).astype(x.dtype)

        return te.compute(x.shape, element, name="lp_norm")

    return node.computed(compute, x)


def _lrn(node: Node) -> Tensor:
    x, size = node.x, int(node.attributes["size"])
    alpha, beta, bias = (float(node.attribute(*pair)) for pair in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    if 0 in x.shape:
        return x
    before, channels, wide = (size - 1) // 2, x.shape[1], working_dtype(x.dtype)

    def compute(data: Any) -> Any:
        place = te.reduce_axis((0, size), name="k")

        def square(*index: Expr) -> Expr:
            channel = index[1] + place.var - before
            inside = tirx.all(channel >= 0, channel < channels)
            value = data(index[0], channel, *index[2:]).astype(wide)
            return te.sum(tirx.if_then_else(inside, value * value, literal(0, wide)), axis=place)

        squares: Any = te.compute(x.shape, square, name="squares")

        def element(*index: Expr) -> Expr:
            norm = power(literal(bias, wide) + literal(alpha / size, wide) * squares(*index), literal(beta, wide))
            return tirx.div(data(*index).astype(wide), norm).astype(x.dtype)

        return te.compute(x.shape, element, name="lrn")

    return node.computed(compute, x)


CONVERTERS: Mapping[str, Converter] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "Hardmax": _along_axis(_hardmax),
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _along_axis(lambda node, x, axis: node.emitted(relax.op.nn.log_softmax(x.expr, axis))),
    "LpNormalization": _lp_norm,
    "MeanVarianceNormalization": _mean_variance_norm,
    "RMSNormalization": _root_mean_square_norm,
    "Softmax": _along_axis(lambda node, x, axis: node.emitted(relax.op.nn.softmax(x.expr, axis))),
}
