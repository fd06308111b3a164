"""Layers of float16 that become float32: what changes, where values are converted, and the answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import graph_passes
from graph_passes.float32_layers import Float32Layers
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators

# Statements from x (1, 4, 9) to y, and the weights that they read.
CONV = ("h = Conv <pads: ints = [1, 1]> (x, w, b)", "T[6,4,3] w, T[6] b")
CASES = {
    "a layer": (f"{CONV[0]} y = Identity (h)", CONV[1]),
    "what follows": (f"{CONV[0]} r = Relu (h) s = Mul (r, half) y = Softmax <axis: int = 1> (s)", f"{CONV[1]}, T half"),
    "two layers": (f"{CONV[0]} r = Relu (h) y = Conv (r, v)", f"{CONV[1]}, T[5,6,1] v"),
    "several outputs": (
        f"{CONV[0]} a, c = Split <axis: int = 1, num_outputs: int = 2> (h) y = Add (a, c)",
        CONV[1],
    ),
    "a product": ("h = MatMul (x, m) y = Tanh (h)", "T[9,7] m"),
    "a reader of float16": (f"{CONV[0]} c = CumSum (h, axis) y = Add (c, h)", f"{CONV[1]}, int64 axis"),
    "a cast to float32": (f"{CONV[0]} f = Cast <to: int = 1> (h) g = Sin (f) y = Cast <to: int = TO> (g)", CONV[1]),
    "a transposed layer": ("y = ConvTranspose <strides: ints = [2]> (x, u)", "T[4,3,2] u"),
}


def of_type(case: str, kind: str) -> onnx.ModelProto:
    """The model in one type, with the same weights and inputs of float16 precision in both."""
    statements, weights = CASES[case]
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for declared in weights.split(", "):
        dims, name = declared.split(" ")
        shape = [int(size) for size in dims.partition("[")[2].rstrip("]").split(",") if size]
        arrays[name] = rng.standard_normal(shape).astype(np.float16)
    if "axis" in arrays:
        arrays["axis"] = np.array(2)
    text = f"g (T[1,4,9] x) => (T[1,n,l] y) <{weights}> {{ {statements} }}"
    text = (
        text.replace("TO>", f"{1 if kind == 'float' else 10}>")
        .replace("T[", f"{kind}[")
        .replace("T half", f"{kind} half")
    )
    return model(text, **arrays)


def answers(proto: onnx.ModelProto, dtype: type) -> np.ndarray:
    x = np.random.default_rng(1).standard_normal((1, 4, 9)).astype(np.float16).astype(dtype)
    return oracle.run(proto, {"x": x})[0].astype(np.float64)


@pytest.mark.parametrize("case", CASES)
def test_the_answers_are_those_of_float32(case: str) -> None:
    half = of_type(case, "float16")
    changed = graph_passes.optimize(half, passes=[Float32Layers()]).model
    onnx.checker.check_model(changed, full_check=True)
    expected = answers(of_type(case, "float"), np.float32)
    steps = 8 if "reader" in case else 1  # a sum of 9 rounded numbers
    assert np.abs(answers(changed, np.float16) - expected).max() <= steps * 2.0**-11 * np.abs(expected).max() * 1.01
    again = graph_passes.optimize(changed, passes=[Float32Layers()]).model
    assert operators(again) == operators(changed)


@pytest.mark.parametrize("case", ["a layer", "what follows", "two layers", "several outputs", "a product"])
def test_values_are_converted_at_the_ends_only(case: str) -> None:
    changed = graph_passes.optimize(of_type(case, "float16"), passes=[Float32Layers()]).model
    assert operators(changed)["Cast"] == 2
    (written,) = (node for node in changed.graph.node if node.output[0] == "y")
    assert written.op_type == "Cast"
    assert changed.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16


def test_other_types_and_operators_do_not_change() -> None:
    for kind, statement in (("float", "y = MatMul (x, x)"), ("float16", "h = Relu (x) y = Softmax (h)")):
        original = model(f"g ({kind}[4,4] x) => ({kind}[4,4] y) {{ {statement} }}")
        assert operators(graph_passes.optimize(original, passes=[Float32Layers()]).model) == operators(original)
