"""Fuses softmax attention in separate operators into one call (Vaswani et al., 2017).

::

    MatMul(q, transposed k) ── Mul or Div ── Add(mask) ── Softmax ── MatMul(v)

    q, k, v, mask ── loopwright.Attention_mask

Shapes: q (batch, heads, queries, d), k (batch, heads, keys, d), v (batch, heads, keys, e), output (batch, heads,
queries, e). Without the axis of the batch, it is 1. Further forms:

- The scale may apply to the product, to q, to k, or as its square root to both; it becomes an attribute.
- If the transpose of k is combined with the split into heads, only the split remains. It may also be one of matrices
  (batch heads, keys, d) between two Reshapes.
- Several masks become one. A Where that replaces scores by a number of at most -1e8 is a mask too: added to a score in
  float32, such a number hides the key as well.
- If the masks hide every key of a query, its weights are NaN. Some exporters replace them by zeros (IsNaN, Where);
  ``Attention_mask_or_zero`` does the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from graph_passes.base import Remark, described
from graph_passes.lazy import ir
from graph_passes.patterns.layers import call_function, function
from graph_passes.values import (
    constant,
    graph_of,
    is_op,
    known_shape,
    new_constant,
    new_node,
    other_operand,
    producer,
    required,
    same_graph,
    scalar,
    sole_user,
    static_shape,
    supplant,
)

RANK = 4
HIDES = -1e8  # the largest number that hides a score of at most some thousands when it is added in float32
ABSORBS = -1e30  # the largest number that any score vanishes in when it is added in float32
VISIBLE = -1e7  # the lowest number that hides no score from numbers of at most HIDES


def fuse_attention(model: ir.Model, graph: ir.Graph) -> Iterator[Remark]:
    """Replaces each attention in separate operators by one call; remarks give reasons why a softmax does not match."""
    for node in list(graph):
        if node.graph is graph and is_op(node, "Softmax"):
            reason = _fuse(model, node)
            if reason:
                yield Remark(described(node), f"not attention: {reason}")


@dataclass(frozen=True)
class _Mask:
    """What an Add adds to scores, or the condition of a Where that replaces scores by a number."""

    value: ir.Value
    number: float | None = None  # of a Where
    swapped: bool = False  # whether a Where replaces the scores where the condition is true


@dataclass
class _Found:
    """The nodes before the softmax, and the scale and masks that they apply, of which the last one applies first."""

    nodes: list[ir.Node]
    scale: float
    masks: list[_Mask]


def _fuse(model: ir.Model, softmax: ir.Node) -> str | None:
    zeroing = _zeroing(softmax.outputs[0])
    weights = zeroing[-1].outputs[0] if zeroing else softmax.outputs[0]
    after = sole_user(weights)
    if after is None or not is_op(after, "MatMul") or after.inputs[0] is not weights:
        return None
    x = softmax.inputs[0]
    shape = static_shape(x)
    if x is None or shape is None or len(shape) not in (RANK - 1, RANK) or x.dtype is None or x.dtype.name != "FLOAT":
        return "its input is not float32 of known shape (batch, heads, queries, keys)"
    if softmax.attributes.get_int("axis", -1) % len(shape) != len(shape) - 1:
        return "its axis is not that of the keys"
    found = _Found([], 1.0, [])
    scores = _scores(x, found)
    if scores is None:
        return "its input is not a scaled product of queries and keys"
    q = _unscaled(required(scores.inputs[0]), found)
    k_transposed = _unscaled(required(scores.inputs[1]), found)
    v = required(after.inputs[1])
    if not _same_heads(len(shape), q, k_transposed, v):
        return "queries, keys and values differ in batch or heads"
    if not _is_sum(found.masks):
        return "its masks replace scores in a row that another mask may hide"
    k, made = _untransposed(k_transposed)
    mask = _combined(found.masks[::-1], made, graph_of(softmax))
    old = [scores, *found.nodes, softmax, *zeroing, after]
    if any(not same_graph(node, softmax) for node in old):
        return "a part of it is in another graph"
    if len(shape) == RANK:
        nodes = [*made, _call(model, softmax, [q, k, v], mask, found.scale, bool(zeroing))]
        supplant(old, nodes)
        return None
    lifted = [_lifted(value, made, graph_of(softmax)) for value in (q, k, v)]
    mask = None if mask is None else _lifted(mask, made, graph_of(softmax))
    call = _call(model, softmax, lifted, mask, found.scale, bool(zeroing))
    sizes = known_shape(after.outputs[0])
    call.outputs[0].type, call.outputs[0].shape = x.type, ir.Shape([1, *sizes])
    old, lowered = _lowered(call, after, sizes, old, graph_of(softmax))
    supplant(old, [*made, call, *lowered])
    return None


def _lifted(value: ir.Value, made: list[ir.Node], graph: ir.Graph) -> ir.Value:
    """Returns a value with an axis of size 1 in front, and appends the nodes that compute it.

    Heads that a Transpose moves in front, from (tokens, heads, d), are moved from (1, tokens, heads, d) instead.
    """
    node = producer(value)
    if node is not None and is_op(node, "Transpose") and list(node.attributes.get_ints("perm", ())) == [1, 0, 2]:
        source = node.inputs[0]
        if source is not None and static_shape(source) is not None:
            wide = _reshaped(source, [1, *known_shape(source)], made, graph)
            shape = [1, *known_shape(value)]
            made.append(new_node("Transpose", [wide], {"perm": [0, 2, 1, 3]}, like=value, shape=shape))
            return made[-1].outputs[0]
    shape = known_shape(value)
    return _reshaped(value, [*[1] * (RANK - len(shape)), *shape], made, graph)


def _reshaped(value: ir.Value, shape: Sequence[int], made: list[ir.Node], graph: ir.Graph) -> ir.Value:
    sizes = new_constant(graph, f"{value.name}_sizes", np.array(shape, np.int64))
    made.append(new_node("Reshape", [value, sizes], like=value, shape=shape))
    return made[-1].outputs[0]


def _lowered(
    call: ir.Node, after: ir.Node, sizes: tuple[int, ...], old: list[ir.Node], graph: ir.Graph
) -> tuple[list[ir.Node], list[ir.Node]]:
    """Returns the nodes to replace, and those that remove the first axis of the answer again.

    A Transpose that moves tokens to the front again does so before the Reshape.
    """
    made: list[ir.Node] = []
    back = sole_user(after.outputs[0])
    y = call.outputs[0]
    turns = back is not None and is_op(back, "Transpose") and list(back.attributes.get_ints("perm", ())) == [1, 0, 2]
    if back is not None and turns and same_graph(back, after):
        heads, tokens, depth = sizes
        made.append(new_node("Transpose", [y], {"perm": [0, 2, 1, 3]}, like=y, shape=[1, tokens, heads, depth]))
        y, old, sizes = made[-1].outputs[0], [*old, back], (tokens, heads, depth)
    _reshaped(y, sizes, made, graph)
    return old, made


def _is_sum(masks: Sequence[_Mask]) -> bool:
    """Returns whether adding one combined mask gives the same weights, also in rows that are hidden entirely.

    The scores that a Where replaces are equal, and compete with those that another mask hides. A number in which the
    scores vanish stays as it is. A larger one becomes lower, so that they vanish: then no other mask may hide a score.
    """
    numbers = {mask.number for mask in masks if mask.number is not None and np.isfinite(mask.number)}
    if all(number <= ABSORBS for number in numbers):
        return True
    first = next(place for place, mask in enumerate(masks) if mask.number in numbers)
    return len(numbers) == 1 and all(
        mask.number is not None or (place > first and _hides_nothing(mask.value)) for place, mask in enumerate(masks)
    )


def _hides_nothing(mask: ir.Value) -> bool:
    array = constant(mask)
    return array is not None and bool((array >= VISIBLE).all())


def _combined(masks: Sequence[_Mask], made: list[ir.Node], graph: ir.Graph) -> ir.Value | None:
    """Returns what all masks in order add to the scores, and appends the nodes that compute it; None without masks."""
    total = None
    for mask in masks:
        if mask.number is not None:
            total = _replacing(mask, total, made, graph)
        elif total is None:
            total = mask.value
        else:
            shape = np.broadcast_shapes(known_shape(total), known_shape(mask.value))
            made.append(new_node("Add", [total, mask.value], like=mask.value, shape=shape))
            total = made[-1].outputs[0]
    return total


def _replacing(mask: _Mask, before: ir.Value | None, made: list[ir.Node], graph: ir.Graph) -> ir.Value:
    """Returns a mask with a number where a Where replaces scores, elsewhere what masks ``before`` it add, or 0."""
    number = mask.number or 0.0
    if np.isfinite(number) and number > ABSORBS:  # unlike -1e9 - 100, which is not -1e9
        number = float(np.finfo(np.float32).min) / 8
    low, zero = (
        new_constant(graph, f"{mask.value.name}_{name}", np.array(value, np.float32))
        for name, value in (("low", number), ("zero", 0.0))
    )
    kept = zero if before is None else before
    shape = np.broadcast_shapes(known_shape(mask.value), () if before is None else known_shape(before))
    choice = [mask.value, low, kept] if mask.swapped else [mask.value, kept, low]
    made.append(new_node("Where", choice, like=low, shape=shape))
    return made[-1].outputs[0]


def _zeroing(weights: ir.Value) -> list[ir.Node]:
    """Returns the IsNaN and Where that replace NaN weights by zeros; empty if there are no such nodes."""
    users = {use.node.op_type: use.node for use in weights.uses()}
    test, choice = users.get("IsNaN"), users.get("Where")
    if test is None or choice is None or weights.is_graph_output() or len(weights.uses()) != 2:
        return []
    if not is_op(test, "IsNaN") or not is_op(choice, "Where"):
        return []
    if sole_user(test.outputs[0]) is not choice or choice.inputs[2] is not weights or scalar(choice.inputs[1]) != 0:
        return []
    return [test, choice]


def _scores(x: ir.Value, found: _Found) -> ir.Node | None:
    """Returns the product of queries and keys, and records the nodes between it and the softmax in ``found``."""
    value: ir.Value = x
    while True:
        node = producer(value)
        if node is None or sole_user(value) is None:
            return None
        if is_op(node, "MatMul"):
            return node
        before = _scaling(node)
        if before is not None:
            value, factor = before
            found.scale *= factor
        elif is_op(node, "Add", "Where") and found.scale == 1:
            product = next((v for v in node.inputs if v is not None and _leads_to_product(v)), None)
            mask = None if product is None else _mask(node, product, static_shape(x))
            if product is None or mask is None:
                return None
            found.masks.append(mask)
            value = product
        else:
            return None
        found.nodes.insert(0, node)


def _mask(node: ir.Node, scores: ir.Value, shape: tuple[int, ...] | None) -> _Mask | None:
    """Returns what an Add, or a Where with a constant, does to the scores; None if the kernel cannot do it."""
    if is_op(node, "Add"):
        mask = other_operand(node, scores)
        return _Mask(mask) if mask is not None and _broadcasts(mask, shape) else None
    condition, kept, hidden = node.inputs
    swapped = hidden is scores
    number = scalar(kept if swapped else hidden)
    if condition is None or condition is scores or number is None or not number <= HIDES:
        return None
    return _Mask(condition, number, swapped) if _broadcasts(condition, shape) else None


def _leads_to_product(value: ir.Value) -> bool:
    node = producer(value)
    while node is not None:
        before = _scaling(node)
        if before is not None:
            node = producer(before[0])
        elif is_op(node, "Add", "Where"):  # another mask
            return any(v is not None and _leads_to_product(v) for v in node.inputs)
        else:
            break
    return is_op(node, "MatMul") and sole_user(value) is not None


def _broadcasts(mask: ir.Value, scores: tuple[int, ...] | None) -> bool:
    """Returns whether the mask broadcasts to the scores without enlarging them, as the kernel requires."""
    shape = static_shape(mask)
    if shape is None or scores is None or len(shape) > len(scores):
        return False
    return all(a in (1, b) for a, b in zip(reversed(shape), reversed(scores), strict=False))


def _scaling(node: ir.Node) -> tuple[ir.Value, float] | None:
    """Returns the value that a node multiplies by a constant number, and the number."""
    if not is_op(node, "Mul", "Div"):
        return None
    left, right = node.inputs
    if left is None or right is None:
        return None
    number = scalar(right)
    if number is not None and constant(left) is None and _keeps_shape(node, left):
        if is_op(node, "Mul"):
            return left, number
        return (left, 1 / number) if number else None
    number = scalar(left) if is_op(node, "Mul") else None
    return (right, number) if number is not None and _keeps_shape(node, right) else None


def _keeps_shape(node: ir.Node, x: ir.Value) -> bool:
    return x.shape is not None and node.outputs[0].shape == x.shape


def _unscaled(value: ir.Value, found: _Found) -> ir.Value:
    """Returns queries or keys before scaling, if the scaled value has no other readers."""
    node = producer(value)
    before = _scaling(node) if node is not None and sole_user(value) is not None else None
    if node is None or before is None:
        return value
    found.nodes.insert(0, node)
    found.scale *= before[1]
    return before[0]


def _same_heads(rank: int, *values: ir.Value) -> bool:
    shapes = [static_shape(value) for value in values]
    return all(shape is not None and len(shape) == rank for shape in shapes) and (
        len({shape[:-2] for shape in shapes if shape is not None}) == 1
    )


def _untransposed(k: ir.Value) -> tuple[ir.Value, list[ir.Node]]:
    """Returns keys as (batch, heads, keys, d) or (heads, keys, d), and the Transpose that is needed for it, if any."""
    node, shape = producer(k), known_shape(k)
    rows = _rows_behind(k)
    if rows is not None:
        return rows, []
    swap = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    perm, source = swap, k
    if node is not None and is_op(node, "Transpose") and node.inputs[0] is not None:
        own = list(node.attributes.get_ints("perm", range(len(shape) - 1, -1, -1)))
        source, perm = node.inputs[0], [own[axis] for axis in swap]
    if perm == list(range(len(shape))):
        return source, []
    transposed = new_node("Transpose", [source], {"perm": perm}, like=k, shape=[shape[axis] for axis in swap])
    return transposed.outputs[0], [transposed]


def _rows_behind(k: ir.Value) -> ir.Value | None:
    """Returns keys (batch, heads, keys, d) that a Transpose of matrices between two Reshapes transposes."""
    after = producer(k)
    turn = producer(after.inputs[0]) if after is not None and is_op(after, "Reshape") else None
    before = producer(turn.inputs[0]) if turn is not None and is_op(turn, "Transpose") else None
    if turn is None or before is None or not is_op(before, "Reshape"):
        return None
    rows, shape = before.inputs[0], known_shape(k)
    matrices = static_shape(turn.inputs[0])
    if list(turn.attributes.get_ints("perm", ())) != [0, 2, 1] or matrices is None:
        return None
    fits = static_shape(rows) == (*shape[:-2], shape[-1], shape[-2]) and matrices[1:] == (shape[-1], shape[-2])
    return rows if fits else None


def _call(
    model: ir.Model, softmax: ir.Node, inputs: list[ir.Value], mask: ir.Value | None, scale: float, zeroed: bool
) -> ir.Node:
    masked = mask is not None
    zeroing = [
        "unknown = IsNaN (weights)",
        "zero = Constant <value_float: float = 0.0> ()",
        "known = Where (unknown, zero, weights)",
    ]
    body = [
        "kt = Transpose <perm: ints = [0, 1, 3, 2]> (k)",
        "products = MatMul (q, kt)",
        "factor = Constant <value_float: float = @scale> ()",
        "scaled = Mul (products, factor)",
        *(["hidden = Add (scaled, mask)"] if masked else []),
        f"weights = Softmax <axis: int = -1> ({'hidden' if masked else 'scaled'})",
        *(zeroing if zeroed else []),
        f"y = MatMul ({'known' if zeroed else 'weights'}, v)",
    ]
    names = ["q", "k", "v", *(["mask"] if masked else [])]
    name = f"Attention{'_mask' if masked else ''}{'_or_zero' if zeroed else ''}"
    callee = function(name, ["scale"], names, body, model.opset_imports[""])
    given: list[ir.Value | None] = [*inputs, *([mask] if masked else [])]
    node = call_function(model, callee, given, [ir.AttrFloat32("scale", scale)])
    node.name = softmax.name
    return node
