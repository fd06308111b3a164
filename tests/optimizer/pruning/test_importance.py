from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from optimizer.pruning import importance
from optimizer.pruning.groups import find
from optimizer.pruning.powers import powers
from optimizer.samples import fitting
from optimizer.session import Session
from tests.graph_passes.models import model

SMALL = model(
    """g (float[N,2,5,5] x) => (float[N,3] y) <float[4,2,3,3] w1, float[4] b1, float[4,1,3,3] w2, float[4,3] w3> {
        a = Conv (x, w1, b1) b = Relu (a) c = Conv <group: int = 4> (b, w2) d = Flatten (c) y = Gemm (d, w3)
    }"""
)


def test_magnitude_is_the_sum_of_shares_in_the_squares_of_weights() -> None:
    for node in SMALL.graph.node:
        node.name = node.output[0]
    weights = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in SMALL.graph.initializer}
    sums = np.array(
        [
            [(weights["w1"][c] ** 2).sum(), (weights["w2"][c] ** 2).sum(), (weights["w3"][c] ** 2).sum()]
            for c in range(4)
        ]
    )
    (found,) = importance.magnitude(SMALL, find(SMALL))
    np.testing.assert_allclose(found, (sums / sums.sum(0)).sum(1), rtol=1e-6)


def test_random_scores_depend_on_the_seed_alone() -> None:
    groups = find(SMALL)
    (first,), (again,), (other,) = (importance.random(groups, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_activations_are_what_a_layer_loses() -> None:
    """With inputs of mean 0 that do not depend on each other, removing a channel costs its share of the power."""
    whole = model(
        """g (float[N,2,1,1] x) => (float[N,3] y) <float[4,2,1,1] w1, float[4,3] w3> {
            a = Conv (x, w1) d = Flatten (a) y = Gemm (d, w3)
        }""",
        w1=np.array([[1, 0], [0, 1], [0.5, 0], [0, 0.1]]).reshape(4, 2, 1, 1),
    )
    groups = find(whole)
    samples = {"x": np.random.default_rng(0).standard_normal((4000, 2, 1, 1), np.float32)}
    found = powers(whole, groups, fitting(samples, whole), 1)
    np.testing.assert_allclose(found["d"], [1, 1, 0.25, 0.01], rtol=0.1)
    (scores,) = importance.of_activations(whole, groups, found)
    weight = next(numpy_helper.to_array(t) for t in whole.graph.initializer if t.name == "w3")
    expected = np.array([1, 1, 0.25, 0.01]) * (weight**2).sum(1)
    np.testing.assert_allclose(scores, expected / expected.sum(), rtol=0.1)


def test_powers_are_those_of_the_runtime() -> None:
    groups = find(SMALL)
    samples = {"x": np.random.default_rng(0).standard_normal((6, 2, 5, 5), np.float32)}
    found = powers(SMALL, groups, fitting(samples, SMALL), 1)
    shown = SMALL.__deepcopy__()
    shown.graph.output.add().name = "b"
    values = Session(shown, 1)(samples)["b"]
    np.testing.assert_allclose(found["b"], np.square(values, dtype=np.float64).mean((0, 2, 3)), rtol=1e-5)
    assert set(found) == {"b", "d"}


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_of_a_channel_that_nothing_uses_are_zero(seed: int) -> None:
    copy = SMALL.__deepcopy__()
    for tensor in copy.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        if tensor.name in ("w1", "w2", "w3", "b1"):
            array[seed] = 0
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    (scores,) = importance.magnitude(copy, find(copy))
    assert scores[seed] == 0
    assert scores.min() == 0 < np.sort(scores)[1]
