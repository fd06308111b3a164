from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from optimizer import distill, prune
from optimizer.pruning import groups
from optimizer.pruning.prepared import prepared
from optimizer.pruning.taylor import BATCH, taylor
from optimizer.session import Session
from optimizer.training.labelled import labelled
from optimizer.training.onnx_module import with_weights
from optimizer.training.ranks import Ranks
from optimizer.training.settings import Training
from tests.graph_passes.models import model
from tests.optimizer.classes import convolutions, images, perceptron, points


def loss(model: onnx.ModelProto, data: dict[str, np.ndarray]) -> float:
    """Returns the mean cross-entropy by ONNX Runtime."""
    logits = Session(model)({"x": data["x"]})["y"].astype(np.float64)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return float(-logs[np.arange(len(logs)), data["labels"]].mean())


def attention() -> onnx.ModelProto:
    """Two heads of three channels, of two tokens."""
    return model(
        """g (float[N,6] x) => (float[N,3] y) <float[3,18] w1, float[18] b1, float[6,3] w2, int64[3] tokens,
            int64[5] heads, int64[3] join, int64[1] axis, int64 q, int64 k, int64 v> {
            t = Reshape (x, tokens) a = MatMul (t, w1) b = Add (a, b1) c = Reshape (b, heads)
            d = Transpose <perm: ints = [2,0,3,1,4]> (c) e = Gather <axis: int = 0> (d, q)
            f = Gather <axis: int = 0> (d, k) h = Gather <axis: int = 0> (d, v)
            i = Transpose <perm: ints = [0,1,3,2]> (f) s = MatMul (e, i) p = Softmax (s) o = MatMul (p, h)
            r = Transpose <perm: ints = [0,2,1,3]> (o) j = Reshape (r, join) m = MatMul (j, w2)
            y = ReduceMean <keepdims: int = 0> (m, axis)
        }""",
        tokens=[0, 2, 3],
        heads=[0, 2, 3, 2, 3],
        join=[0, 2, 6],
        axis=[1],
        q=0,
        k=1,
        v=2,
    )


@pytest.mark.parametrize("network", [perceptron, convolutions, attention])
def test_scores_are_the_changes_of_the_loss(network: object) -> None:
    """A channel whose weights shrink by a small share changes the loss by that share of its score (one batch)."""
    original = prepared(network())  # type: ignore[operator]
    data = (images if network is convolutions else points)(BATCH, 0)
    found = groups.find(original)
    scores = taylor(original, found, labelled(data), Ranks())
    step = 1e-3
    for group, score in zip(found.free, scores, strict=True):
        assert len(score) == len(group)
        for channel in (0, len(group) // 2, len(group) - 1):
            change = [loss(_scaled(original, found, group.roots[channel], 1 + sign * step), data) for sign in (1, -1)]
            slope = (change[0] - change[1]) / (2 * step)
            assert abs(slope) == pytest.approx(score[channel], rel=0.02, abs=1e-4)


def _scaled(model: onnx.ModelProto, found: groups.Groups, root: int, factor: float) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in changed.graph.initializer}
    for (name, axis), roots in found.places.items():
        array = numpy_helper.to_array(tensors[name]).copy()
        scale = np.where(roots == root, factor, 1.0).reshape([-1 if a == axis else 1 for a in range(array.ndim)])
        tensors[name].CopyFrom(numpy_helper.from_array((array * scale).astype(array.dtype), name))
    return changed


def test_it_keeps_the_channels_that_matter() -> None:
    """Channels that nothing reads go first; with labels, Taylor is the default."""
    trained = distill(perceptron(16), [], points(400, 0), training=Training(8, 32, 0.02), threads=1).model
    weight = next(numpy_helper.to_array(tensor).copy() for tensor in trained.graph.initializer if tensor.name == "w2")
    weight[::2] = 0
    trained = with_weights(trained, {"w2": weight})
    plan = prune(trained, ratio=0.2, data=points(64, 1), cost="parameters", step=1)
    assert plan.importance == "taylor"
    (group,) = plan.groups
    assert len(group.kept) <= 13
    answers = [Session(each)({"x": points(64, 1)["x"]})["y"] for each in (trained, plan.apply(trained))]
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-5, atol=1e-5)


def test_bad_data() -> None:
    with pytest.raises(ValueError, match="importance 'taylor' needs data with labels"):
        prune(perceptron(), ratio=0.3, importance="taylor", data={"x": points(4, 0)["x"]}, cost="macs")
    data = points(20, 0) | {"labels": np.full(20, 7)}
    with pytest.raises(ValueError, match="the model has 3 classes, but there is a label 7"):
        prune(perceptron(), ratio=0.3, data=data, cost="macs", step=1)
