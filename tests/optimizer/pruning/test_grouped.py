"""Convolutions in groups lose channels at the same places of each group."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from graph_passes import optimize
from optimizer import prune
from optimizer.pruning import costs, importance, powers, widths
from optimizer.pruning.groups import find
from optimizer.pruning.removal import without
from optimizer.samples import fitting
from optimizer.session import Session
from tests.optimizer.pruning.test_groups import free, named


def network(groups: int, read: int, made: int, op_type: str = "Conv", seed: int = 0) -> onnx.ModelProto:
    """A convolution, one in groups that each read and make so many channels, a depthwise one, and another one."""
    c, o = groups * read, groups * made
    weight = f"{o},{read}" if op_type == "Conv" else f"{c},{made}"
    return named(
        f"""g (float[1,2,5,5] x) => (float[1,3,1,1] y) <float[{c},2,1,1] w1, float[{c}] b1, float[{weight},3,3] w2,
            float[{o}] b2, float[{o},1,2,2] w3, float[3,{o},1,1] w4> {{
            a = Conv (x, w1, b1) b = Relu (a) c = {op_type} <group: int = {groups}, pads: ints = [1,1,1,1]> (b, w2, b2)
            d = Relu (c) e = Conv <group: int = {o}> (d, w3) f = Conv (e, w4) y = GlobalAveragePool (f)
        }}""",
        seed=seed,
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 4), st.integers(2, 4), st.integers(2, 4), st.sampled_from(["Conv", "ConvTranspose"]), st.data())
def test_a_model_without_channels_that_nothing_reads(
    groups: int, read: int, made: int, op_type: str, data: st.DataObject
) -> None:
    original = network(groups, read, made, op_type)
    found = find(original)
    assert free(found) == {"a": (read, ("a",)), "c": (made, ("c",))}
    assert [group.size for group in found.free] == [groups, groups]
    inputs = data.draw(st.sets(st.integers(0, read - 1), max_size=read - 1))
    outputs = data.draw(st.sets(st.integers(0, made - 1), max_size=made - 1))
    for tensor in original.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        if tensor.name == "w2" and op_type == "Conv":
            array[:, sorted(inputs)] = 0
        elif tensor.name == "w2":
            array.reshape(groups, read, -1)[:, sorted(inputs)] = 0
        elif tensor.name == "w4":
            array.reshape(3, groups, made)[:, :, sorted(outputs)] = 0
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    gone = {found.free[0].roots[place] for place in inputs} | {found.free[1].roots[place] for place in outputs}
    pruned = without(original, found, gone)
    onnx.checker.check_model(pruned, full_check=True)
    x = {"x": np.random.default_rng(1).standard_normal((1, 2, 5, 5), np.float32)}
    wanted, answers = (Session(each, 1, fused=False)(x)["y"] for each in (original, pruned))
    np.testing.assert_allclose(answers, wanted, rtol=1e-4, atol=1e-5)
    kept = [read - len(inputs), made - len(outputs)]
    constants = widths.weights(original, found)
    (report,) = optimize(pruned, passes=["fold_constants"]).reports
    assert costs.parameters(constants)(kept) == report.params_before
    assert costs.macs(widths.layers(original, constants), ())(kept) == report.macs_before


def test_convolutions_in_different_groups_share_channels() -> None:
    """12 channels in 2 groups and in 3 groups: places that are equal in both are one set."""
    original = named(
        """g (float[1,2,5,5] x) => (float[1,3,5,5] y) <float[12,2,1,1] w1, float[12,6,1,1] w2, float[12,4,1,1] w3,
            float[3,12,1,1] w4> {
            a = Conv (x, w1) b = Conv <group: int = 2> (a, w2) c = Conv <group: int = 3> (b, w3) y = Conv (c, w4)
        }"""
    )
    assert free(find(original)) == {"a": (6, ("a",)), "b": (2, ("b",)), "c": (4, ("c",))}


def test_a_shuffle_between_convolutions_in_groups() -> None:
    original = named(
        """g (float[1,2,5,5] x) => (float[1,3,5,5] y) <float[6,2,1,1] w1, float[6,3,1,1] w2, float[6,3,1,1] w3,
            float[3,6,1,1] w4, int64[5] parts, int64[4] whole> {
            a = Conv (x, w1) b = Conv <group: int = 2> (a, w2) c = Reshape (b, parts)
            d = Transpose <perm: ints = [0,2,1,3,4]> (c) e = Reshape (d, whole) y = Conv (e, w4)
        }""",
        parts=np.array([1, 2, 3, 5, 5]),
        whole=np.array([1, 6, 5, 5]),
    )
    found = find(original)
    assert free(found) == {"a": (3, ("a",)), "b": (3, ("b",))}
    for tensor in original.graph.initializer:
        if tensor.name == "w4":  # place 1 of both groups is at 2 and 3 behind the shuffle
            array = numpy_helper.to_array(tensor).copy()
            array[:, 2:4] = 0
            tensor.CopyFrom(numpy_helper.from_array(array, "w4"))
    pruned = without(original, found, {found.free[1].roots[1]})
    x = {"x": np.random.default_rng(1).standard_normal((1, 2, 5, 5), np.float32)}
    wanted, answers = (Session(each, 1)(x)["y"] for each in (original, pruned))
    np.testing.assert_allclose(answers, wanted, rtol=1e-4, atol=1e-5)


def test_importance_is_the_sum_over_groups() -> None:
    original = network(2, 3, 2)
    found = find(original)
    x = {"x": np.random.default_rng(0).standard_normal((8, 2, 5, 5), np.float32)}
    measured = powers.powers(original, found, fitting(x, original), 1)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in original.graph.initializer}
    squares = (weights["w2"].reshape(2, 2, 3, 9) ** 2).sum((1, 3)).ravel()
    share = (measured["b"] * squares / (measured["b"] * squares).sum()).reshape(2, 3).sum(0)
    np.testing.assert_allclose(importance.of_activations(original, found, measured)[0], share, rtol=1e-5)


@pytest.mark.parametrize("cost", ["kernels", "onnxruntime"])
def test_measured_costs(cost: str) -> None:
    plan = prune(network(4, 8, 8), 0.4, cost=cost, step=8)
    assert [len(group.kept) for group in plan.groups] != [8, 8]
    shapes = {tensor.name: tuple(tensor.dims) for tensor in plan.apply(network(4, 8, 8)).graph.initializer}
    inside, outside = (len(group.kept) for group in plan.groups)
    assert shapes["w2"] == (4 * outside, inside, 3, 3)
