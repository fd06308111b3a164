"""ONNX Runtime as the reference, and the steps of quantized models."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from compiler.check import reference
from tests.graph_passes.models import model

QUANTIZED = model(
    """g (float[4,64] x) => (float[4,8] y) <float[64,8] w, float scale, int8 zero> {
        a = MatMul (x, w)
        q = QuantizeLinear (a, scale, zero)
        y = DequantizeLinear (q, scale, zero)
    }""",
    scale=0.5,
    zero=0,
)


def test_a_model_that_does_not_run_is_one_line() -> None:
    broken = model("g (float[2,3] x) => (float[2,3] y) { y = Relu (x) }")
    broken.graph.node[0].op_type = "Frobnicate"
    with pytest.raises(RuntimeError, match=r"^ONNX Runtime does not run the model: [^\n]*Frobnicate[^\n]*$"):
        reference.run(broken, {"x": np.zeros((2, 3), np.float32)})


def test_intermediate_values_are_outputs() -> None:
    original = model("g (float[2,3] x) => (float[2,3] y) { a = Neg (x) y = Relu (a) }")
    x = np.ones((2, 3), np.float32)
    found = reference.run(reference.with_outputs(original, ["a", "y"]), {"x": x})
    assert list(found) == ["a", "y"]
    np.testing.assert_array_equal(found["a"], -x)
    assert [output.name for output in original.graph.output] == ["y"], "the original is unchanged"


def test_quantized_models_are_found_in_branches_too() -> None:
    assert reference.is_quantized(QUANTIZED)
    assert not reference.is_quantized(model("g (float[2] x) => (float[2] y) { y = Relu (x) }"))
    inner = onnx.parser.parse_graph(
        "g (bool c, float[2] x, float s) => (uint8[2] y) { y = If (c) <then_branch = a () => (p) "
        "{ p = QuantizeLinear (x, s) }, else_branch = b () => (q) { q = QuantizeLinear (x, s) }> }"
    )
    assert reference.is_quantized(onnx.helper.make_model(inner))


def test_the_step_of_a_quantized_output_is_one_step_or_none() -> None:
    """Products with 64 terms are close to the middle of two steps somewhere among 32 x 100 elements."""
    found = set()
    for seed in range(100):
        x = {"x": np.random.default_rng(seed).standard_normal((4, 64), np.float32)}
        found.add(reference.steps(QUANTIZED, x, reference.run(QUANTIZED, x))["y"])
    assert found <= {0.0, 0.5}
    zeros = {"x": np.zeros((4, 64), np.float32)}
    assert reference.steps(QUANTIZED, zeros, reference.run(QUANTIZED, zeros)) == {"y": 0.0}


def test_an_element_in_the_middle_of_two_steps_has_a_step() -> None:
    one = model(
        """g (float[2] x) => (float[2] y) <float scale, int8 zero> {
            q = QuantizeLinear (x, scale, zero) y = DequantizeLinear (q, scale, zero) }""",
        scale=0.5,
        zero=0,
    )
    x = {"x": np.array([1.25, 1.0], np.float32)}
    assert reference.steps(one, x, reference.run(one, x)) == {"y": 0.5}
