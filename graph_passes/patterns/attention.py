"""Fuses softmax attention in separate operators into one call (Vaswani et al., 2017).

::

    MatMul(q, transposed k) ── Mul or Div ── Add(mask) ── Softmax ── MatMul(v)

    q, k, v, mask ── loopwright.Attention_mask

Shapes: q (batch, heads, queries, d), k (batch, heads, keys, d), v (batch, heads, keys, e), output (batch, heads,
queries, e). The scale may apply to the product, to q, to k, or as its square root to both; it becomes an attribute.
If the transpose of k is combined with the split into heads, only the split remains. If the mask hides every key of a
query, its weights are NaN. Some exporters replace them by zeros (IsNaN, Where); ``Attention_mask_or_zero`` does the
same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graph_passes.base import Remark, described
from graph_passes.lazy import ir
from graph_passes.patterns.layers import call_function, function
from graph_passes.values import (
    constant,
    is_op,
    known_shape,
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
_SWAP = [0, 1, 3, 2]


def fuse_attention(model: ir.Model, graph: ir.Graph) -> Iterator[Remark]:
    """Replaces each attention in separate operators by one call; remarks give reasons why a softmax does not match."""
    for node in list(graph):
        if node.graph is graph and is_op(node, "Softmax"):
            reason = _fuse(model, node)
            if reason:
                yield Remark(described(node), f"not attention: {reason}")


@dataclass
class _Found:
    """The nodes before the softmax, and the scale and mask that they apply."""

    nodes: list[ir.Node]
    scale: float
    mask: ir.Value | None


def _fuse(model: ir.Model, softmax: ir.Node) -> str | None:
    zeroing = _zeroing(softmax.outputs[0])
    weights = zeroing[-1].outputs[0] if zeroing else softmax.outputs[0]
    after = sole_user(weights)
    if after is None or not is_op(after, "MatMul") or after.inputs[0] is not weights:
        return None
    x = softmax.inputs[0]
    shape = static_shape(x)
    if x is None or shape is None or len(shape) != RANK or x.dtype is None or x.dtype.name != "FLOAT":
        return "its input is not float32 of known shape (batch, heads, queries, keys)"
    if softmax.attributes.get_int("axis", -1) % RANK != RANK - 1:
        return "its axis is not that of the keys"
    found = _Found([], 1.0, None)
    scores = _scores(x, found)
    if scores is None:
        return "its input is not a scaled product of queries and keys"
    q = _unscaled(required(scores.inputs[0]), found)
    k_transposed = _unscaled(required(scores.inputs[1]), found)
    v = required(after.inputs[1])
    if not _same_heads(q, k_transposed, v):
        return "queries, keys and values differ in batch or heads"
    k, made = _untransposed(k_transposed)
    nodes = [*made, _call(model, softmax, [q, k, v], found, bool(zeroing))]
    old = [scores, *found.nodes, softmax, *zeroing, after]
    if any(not same_graph(node, softmax) for node in old):
        return "a part of it is in another graph"
    supplant(old, nodes)
    return None


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
        elif is_op(node, "Add") and found.mask is None and found.scale == 1:
            product = next((v for v in node.inputs if v is not None and _leads_to_product(v)), None)
            if product is None:
                return None
            found.mask = other_operand(node, product)
            if found.mask is None or not _broadcasts(found.mask, static_shape(x)):
                return None
            value = product
        else:
            return None
        found.nodes.insert(0, node)


def _leads_to_product(value: ir.Value) -> bool:
    node = producer(value)
    while node is not None and (before := _scaling(node)) is not None:
        node = producer(before[0])
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


def _same_heads(*values: ir.Value) -> bool:
    shapes = [static_shape(value) for value in values]
    return all(shape is not None and len(shape) == RANK for shape in shapes) and (
        len({shape[:2] for shape in shapes if shape is not None}) == 1
    )


def _untransposed(k: ir.Value) -> tuple[ir.Value, list[ir.Node]]:
    """Returns keys as (batch, heads, keys, d), and the Transpose that is needed for it, if any."""
    node, shape = producer(k), known_shape(k)
    perm = _SWAP
    source = k
    if node is not None and is_op(node, "Transpose") and node.inputs[0] is not None:
        own = list(node.attributes.get_ints("perm", range(RANK - 1, -1, -1)))
        source, perm = node.inputs[0], [own[axis] for axis in _SWAP]
    if perm == list(range(RANK)):
        return source, []
    transposed = new_node("Transpose", [source], {"perm": perm}, like=k, shape=[shape[axis] for axis in _SWAP])
    return transposed.outputs[0], [transposed]


def _call(model: ir.Model, softmax: ir.Node, inputs: list[ir.Value], found: _Found, zeroed: bool) -> ir.Node:
    masked = found.mask is not None
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
    given: list[ir.Value | None] = [*inputs, *([found.mask] if masked else [])]
    node = call_function(model, callee, given, [ir.AttrFloat32("scale", found.scale)])
    node.name = softmax.name
    return node
