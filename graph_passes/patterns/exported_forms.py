"""Recognizes activations in the many forms that exporters write, by their values.

The search starts at a value and follows elementwise nodes with constant operands until a single value leaves them.
Together they compute a function of one number. The function is evaluated in float64 at numbers of all magnitudes and
compared with the activations of the table. ``x * (clip(x + 3, 0, 6) / 6)`` and ``x * hard_sigmoid(x)`` are the same
function in any order of operands, and so the same activation. A function matches if it agrees to a few units of
float32's precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.activations import ACTIVATIONS, erf, hard_sigmoid, sigmoid
from graph_passes.values import constant, is_op, scalar

LONGEST = 12  # nodes; gelu by tanh has nine
EPSILON = float(np.finfo(np.float32).eps)
_MAGNITUDES = np.concatenate([np.geomspace(1e-6, 12, 400), np.geomspace(13, 3e4, 40)])
# The activations of the table define what infinities and NaN become: (abs(x) + x) / 2 of -inf is NaN, relu(-inf) is 0.
POINTS = np.concatenate([-_MAGNITUDES, [0.0], _MAGNITUDES, [-np.inf, np.inf, np.nan]])

OPERATORS: Mapping[str, Callable[..., np.ndarray]] = {
    "Abs": np.abs,
    "Add": np.add,
    "Div": np.divide,
    "Erf": erf,
    "Exp": np.exp,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": sigmoid,
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Tanh": np.tanh,
    "HardSwish": lambda x: x * hard_sigmoid(x, 1 / 6, 0.5),
}
# Activations without attributes, and the usual hard sigmoid, which exporters write as a clip.
CANDIDATES: tuple[tuple[str, Mapping[str, float]], ...] = (
    *((name, {}) for name, activation in ACTIVATIONS.items() if not (activation.attributes or activation.operand)),
    ("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}),
)


@dataclass(frozen=True)
class ActivationMatch:
    """Nodes that compute an activation. Only the output of the last node is read elsewhere."""

    nodes: tuple[ir.Node, ...]
    activation: str
    attributes: Mapping[str, float]


def activation_of(x: ir.Value) -> ActivationMatch | None:
    """Returns the longest match of an activation that follows ``x``; None if nothing matches or x has other readers."""
    if x.dtype is None or x.dtype.name != "FLOAT":
        return None
    best = None
    for nodes, answer in _regions(x):
        if len(nodes) == 1 and (single := _single(nodes[0])) is not None:
            best = ActivationMatch(nodes, *single)
        elif (name := _named(answer)) is not None:
            best = ActivationMatch(nodes, *name)
    return best


def activation_of_one(node: ir.Node) -> bool:
    """Returns whether ``node`` alone is an activation, even if its input has other readers."""
    return _single(node) is not None or is_op(node, "HardSwish", "PRelu", "Relu", "Sigmoid", "Tanh")


def _single(node: ir.Node) -> tuple[str, Mapping[str, float]] | None:
    """Returns the activation of a single operator with attributes or bounds."""
    if is_op(node, "LeakyRelu"):
        return "leaky_relu", {"alpha": node.attributes.get_float("alpha", 0.01)}
    if is_op(node, "HardSigmoid"):
        return "hard_sigmoid", _hard_sigmoid(node)
    bounds = _bounds(node) if is_op(node, "Clip") else None
    if bounds is None:
        return None
    largest = float(np.finfo(np.float32).max)
    low, high = max(bounds[0], -largest), min(bounds[1], largest)
    if (low, high) == (0, 6):
        return "relu6", {}
    return ("relu", {}) if (low, high) == (0, largest) else ("clip", {"min": low, "max": high})


def _hard_sigmoid(node: ir.Node) -> dict[str, float]:
    return {"alpha": node.attributes.get_float("alpha", 0.2), "beta": node.attributes.get_float("beta", 0.5)}


def _bounds(node: ir.Node) -> tuple[float, float] | None:
    """Returns the bounds of a Clip, infinite if omitted; None if they are not constant or min > max."""
    low, high = node.attributes.get_float("min", -np.inf), node.attributes.get_float("max", np.inf)
    given = list(node.inputs[1:])
    if given and given[0] is not None:
        low = scalar(given[0])
    if len(given) > 1 and given[1] is not None:
        high = scalar(given[1])
    return None if low is None or high is None or low > high else (low, high)


def _leaky(answer: np.ndarray) -> tuple[tuple[str, Mapping[str, float]], ...]:
    """Returns the only leaky ReLU that the values may be those of; nothing for the identity and the absolute value."""
    alpha = float(answer[0] / POINTS[0])
    identity = abs(alpha - 1) <= 4 * EPSILON
    return (("leaky_relu", {"alpha": alpha}),) if 0 < alpha < np.finfo(np.float32).max and not identity else ()


def _regions(x: ir.Value) -> Iterator[tuple[tuple[ir.Node, ...], np.ndarray]]:
    """Yields growing sets of nodes that a single value leaves, each with its values at POINTS."""
    if x.is_graph_output():
        return
    values: dict[ir.Value, np.ndarray] = {x: POINTS}
    nodes: list[ir.Node] = []
    while len(nodes) < LONGEST:
        added = next(_next_nodes(values, nodes), None)
        if added is None:
            return
        node, answer = added
        nodes.append(node)
        values[node.outputs[0]] = answer
        inside = set(nodes)
        leaving = [
            value for value in values if value.is_graph_output() or any(use.node not in inside for use in value.uses())
        ]
        if leaving == [node.outputs[0]]:
            yield tuple(nodes), answer
        if node.outputs[0].is_graph_output():
            return


def _next_nodes(values: Mapping[ir.Value, np.ndarray], nodes: list[ir.Node]) -> Iterator[tuple[ir.Node, np.ndarray]]:
    """Yields nodes whose inputs are all computed values or constant numbers, with their values at POINTS."""
    for value in values:
        for use in value.uses():
            node = use.node
            if node in nodes or len(node.outputs) != 1:
                continue
            answer = _evaluate(node, values)
            if answer is not None:
                yield node, answer


def _evaluate(node: ir.Node, values: Mapping[ir.Value, np.ndarray]) -> np.ndarray | None:
    inputs = []
    # A constant of more axes would add axes to the output.
    rank = max((len(v.shape or ()) for v in node.inputs if v is not None and v in values), default=0) or 1
    for value in node.inputs:
        known = None if value is None else values.get(value)
        if known is None:
            array = constant(value)
            if array is None or array.size != 1 or array.ndim > rank or array.dtype.kind not in "fi":
                known = None
            else:
                known = array.astype(np.float64).reshape(())
        inputs.append(known)
    with np.errstate(all="ignore"):
        if is_op(node, "Clip") and inputs[0] is not None and (bounds := _bounds(node)) is not None:
            return np.clip(inputs[0], *bounds)
        if is_op(node, "HardSigmoid") and inputs[0] is not None:
            return hard_sigmoid(inputs[0], **_hard_sigmoid(node))
        if is_op(node, "LeakyRelu") and inputs[0] is not None:
            return np.where(inputs[0] < 0, node.attributes.get_float("alpha", 0.01) * inputs[0], inputs[0])
        if not is_op(node, *OPERATORS) or any(known is None for known in inputs):
            return None
        if len(inputs) > 2 or (node.op_type in ("Max", "Min") and len(inputs) != 2):
            return None
        return OPERATORS[node.op_type](*inputs)


def _named(answer: np.ndarray) -> tuple[str, Mapping[str, float]] | None:
    for name, attributes in (*CANDIDATES, *_leaky(answer)):
        with np.errstate(all="ignore"):
            wanted = ACTIVATIONS[name].function(POINTS, **attributes)
            # Constants, and so arguments of erf and tanh, were rounded to float32: the error is a few units.
            close = np.abs(answer - wanted) <= 4 * EPSILON * (np.abs(wanted) + np.minimum(np.abs(POINTS), 1))
        finite = np.isfinite(wanted)
        if close[finite].all() and np.array_equal(answer[~finite], wanted[~finite], equal_nan=True):
            return name, attributes
    return None
