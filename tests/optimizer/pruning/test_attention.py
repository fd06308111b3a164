"""Heads of an attention go together: a model without heads that nothing reads gives the same answers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from graph_passes import optimize
from optimizer import Plan, prune
from optimizer.pruning import costs, importance, widths
from optimizer.pruning.groups import find
from optimizer.pruning.prepared import prepared
from optimizer.pruning.removal import without
from optimizer.session import Session
from tests.optimizer.pruning.attentions import DIM, FORMS, HEADS, HIDDEN, TOKENS, WIDTH, layer
from tests.optimizer.pruning.test_groups import free, named, reasons

X = {"x": np.random.default_rng(0).standard_normal((1, TOKENS, WIDTH), np.float32)}


def with_zeros(original: onnx.ModelProto, name: str, rows: list[int]) -> onnx.ModelProto:
    """Returns a model with zeros in these rows of a weight."""
    changed = onnx.ModelProto()
    changed.CopyFrom(original)
    tensor = next(each for each in changed.graph.initializer if each.name == name)
    array = numpy_helper.to_array(tensor).copy()
    array[rows] = 0
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    return changed


@pytest.mark.parametrize("gone", [[0], [1], [0, 2]])
@pytest.mark.parametrize("form", FORMS)
def test_a_model_without_heads_that_nothing_reads(form: str, gone: list[int]) -> None:
    original = prepared(layer(form))
    groups = find(original)
    assert [(len(group), group.size) for group in groups.free] == [(HEADS, DIM), (HIDDEN, 1)]
    heads, hidden = groups.free
    rows = [DIM * head + place for head in gone for place in range(DIM)]
    unread = with_zeros(with_zeros(original, "wo", rows), "w2", [3, 4])
    removed = {heads.roots[head] for head in gone} | {hidden.roots[3], hidden.roots[4]}
    pruned = without(unread, groups, removed)
    onnx.checker.check_model(pruned, full_check=True)
    wanted, found = (Session(each, 1, fused=False)(X)["y"] for each in (unread, pruned))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    kept = [HEADS - len(gone), HIDDEN - 2]
    constants = widths.weights(original, groups)
    (report,) = optimize(pruned, passes=["fold_constants"]).reports
    macs = costs.macs(widths.layers(original, constants), widths.products(original, groups))(kept)
    assert macs == report.macs_before
    floats = [weight for weight in constants if weight.name not in FORMS[form][2]]
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in pruned.graph.initializer}
    assert all(weight.elements(kept) == sizes[weight.name] for weight in floats if weight.name != "join")


def test_the_importance_of_a_head_is_that_of_its_channels() -> None:
    original = prepared(layer("separate"))
    heads, _ = find(original).free
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in original.graph.initializer}
    squares = [(weights[name] ** 2).sum(0).reshape(HEADS, DIM) for name in ("wq", "wk", "wv")]
    squares += [(weights["wo"] ** 2).sum(1).reshape(HEADS, DIM)]
    squares += [(weights["position"] ** 2).sum((0, 2, 3))[:, None]]
    expected = sum(each.sum(1) / each.sum() for each in squares)
    np.testing.assert_allclose(importance.magnitude(original, find(original))[0], expected, rtol=1e-5)
    assert len(heads) == HEADS


@pytest.mark.parametrize("cost", ["macs", "parameters", "onnxruntime", "kernels"])
def test_a_plan_for_heads(cost: str) -> None:
    """A step of four channels is one head, and what the plan keeps is numbers of heads."""
    original = with_zeros(layer("gather"), "wo", list(range(DIM, 2 * DIM)))
    plan = Plan.from_json(prune(original, 0.25, cost=cost, step=4, least=0.5).to_json())
    heads = plan.groups[0]
    assert (heads.channels, heads.kept) == (HEADS, (0, 2))
    shapes = {tensor.name: tuple(tensor.dims) for tensor in plan.apply(original).graph.initializer}
    assert shapes["wqkv"] == (WIDTH, 3 * 2 * DIM)
    assert shapes["wo"] == (2 * DIM, WIDTH)


def test_a_plan_of_fewer_groups_applies_by_their_names() -> None:
    original = layer("separate")
    plan = prune(original, 0.3, cost="macs", step=1)
    without_heads = Plan(plan.topology, plan.groups[1:], plan.importance, plan.cost)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in without_heads.apply(original).graph.initializer}
    assert shapes["wq"] == (WIDTH, WIDTH)
    assert shapes["w1"] == (WIDTH, len(plan.groups[1].kept))


def test_products_over_channels_of_one_head_lose_channels() -> None:
    """Without an axis of heads, queries and keys may lose the channels that they are multiplied along."""
    graph = """g (float[1,5,6] x) => (float[1,5,5] y) <float[6,4] w1, float[6,4] w2> {
        a = MatMul (x, w1) b = MatMul (x, w2) c = Transpose <perm: ints = [0,2,1]> (b) d = MatMul (a, c)
        y = Softmax (d)
    }"""
    original = named(graph)
    groups = find(original)
    assert free(groups) == {"a": (4, ("a", "b"))}
    x = {"x": X["x"][:, :, :6]}
    unread = with_zeros(original, "w1", [])
    for tensor in unread.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        array[:, 2] = 0
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    pruned = without(unread, groups, {groups.free[0].roots[2]})
    wanted, found = (Session(each)(x)["y"] for each in (unread, pruned))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_heads_that_other_tensors_fix_stay() -> None:
    graph = """g (float[1,5,6] x, float[1,3,5,5] mask) => (float[1,3,5,5] y)
            <float[6,6] w1, float[6,6] w2, int64[4] t> {
        a = MatMul (x, w1) b = Reshape (a, t) c = Transpose <perm: ints = [0,2,1,3]> (b)
        d = MatMul (x, w2) e = Reshape (d, t) f = Transpose <perm: ints = [0,2,3,1]> (e)
        s = MatMul (c, f) y = Add (s, mask)
    }"""
    found = reasons(find(named(graph, t=np.array([1, 5, 3, 2]))))
    assert found == {"a": "Add y: mask has channels that cannot be removed"}
