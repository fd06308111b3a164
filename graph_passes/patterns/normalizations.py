"""Recognizes normalizations in the many forms that exporters write, by their values.

::

    (x - mean(x)) / sqrt(variance(x) + epsilon) * scale + shift     (Ba, Kiros and Hinton, 2016)
    x / sqrt(mean(x²) + epsilon) * scale + shift                    (Zhang and Sennrich, 2019)

The search starts at a reduction of x over some axes and follows operators whose operands are computed from x and from
constants. Each value of the shape of x among them is a function of x. The function is evaluated in float64: its value
at 0 is the shift, large numbers give the scale, and epsilon is a constant that an Add reads. If these numbers predict
the function at other points, its nodes become, in order of preference:

- LayerNormalization over the last axes, or a call of ``loopwright.RMSNormalization`` over the last one,
- InstanceNormalization over all axes but the first two, or between Transposes those of an image with channels last,
- one of the former between Transposes.

A scale or shift along other axes stays as a Mul or Add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.layers import call_function, function
from graph_passes.values import (
    constant,
    data_input,
    graph_of,
    is_op,
    new_constant,
    new_node,
    producer,
    same_graph,
    scalar,
    static_shape,
    supplant,
)

LONGEST = 30  # nodes that follow x
LARGEST = 2**22  # elements of a value that is evaluated
EPSILON = 1e-6  # relative; the constants of a model are rounded to float32
_AXES_AS_INPUT = 18  # the first opset in which axes of a reduction are an input


def _reduced(reduce: Callable[..., np.ndarray]) -> Callable[[ir.Node, list[np.ndarray]], np.ndarray | None]:
    def compute(node: ir.Node, inputs: list[np.ndarray]) -> np.ndarray | None:
        axes = _axes(node, inputs[0].ndim)
        keeps = bool(node.attributes.get_int("keepdims", 1))
        return None if axes is None else reduce(inputs[0], axis=axes, keepdims=keeps)

    return compute


def _elementwise(compute: Callable[..., np.ndarray]) -> Callable[[ir.Node, list[np.ndarray]], np.ndarray | None]:
    return lambda _node, inputs: compute(*inputs)


def _squeezed(node: ir.Node, inputs: list[np.ndarray]) -> np.ndarray | None:
    axes = _axes(node, inputs[0].ndim)
    return None if axes is None else np.squeeze(inputs[0], axes)


def _unsqueezed(node: ir.Node, inputs: list[np.ndarray]) -> np.ndarray | None:
    shape = static_shape(node.outputs[0])
    return None if shape is None else inputs[0].reshape(shape)


def _reshaped(node: ir.Node, inputs: list[np.ndarray]) -> np.ndarray | None:
    shape = static_shape(node.outputs[0])
    return None if shape is None or prod(shape) != inputs[0].size else inputs[0].reshape(shape)


def _expanded(_node: ir.Node, inputs: list[np.ndarray]) -> np.ndarray | None:
    return inputs[0] * np.ones(inputs[1].astype(np.int64).tolist())


_Compute: TypeAlias = "Callable[[ir.Node, list[np.ndarray]], np.ndarray | None]"  # ir is imported on first use
REDUCTIONS: Mapping[str, _Compute] = {
    "ReduceMean": _reduced(np.mean),
    "ReduceSum": _reduced(np.sum),
    "ReduceSumSquare": _reduced(lambda x, **axes: np.sum(x * x, **axes)),
}
OPERATORS: Mapping[str, _Compute] = {
    **REDUCTIONS,
    "Add": _elementwise(np.add),
    "Div": _elementwise(np.divide),
    "Expand": _expanded,
    "Max": _elementwise(np.maximum),
    "Mul": _elementwise(np.multiply),
    "Neg": _elementwise(np.negative),
    "Pow": _elementwise(np.power),
    "Reciprocal": _elementwise(np.reciprocal),
    "Relu": _elementwise(lambda x: np.maximum(x, 0)),
    "Reshape": _reshaped,
    "Sqrt": _elementwise(np.sqrt),
    "Squeeze": _squeezed,
    "Sub": _elementwise(np.subtract),
    "Unsqueeze": _unsqueezed,
}


def fuse_normalizations(model: ir.Model, graph: ir.Graph) -> None:
    """Replaces each normalization in separate operators by one node, and a scale or shift along other axes."""
    for node in list(graph):
        if node.graph is graph and is_op(node, *REDUCTIONS):
            x = _start(node)
            found = None if x is None else _find(node, x)
            if found is not None:
                _replace(model, found)


@dataclass(frozen=True)
class _Kind:
    """A normalization without scale and shift: whether it subtracts the mean."""

    centers: bool

    def of(self, x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
        x = x - x.mean(axes, keepdims=True) if self.centers else x
        return x / np.sqrt((x * x).mean(axes, keepdims=True) + epsilon)


KINDS = (_Kind(True), _Kind(False))


@dataclass(frozen=True)
class _Found:
    """A normalization of ``x`` over ``axes``. Scale and shift have size 1 along axes where they do not vary."""

    x: ir.Value
    axes: tuple[int, ...]
    kind: _Kind
    nodes: list[ir.Node]
    scale: np.ndarray
    shift: np.ndarray
    epsilon: float


def _axes(node: ir.Node, rank: int) -> tuple[int, ...] | None:
    """Returns the axes of a node; None if they are not known, or none are given."""
    given = data_input(node, 1)
    array = constant(given)
    axes = tuple(node.attributes.get_ints("axes", ())) if given is None else ()
    if array is not None:
        axes = tuple(int(axis) for axis in array.reshape(-1))
    return tuple(sorted(axis % rank for axis in axes)) or None


def _start(reduction: ir.Node) -> ir.Value | None:
    """Returns the value that is normalized: the one that the reduction reads, or the one whose square it reads."""
    x = reduction.inputs[0]
    square = producer(x)
    if is_op(square, "Mul") and square is not None and square.inputs[0] is square.inputs[1]:
        return square.inputs[0]
    if is_op(square, "Pow") and square is not None and scalar(square.inputs[1]) == 2:
        return square.inputs[0]
    return x


def _find(reduction: ir.Node, x: ir.Value) -> _Found | None:
    """Returns the longest normalization of x that reads this reduction."""
    shape = static_shape(x)
    if not shape or x.dtype != ir.DataType.FLOAT:
        return None
    axes = _axes(reduction, len(shape))
    if axes is None or prod(shape[axis] for axis in axes) < 2:
        return None
    following = _following(x, reduction)
    if not following:
        return None
    sampled = _sampled(shape, axes, following)
    if not 0 < prod(sampled) <= LARGEST:
        return None
    evaluate = _Evaluation(x, following, sampled)
    epsilons = [
        number for node in following if is_op(node, "Add") for value in node.inputs if (number := _small(value))
    ]
    for node in reversed(following):
        nodes = _ancestors(node, x)
        if static_shape(node.outputs[0]) != shape or reduction not in nodes or not _is_closed(nodes, node):
            continue
        for epsilon in dict.fromkeys(epsilons):
            for kind in KINDS:
                affine = _affine(
                    lambda value, y=node.outputs[0]: evaluate(value, y), evaluate.shape, axes, kind, epsilon
                )
                if affine is not None:
                    ordered = [found for found in following if found in nodes]
                    return _Found(x, axes, kind, ordered, *affine, epsilon)
    return None


def _small(value: ir.Value | None) -> float | None:
    number = scalar(value)
    return number if number is not None and 0 < number < 0.1 else None


def _following(x: ir.Value, reduction: ir.Node) -> list[ir.Node]:
    """Returns nodes that are computed from x and constants alone, each after the nodes that it reads."""
    known, nodes = {x}, []
    waiting = [x]
    while waiting and len(nodes) < LONGEST:
        for use in waiting.pop(0).uses():
            node = use.node
            if node in nodes or not is_op(node, *OPERATORS) or not same_graph(node, reduction):
                continue
            if len(node.outputs) == 1 and all(v in known or constant(v) is not None for v in node.inputs):
                nodes.append(node)
                known.add(node.outputs[0])
                waiting.append(node.outputs[0])
    return nodes


def _ancestors(node: ir.Node, x: ir.Value) -> set[ir.Node]:
    """Returns the nodes that compute the output of ``node`` from x, itself included."""
    found, waiting = {node}, [node]
    while waiting:
        for value in waiting.pop().inputs:
            before = producer(value) if value is not x else None
            if before is not None and before not in found and constant(value) is None:
                found.add(before)
                waiting.append(before)
    return found


def _is_closed(nodes: set[ir.Node], last: ir.Node) -> bool:
    """Returns whether only the last one's output is read by other nodes."""
    inner = (node.outputs[0] for node in nodes if node is not last)
    return not any(value.is_graph_output() or any(use.node not in nodes for use in value.uses()) for value in inner)


