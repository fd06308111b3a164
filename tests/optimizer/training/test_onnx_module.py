from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from optimizer.session import Session
from optimizer.training.onnx_module import with_weights
from optimizer.training.prepared import check, classifier
from tests.graph_passes.models import model
from tests.optimizer.networks import network, samples


def test_answers_and_weights_of_a_network() -> None:
    """Answers are those of ONNX Runtime, before and after the weights change."""
    found = classifier(network(batch="N"))
    check(found, samples(3))
    module = found.module()
    before = module.weights()
    assert {len(array.shape) for array in before.values()} == {1, 2, 4}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.9)
    after = module.weights()
    changed = with_weights(found.original, after)
    x = samples(2, seed=3)
    (wanted,) = module.eval()({"x": torch.from_numpy(x["x"])})
    np.testing.assert_allclose(Session(changed)(x)["y"], wanted.detach().numpy(), rtol=1e-4, atol=1e-5)
    onnx.checker.check_model(changed, full_check=True)
    assert [node.op_type for node in changed.graph.node] == [node.op_type for node in found.original.graph.node]


def test_training_updates_statistics() -> None:
    """As PyTorch's BatchNorm2d with the same share of new statistics."""
    found = classifier(network(batch="N"))
    module = found.module().train()
    before = module.weights()
    module({"x": torch.from_numpy(samples(8)["x"])})
    changed = {name for name, array in module.weights().items() if not np.array_equal(array, before[name])}
    assert changed == {"mean", "variance"}


def test_a_sum_with_an_input_is_not_trained() -> None:
    found = classifier(
        model(
            "g (float[N,3] x) => (float[N,2] y) <float[3] mean, float[3,2] w, float[2] b>"
            "{ a = Add (x, mean) m = MatMul (a, w) y = Add (m, b) }"
        )
    )
    module = found.module()
    assert set(module.weights()) == {"w", "b"}
    assert module.parameter("mean") is None
    assert module.parameter("w") is not None


def test_only_what_the_logits_need() -> None:
    """Softmax is left out, and so are outputs that are not classes."""
    found = classifier(
        model(
            "g (float[N,3] x) => (float[N,2] y, float h) <float[3,2] w>"
            "{ l = MatMul (x, w) y = Softmax (l) h = ReduceMax <keepdims: int = 0> (x) }"
        )
    )
    assert found.logits == "l"
    check(found, {"x": np.ones((2, 3), np.float32)})


def test_a_fixed_number_of_samples() -> None:
    """Shapes that an exporter wrote for one sample become those of any number."""
    text = """g (float[1,2,3] x) => (float[1,2] y) <int64[2] shape = {1, 6}, float[6,2] w>
        { r = Reshape (x, shape) y = MatMul (r, w) }"""
    found = classifier(model(text))
    x = np.random.default_rng(0).standard_normal((3, 2, 3), np.float32)
    check(found, {"x": x})
    assert found.original.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_a_number_of_samples_that_cannot_be_freed() -> None:
    text = """g (float[1,2,3] x) => (float[1,2] y) <int64[2] shape = {2, 3}, float[3,2] w>
        { r = Reshape (x, shape) m = MatMul (r, w) y = ReduceMax <keepdims: int = 1> (m, zero) }"""
    text = text.replace("float[3,2] w>", "float[3,2] w, int64[1] zero = {0}>")
    with pytest.raises(ValueError, match="export it with a first axis of any size"):
        check(classifier(model(text)), {"x": np.random.default_rng(0).standard_normal((3, 2, 3), np.float32)})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("n = NonZero (x) c = Cast <to: int = 1> (n) y = MatMul (c, w)", "does not compute NonZero"),
        ("y = MatMul (x, w) z = MatMul (x, w)", "a classifier has one output of shape"),
        ("m = MatMul (x, w) y = ReduceSum <keepdims: int = 0> (m)", "a classifier has one output of shape"),
    ],
)
def test_models_that_cannot_be_trained(body: str, message: str) -> None:
    more = ", float[N,2] z" if "z =" in body else ""
    text = f"g (float[N,3] x) => (y{more}) <float[3,2] w> {{ {body} }}"
    with pytest.raises(ValueError, match=message):
        classifier(model(text)).module()
