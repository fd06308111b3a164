"""Which channels belong together, and why others stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from optimizer.pruning.groups import Groups, find
from optimizer.pruning.prepared import prepared
from optimizer.pruning.removal import without
from tests.graph_passes.models import either, model


def named(graph: str, **arrays: Any) -> onnx.ModelProto:
    """A model whose nodes have the names of their outputs."""
    found = model(graph, **arrays)
    for node in found.graph.node:
        node.name = node.output[0]
    return found


def free(groups: Groups) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {group.name: (len(group), group.layers) for group in groups.free}


def reasons(groups: Groups) -> dict[str, str | None]:
    return {group.name: group.fixed for group in groups.fixed}


END = "k = GlobalAveragePool (j) l = Flatten (k) y = Gemm (l, w9)"


def ending(channels: int, body: str, weights: str, rank: int = 4) -> onnx.ModelProto:
    """x (1, 2, 8, 8), or (1, 2, 8), then ``body``, which makes j with so many channels."""
    shape = "1,2,8,8" if rank == 4 else "1,2,8"
    weights = ", ".join(filter(None, [weights, f"float[{channels},3] w9"]))
    return named(f"g (float[{shape}] x) => (float[1,3] y) <{weights}> {{ {body} {END} }}")


def test_a_residual_sum_joins_layers() -> None:
    groups = find(ending(4, "a = Conv (x, w1) b = Conv (a, w2) j = Add (a, b)", "float[4,2,1,1] w1, float[4,4,1,1] w2"))
    assert free(groups) == {"a": (4, ("a", "b"))}
    assert reasons(groups) == {"y": "y is an output of the model"}


def test_a_concatenation_has_offsets() -> None:
    body = "a = Conv (x, w1) b = Conv (x, w2) j = Concat <axis: int = 1> (a, b, a)"
    original = ending(8, body, "float[2,2,1,1] w1, float[4,2,1,1] w2")
    groups = find(original)
    assert free(groups) == {"a": (2, ("a",)), "b": (4, ("b",))}
    a, b = groups.free
    pruned = without(original, groups, {a.roots[1], b.roots[0]})
    weights = [
        {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in each.graph.initializer}
        for each in (original, pruned)
    ]
    np.testing.assert_array_equal(weights[1]["w9"], weights[0]["w9"][[0, 3, 4, 5, 6]])


def test_parts_of_a_layer_that_others_join_are_separate_groups() -> None:
    body = "a = Conv (x, w1) b = Conv (x, w2) c = Concat <axis: int = 1> (a, b) d = Conv (x, w3) j = Add (c, d)"
    groups = find(ending(5, body, "float[2,2,1,1] w1, float[3,2,1,1] w2, float[5,2,1,1] w3"))
    assert free(groups) == {"a": (2, ("a", "d")), "b": (3, ("b", "d"))}


def test_convolutions_along_one_axis() -> None:
    body = "a = Conv (x, w1) b = Conv <group: int = 4> (a, w2) j = PRelu (b, s)"
    groups = find(ending(4, body, "float[4,2,3] w1, float[4,1,3] w2, float[4,1] s", rank=3))
    assert free(groups) == {"a": (4, ("a",))}
    assert [edit.place for edit in groups.edits] == ["group"]


def test_sequences_and_their_transposition() -> None:
    graph = """g (float[1,6,2] x) => (float[1,3] y) <float[2,4] w1, float[4] b1, float[3,4,1] w2, int64[1] i> {
        a = MatMul (x, w1) b = Add (a, b1) c = Transpose <perm: ints = [0,2,1]> (b) d = Conv (c, w2)
        y = ReduceMax <keepdims: int = 0> (d, i)
    }"""
    groups = find(named(graph, i=2))
    assert free(groups) == {"a": (4, ("a",))}


SHUFFLED = (
    "a = Conv (x, w1) b = Reshape (a, t) c = Softmax <axis: int = 2> (b) j = Reshape (c, u)",
    "float[4,2,1,1] w1, int64[5] t, int64[4] u",
)
NORMAL = "a = Conv (x, w1) j = Softmax <axis: int = 1> (a)", "float[4,2,1,1] w1"
SUMMED = "a = Conv (x, w1) b = Conv (x, w2) j = Mul (a, b)", "float[4,2,1,1] w1, float[1,2,1,1] w2"
WITH_INPUT = "a = Conv (x, w1) j = Add (a, x)", "float[2,2,1,1] w1"
OTHER = "a = Conv (x, w1) j = LRN <size: int = 3> (a)", "float[4,2,1,1] w1"
SHARED = "a = Conv (x, w1) b = Mul (a, s) r = Reshape (s, t) c = Relu (r) j = Add (b, c)"


@pytest.mark.parametrize(
    ("body", "arrays", "name", "reason"),
    [
        (SHUFFLED, {"t": [1, 2, 2, 8, 8], "u": [1, 4, 8, 8]}, "a", "Softmax c: it normalizes over the channels"),
        (NORMAL, {}, "a", "Softmax j: it normalizes over the channels"),
        (SUMMED, {}, "b", "Mul j uses it for all channels"),
        (WITH_INPUT, {}, "a", "Add j: x has channels that cannot be removed"),
        (OTHER, {}, "a", "LRN j: there is no rule for this operator"),
    ],
)
def test_why_channels_stay(body: tuple[str, str], arrays: dict[str, list[int]], name: str, reason: str) -> None:
    steps, weights = body
    channels = 2 if body is WITH_INPUT else 4
    graph = f"g (float[1,2,8,8] x) => (float[1,3] y) <{weights}, float[{channels},3] w9> {{ {steps} {END} }}"
    assert reasons(find(named(graph, **{key: np.array(value) for key, value in arrays.items()})))[name] == reason


def test_what_a_branch_reads_stays() -> None:
    chosen = either("d", "c", "float[1,4,8,8] e { e = Relu (a) }", "float[1,4,8,8] f { f = Neg (a) }")
    body = f"a = Conv (x, w1) {chosen} b = Conv (a, w2) j = Add (b, d)"
    weights = "bool c, float[4,2,1,1] w1, float[4,4,1,1] w2, float[4,3] w9"
    graph = f"g (float[1,2,8,8] x) => (float[1,3] y) <{weights}> {{ {body} {END} }}"
    groups = find(named(graph, c=1.0))
    assert reasons(groups)["a"] == "a branch or loop of If d reads them"
    assert reasons(groups)["b"] == "Add j: d has channels that cannot be removed"


def test_a_constant_with_another_reader_stays() -> None:
    body = "a = Conv (x, w1) b = Mul (a, s) r = Neg (s) n = Softmax (r) m = ReduceMax (n) j = Add (b, m)"
    groups = find(ending(4, body, "float[4,2,1,1] w1, float[1,4,1,1] s"))
    assert reasons(groups)["a"] == "another node reads the constant s, too"


def test_a_weight_that_two_layers_share() -> None:
    body = "a = Conv (x, w1) b = Conv (a, w2) c = Conv (b, w2) j = Relu (c)"
    groups = find(ending(4, body, "float[4,2,1,1] w1, float[4,4,1,1] w2"))
    assert free(groups) == {"a": (4, ("a", "b", "c"))}


def test_equal_biases_do_not_tie_layers() -> None:
    body = "a = Conv (x, w1, b1) c = Conv (a, w2, b2) j = Relu (c)"
    weights = "float[4,2,1,1] w1, float[4] b1, float[4,4,1,1] w2, float[4] b2"
    graph = f"g (float[1,2,8,8] x) => (float[1,3] y) <{weights}, float[4,3] w9> {{ {body} {END} }}"
    groups = find(prepared(named(graph, b1=np.zeros(4), b2=np.zeros(4))))
    assert free(groups) == {"a": (4, ("a",)), "c": (4, ("c",))}