def _sampled(shape: tuple[int, ...], axes: Sequence[int], nodes: Sequence[ir.Node]) -> tuple[int, ...]:
    """Returns a smaller shape on which the nodes compute the same function.

    It has size 1 along axes that are not reduced and along which no constant varies. The shape stays if a node has
    another number of axes, or reads a shape.
    """
    sizes = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    for node in nodes:
        if len(node.outputs[0].shape or ()) != len(shape) or is_op(node, "Reshape", "Expand"):
            return shape
        for value in node.inputs:
            array = None if is_op(node, *REDUCTIONS) else constant(value)
            for axis, size in enumerate(reversed(() if array is None else array.shape), 1):
                if axis > len(sizes):
                    return shape
                sizes[-axis] = max(sizes[-axis], size)
    return tuple(sizes)


class _Evaluation:
    """Computes values from numbers in place of x, of ``shape``. Raises nothing: what cannot be computed is None."""

    def __init__(self, x: ir.Value, nodes: Sequence[ir.Node], shape: tuple[int, ...]) -> None:
        self._x, self._nodes, self.shape = x, nodes, shape

    def __call__(self, numbers: np.ndarray, wanted: ir.Value) -> np.ndarray | None:
        needed = _ancestors(node, self._x) if (node := wanted.producer()) is not None else set()
        values: dict[ir.Value | None, np.ndarray] = {self._x: numbers}
        with np.errstate(all="ignore"):
            for node in self._nodes:
                if node in needed:
                    inputs = [values[v] if v in values else np.asarray(constant(v), np.float64) for v in node.inputs]
                    try:
                        answer = OPERATORS[node.op_type](node, inputs)
                    except (ArithmeticError, TypeError, ValueError):  # the table does not compute this form
                        return None
                    if answer is None:
                        return None
                    values[node.outputs[0]] = answer
        return values.get(wanted)


