"""Tests that the check accepts correct models and detects wrong ones."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import graph_passes
from graph_passes.check import Difference, compare, failures, random_inputs
from graph_passes.lazy import ir
from graph_passes.model_io import read


def parsed(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> g {body}')


def network(dtype: type = np.float32) -> onnx.ModelProto:
    """Two convolutions with batch normalization, and a product."""
    kind = {np.float32: "float", np.float16: "float16"}[dtype]
    model = parsed(
        f"({kind}[1, 3, 9, 9] x) => ({kind}[1, 5] y) "
        "{ c = Conv<pads = [1, 1, 1, 1]>(x, w1)  b = BatchNormalization(c, s, t, m, v)  r = Relu(b) "
        "  d = Conv(r, w2)  p = GlobalAveragePool(d)  f = Flatten(p)  y = MatMul(f, w3) }"
    )
    rng = np.random.default_rng(0)
    for name, shape in {"w1": (16, 3, 3, 3), "w2": (16, 16, 3, 3), "w3": (16, 5), "s": 16, "t": 16, "m": 16}.items():
        model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(dtype), name))
    model.graph.initializer.append(numpy_helper.from_array(rng.uniform(0.5, 2, 16).astype(dtype), "v"))
    return model


def scaled(model: onnx.ModelProto, name: str, factor: float) -> ir.Model:
    """The model with one weight multiplied by a factor."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array((array * factor).astype(array.dtype), name))
    return read(changed)


def verdict(original: onnx.ModelProto, changed: onnx.ModelProto) -> Difference:
    (difference,) = compare(original, read(changed))
    assert difference.ok == (not failures([difference]))
    return difference


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_an_optimized_model_passes(dtype: type, tmp_path: Path) -> None:
    model = network(dtype)
    (tmp_path / "in.onnx").write_bytes(model.SerializeToString())
    optimized = graph_passes.optimize(model)
    assert optimized.reports[2].nodes_after < optimized.reports[2].nodes_before
    for original in (model, tmp_path / "in.onnx"):
        (difference,) = compare(original, optimized.ir_model)
        assert difference.ok
        assert 0 < difference.relative < difference.allowed / 2


@pytest.mark.parametrize("weight", ["w1", "w2", "w3", "s", "t"])
def test_a_weight_that_is_wrong_by_a_thousandth_is_seen(weight: str) -> None:
    (difference,) = compare(network(), scaled(network(), weight, 1.001))
    assert not difference.ok
    (line,) = failures([difference])
    assert line.startswith("output y differs by ")


def test_the_same_seed_gives_the_same_inputs() -> None:
    graph = read(network()).graph
    one, again, other = (random_inputs(graph, seed)["x"] for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    changed = scaled(network(), "w1", 1.001)
    assert compare(network(), changed, seed=3) == compare(network(), changed, seed=3)


def test_nan_must_remain_nan() -> None:
    root = parsed("(float[64] x) => (float[64] y) { y = Sqrt(x) }")
    assert verdict(root, root).ok, "the root of a negative number is NaN in both"
    absolute = parsed("(float[64] x) => (float[64] y) { a = Abs(x)  y = Sqrt(a) }")
    assert not verdict(root, absolute).ok
    assert not verdict(absolute, root).ok


def test_infinities_must_have_their_sign(recwarn: pytest.WarningsRecorder) -> None:
    plus = parsed("(float[8] x) => (float[8] y) { z = Sub(x, x)  o = Exp(z)  y = Div(o, z) }")
    minus = parsed("(float[8] x) => (float[8] y) { z = Sub(x, x)  o = Exp(z)  p = Div(o, z)  y = Neg(p) }")
    assert verdict(plus, plus).ok
    assert not verdict(plus, minus).ok
    assert not verdict(plus, parsed("(float[8] x) => (float[8] y) { z = Sub(x, x)  y = Exp(z) }")).ok
    assert not list(recwarn), "a warning would add a line to standard error"


@pytest.mark.parametrize(
    "changed",
    [
        parsed("(float[2, 3] x) => (float[3, 2] y) { y = Transpose(x) }"),
        parsed("(float[2, 3] x) => (double[2, 3] y) { y = Cast<to = 11>(x) }"),
        parsed("(float[2, 3] x) => (float[2, 3] z) { z = Identity(x) }"),
    ],
    ids=["shape", "type", "name"],
)
def test_another_shape_type_or_name_is_wrong(changed: onnx.ModelProto) -> None:
    difference = verdict(parsed("(float[2, 3] x) => (float[2, 3] y) { y = Identity(x) }"), changed)
    assert (difference.ok, difference.relative) == (False, math.inf)


def test_integers_and_truths_are_exact() -> None:
    """Even if a difference is small relative to the largest element."""
    large = "k = Constant<value = int64[3] {1000000000, 2, %d}>()"
    one, other = (parsed(f"(int64[3] x) => (int64[3] y) {{ {large % n}  y = Add(x, k) }}") for n in (3, 4))
    assert verdict(one, one) == Difference("y", 0.0, 0.0, 0.0)
    assert not verdict(one, other).ok
    more, less = (parsed(f"(float[9] x, float[9] z) => (bool[9] y) {{ y = {op}(x, z) }}") for op in ("Greater", "Less"))
    assert verdict(more, more).ok
    assert not verdict(more, less).ok


def test_texts_and_sequences_are_compared() -> None:
    words = '(int64[3] x) => (string[3] y) { k = Constant<value = string[2] {"a", "%s"}>()  y = Gather(k, x) }'
    assert verdict(parsed(words % "b"), parsed(words % "b")).ok
    assert not verdict(parsed(words % "b"), parsed(words % "c")).ok
    parts = "(float[5] x) => (seq(float[N]) y) {{ k = Constant<value = int64[{}] {}>()  y = SplitToSequence(x, k) }}"
    two, three = parsed(parts.format(2, "{2, 3}")), parsed(parts.format(3, "{2, 2, 1}"))
    assert [d.ok for d in compare(two, read(two))] == [True, True]
    assert not all(d.ok for d in compare(two, read(three)))
    assert not all(d.ok for d in compare(three, read(two)))


@pytest.mark.parametrize(
    ("declared", "part"),
    [
        ("float[N, 3] x", "input x has a dynamic shape; give it one (--input-shape x:1,...)"),
        ("float x", None),
        ("bool[3] x", None),
        ("uint8[3] x", None),
        ("string[3] x", "input x is of type string; random values exist for numbers only"),
        ("seq(float[3]) x", "input x is not a tensor"),
    ],
)
def test_inputs_without_random_values_are_reported(declared: str, part: str | None) -> None:
    model = read(parsed(f"({declared}) => ({declared.replace(' x', ' y')}) {{ y = Identity(x) }}"))
    if part is None:
        assert all(difference.ok for difference in compare(ir.serde.serialize_model(model), model))
        return
    with pytest.raises(ValueError, match=f"^{re.escape(part)}"):
        random_inputs(model.graph, 0)


def test_a_model_that_onnx_runtime_rejects_is_reported() -> None:
    model = parsed("(float[2] x) => (float[2] y) { y = Frobnicate(x) }")
    with pytest.raises(RuntimeError, match=r"^ONNX Runtime rejects the optimized model: .*Frobnicate") as caught:
        compare(model, read(model))
    assert len(str(caught.value).splitlines()) == 1
