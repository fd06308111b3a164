"""Divergences next to their definition, computed in float64 from ONNX Runtime's answers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from optimizer.divergence import Divergence
from optimizer.samples import fitting
from tests.graph_passes.models import model
from tests.optimizer.networks import classifier, samples


def answers(of: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(of.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([np.asarray(session.run(None, {"x": each[None]})[0]) for each in x]).astype(np.float64)


def changed(original: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy with another bias of the last layer."""
    copy = onnx.ModelProto()
    copy.CopyFrom(original)
    (bias,) = (tensor for tensor in copy.graph.initializer if tensor.name == "b5")
    values = onnx.numpy_helper.to_array(bias) + np.linspace(-1, 1, 10, dtype=np.float32)
    bias.CopyFrom(onnx.numpy_helper.from_array(values, "b5"))
    return copy


def test_of_classes() -> None:
    original, given = classifier(), samples(7)
    divergence = Divergence(original, fitting(given, original), 7, 1)
    other = changed(original)
    logits = [answers(each, given["x"]) for each in (original, other)]
    p, q = (np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in logits)
    assert divergence(other) == pytest.approx(float((p * np.log(p / q)).sum(1).mean()), rel=1e-6)
    assert divergence(original) == pytest.approx(0, abs=1e-12)


def test_of_probabilities_that_integers_compute() -> None:
    """They need not add up to 1, but are probabilities as those of the original."""
    text = "g (float[N,8] x) => (float[N,5] y) <float[8,5] w> {{ a = MatMul (x, w) b = Softmax (a) {} }}"
    original, doubled = (model(text.format(end)) for end in ("y = Identity (b)", "y = Add (b, b)"))
    x = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
    divergence = Divergence(original, fitting({"x": x}, original), 6, 1)
    assert divergence(original) == pytest.approx(0, abs=1e-6)
    assert divergence(doubled) == pytest.approx(0, abs=1e-6)  # the same shares


def test_of_numbers() -> None:
    original = model("g (float[1,4] x) => (float[1,1] y) <float[4,1] w> { y = MatMul (x, w) }", w=[1, 2, 3, 4])
    other = model("g (float[1,4] x) => (float[1,1] y) <float[4,1] w> { y = MatMul (x, w) }", w=[1, 2, 3, 5])
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    divergence = Divergence(original, fitting({"x": x}, original), 5, 1)
    exact = x.astype(np.float64) @ [1, 2, 3, 4]
    assert divergence(other) == pytest.approx((x[:, 3].astype(np.float64) ** 2).sum() / (exact**2).sum(), rel=1e-5)