def _affine(
    evaluate: Callable[[np.ndarray], np.ndarray | None],
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    kind: _Kind,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the scale and shift with which the function is a normalization of this kind; None if it is not."""
    rng = np.random.default_rng(0)
    shift = evaluate(np.zeros(shape))
    large = rng.choice([-1e6, 1e6], shape) * rng.uniform(1, 1.5, shape)
    normal, answer = kind.of(large, axes, epsilon), evaluate(large)
    if shift is None or answer is None or shift.shape != shape or answer.shape != shape or not normal.all():
        return None
    with np.errstate(all="ignore"):
        scale = (answer - shift) / normal
    if not np.isfinite(scale).all() or not np.isfinite(shift).all() or not scale.any():
        return None
    scale, shift = _narrowed(scale), _narrowed(shift)
    for magnitude in (1e2, 1.0, np.sqrt(epsilon)):
        numbers = magnitude * rng.standard_normal(shape)
        product, answer = scale * kind.of(numbers, axes, epsilon), evaluate(numbers)
        close = EPSILON * (np.abs(scale) * np.abs(kind.of(numbers, axes, epsilon)).max() + np.abs(shift))
        if answer is None or not (np.abs(answer - product - shift) <= close).all():
            return None
    return scale, shift


def _narrowed(array: np.ndarray) -> np.ndarray:
    """Returns the array with size 1 along axes along which it does not vary beyond rounding."""
    for axis, size in enumerate(array.shape):
        first = np.take(array, [0], axis)
        if size > 1 and np.allclose(array, first, rtol=1e-9, atol=1e-9 * np.abs(array).max()):
            array = first
    return array


class _Building:
    """The nodes that replace a normalization, each of which reads the one before."""

    def __init__(self, found: _Found) -> None:
        self.value, self.nodes = found.x, []
        self._output, self._graph = found.nodes[-1].outputs[0], graph_of(found.nodes[-1])

    def op(self, op_type: str, *inputs: ir.Value, shape: Sequence[int], **attributes: Any) -> None:
        self.add(new_node(op_type, [self.value, *inputs], attributes, like=self._output, shape=list(shape)))

    def add(self, node: ir.Node) -> None:
        self.nodes.append(node)
        self.value = node.outputs[0]

    def constant(self, name: str, array: np.ndarray) -> ir.Value:
        return new_constant(self._graph, f"{self._output.name}_{name}", np.ascontiguousarray(array, np.float32))


def _replace(model: ir.Model, found: _Found) -> None:
    shape = static_shape(found.x) or ()
    rank, axes = len(shape), found.axes
    others = [axis for axis in range(rank) if axis not in axes]
    building = _Building(found)
    images = (tuple(range(2, rank)), tuple(range(1, rank - 1)))
    if found.kind.centers and len(axes) > 1 and axes in images:
        order, written = [0, others[1], *axes], _instance_norm
    elif found.kind.centers or len(axes) == 1:
        order, written = [*others, *axes], _last_axes
    else:
        return
    moved = [shape[axis] for axis in order]
    if order != list(range(rank)):
        building.op("Transpose", shape=moved, perm=order)
    scale, shift = (array.transpose(order) for array in (found.scale, found.shift))
    left = written(model, building, found, scale, shift, moved)
    for op_type, array, neutral in zip(("Mul", "Add"), left, (1, 0), strict=True):
        if array is not None and not (array == neutral).all():
            building.op(op_type, building.constant(op_type.lower(), array), shape=moved)
    if order != list(range(rank)):
        building.op("Transpose", shape=shape, perm=[order.index(axis) for axis in range(rank)])
    supplant(found.nodes, building.nodes)


_Left: TypeAlias = "tuple[np.ndarray | None, np.ndarray | None]"  # scale and shift that remain


def _instance_norm(
    _model: ir.Model, building: _Building, found: _Found, scale: np.ndarray, shift: np.ndarray, shape: Sequence[int]
) -> _Left:
    fits = all(array.size == array.shape[1] for array in (scale, shift))
    own = (scale, shift) if fits else (np.ones(1), np.zeros(1))
    inputs = [
        building.constant(name, np.broadcast_to(array.reshape(-1), shape[1]))
        for name, array in zip(("scale", "shift"), own, strict=True)
    ]
    building.op("InstanceNormalization", *inputs, shape=shape, epsilon=found.epsilon)
    return (None, None) if fits else (scale, shift)


def _last_axes(
    model: ir.Model, building: _Building, found: _Found, scale: np.ndarray, shift: np.ndarray, shape: Sequence[int]
) -> _Left:
    count = len(found.axes)
    inner = list(shape)[-count:]
    fits = scale.size == prod(scale.shape[-count:]) and (
        shift.size == prod(shift.shape[-count:]) if found.kind.centers else True
    )
    own = scale.reshape(scale.shape[-count:]) if fits else np.ones(1)
    inputs = [building.constant("scale", np.broadcast_to(own, inner))]
    if not found.kind.centers:
        callee = _root_mean_square(model.opset_imports[""])
        node = call_function(model, callee, [building.value, *inputs], [ir.AttrFloat32("epsilon", found.epsilon)])
        node.outputs[0].type, node.outputs[0].shape = found.x.type, ir.Shape(shape)
        building.add(node)
        return (None if fits else scale), shift
    if fits and shift.any():
        inputs.append(building.constant("shift", np.broadcast_to(shift.reshape(shift.shape[-count:]), inner)))
    building.op("LayerNormalization", *inputs, shape=shape, axis=-count, epsilon=found.epsilon)
    return (None, None) if fits else (scale, shift)


def _root_mean_square(opset: int) -> ir.Function:
    """Returns the function of RMS normalization over the last axis."""
    return function("RMSNormalization", ["epsilon"], ["x", "scale"], list(_root_mean_square_body(opset)), opset)


def _root_mean_square_body(opset: int) -> Iterator[str]:
    yield "squared = Mul (x, x)"
    if opset < _AXES_AS_INPUT:
        yield "mean = ReduceMean <axes: ints = [-1], keepdims: int = 1> (squared)"
    else:
        yield "axes = Constant <value_ints: ints = [-1]> ()  mean = ReduceMean <keepdims: int = 1> (squared, axes)"
    yield "little = Constant <value_float: float = @epsilon> ()  sum = Add (mean, little)  root = Sqrt (sum)"
    yield "normalized = Div (x, root)  y = Mul (normalized, scale)"
