"""Folding of batch normalization and equivalent chains: structure, outputs, limits."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import graph_passes
from compiler.build import passes_of_build
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators, remarks, run_pass, weights


def norm(channels: int, suffix: str = "") -> str:
    return ", ".join(f"float[{channels}] {name}{suffix}" for name in ("gamma", "beta", "mean", "variance"))


def apply(x: str, y: str, suffix: str = "", attributes: str = "epsilon: float = 0.01") -> str:
    inputs = ", ".join(f"{name}{suffix}" for name in ("gamma", "beta", "mean", "variance"))
    return f"{y} = BatchNormalization <{attributes}> ({x}, {inputs})"


@pytest.mark.parametrize(
    ("weight", "attributes", "bias"),
    [
        ((6, 4, 3, 3), "pads: ints = [1, 1, 1, 1]", ""),
        ((6, 4, 3, 3), "pads: ints = [1, 1, 1, 1]", ", b"),
        ((6, 2, 1, 1), "group: int = 2", ", b"),
        ((6, 4, 3, 3), 'auto_pad: string = "SAME_UPPER", strides: ints = [2, 2]', ""),
    ],
)
def test_after_a_convolution(weight: tuple[int, ...], attributes: str, bias: str) -> None:
    dims = ",".join(map(str, weight))
    original = model(
        f"""g (float[2,4,7,7] x) => (float[N,6,H,W] y) <float[{dims}] w, float[6] b, {norm(6)}> {{
            h = Conv <{attributes}> (x, w{bias})
            {apply("h", "y")}
        }}"""
    )
    optimized = run_pass(original, "fold_batch_norm")
    assert operators(optimized.model) == {"Conv": 1}
    assert len(optimized.model.graph.node[0].input) == 3
    assert optimized.model.graph.output[0].name == "y"


@pytest.mark.parametrize("group", [1, 2])
def test_after_a_transposed_convolution(group: int) -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,6,H,W] y) <float[4,{6 // group},3,3] w, {norm(6)}> {{
            h = ConvTranspose <strides: ints = [2, 2], group: int = {group}> (x, w)
            {apply("h", "y")}
        }}"""
    )
    assert operators(run_pass(original, "fold_batch_norm").model) == {"ConvTranspose": 1}


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("c", ["", "float[5] c", "float[1,5] c", "float[3,5] c", "float[1] c"])
def test_after_gemm_minds_alpha_beta_and_transposition(transposed: int, c: str) -> None:
    shape = "5,4" if transposed else "4,5"
    original = model(
        f"""g (float[3,4] x) => (float[3,5] y) <float[{shape}] w, {norm(5)}{"," if c else ""} {c}> {{
            h = Gemm <alpha: float = 0.7, beta: float = 1.3, transB: int = {transposed}> (x, w{", c" if c else ""})
            {apply("h", "y")}
        }}"""
    )
    assert operators(run_pass(original, "fold_batch_norm").model) == {"Gemm": 1}


def test_after_a_product_and_its_bias() -> None:
    original = model(
        f"""g (float[3,4] x) => (float[3,5] y) <float[4,5] w, float[5] b, {norm(5)}> {{
            h = MatMul (x, w)
            i = Add (b, h)
            {apply("i", "y")}
        }}"""
    )
    assert operators(run_pass(original, "fold_batch_norm").model) == {"MatMul": 1, "Add": 1}


def test_a_bias_alone_stays_behind_a_product() -> None:
    original = model(
        "g (float[3,4] x) => (float[3,5] y) <float[4,5] w, float[5] b> { h = MatMul (x, w) y = Add (h, b) }"
    )
    optimized = run_pass(original, "fold_batch_norm")
    assert operators(optimized.model) == {"MatMul": 1, "Add": 1}
    assert weights(optimized.model).keys() == {"w", "b"}


def test_channels_of_a_product_of_three_dimensions_are_not_its_last_axis() -> None:
    original = model(
        f"""g (float[2,5,4] x) => (float[2,5,6] y) <float[4,6] w, {norm(5)}> {{
            h = MatMul (x, w)
            {apply("h", "y")}
        }}"""
    )
    optimized = run_pass(original, "fold_batch_norm")
    assert operators(optimized.model) == {"MatMul": 1, "Mul": 1, "Add": 1}
    assert "another axis" in remarks(optimized)


@pytest.mark.parametrize("shape", ["", "1", "6,1,1", "1,6,1,1"])
def test_a_batch_norm_in_disguise(shape: str) -> None:
    tensor = f"float[{shape}]" if shape else "float"
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,6,5,5] y)
            <float[6,4,1,1] w, {tensor} mean, {tensor} deviation, {tensor} scale, {tensor} shift> {{
            h = Conv (x, w)
            i = Sub (h, mean)
            j = Div (i, deviation)
            k = Mul (scale, j)
            l = Sub (shift, k)
            y = Identity (l)
        }}""",
    )
    assert operators(run_pass(original, "fold_batch_norm").model) == {"Conv": 1, "Identity": 1}


@pytest.mark.parametrize("shape", ["5,5", "5", "1,6,5,5", "2,6,1,1", "1,1,6,1,1"])
def test_a_scale_along_other_axes_is_not_folded(shape: str) -> None:
    rank = max(4, shape.count(",") + 1)
    out = {4: "N,6,5,5", 5: "1,1,6,5,5"}[rank]
    original = model(
        f"""g (float[1,4,5,5] x) => (float[{out}] y) <float[6,4,1,1] w, float[{shape}] s> {{
            h = Conv (x, w)
            y = Mul (h, s)
        }}"""
    )
    assert operators(run_pass(original, "fold_batch_norm").model) == {"Conv": 1, "Mul": 1}


def test_a_chain_behind_nothing_becomes_one_scale_and_shift() -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,4,5,5] y) <{norm(4)}, float s> {{
            h = Mul (x, s)
            {apply("h", "i")}
            y = Relu (i)
        }}"""
    )
    assert operators(run_pass(original, "fold_batch_norm").model) == {"Mul": 1, "Add": 1, "Relu": 1}


def test_before_a_convolution_without_padding() -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,6,3,3] y, float[1,4,5,5] z)
            <float[6,2,3,3] w, float[4,4,1,1] v, {norm(4)}> {{
            h = Relu (x)
            {apply("h", "i")}
            y = Conv <group: int = 2> (i, w)
            z = Conv (i, v)
        }}"""
    )
    assert operators(run_pass(original, "fold_batch_norm").model) == {"Relu": 1, "Conv": 2}


def test_a_shift_is_not_folded_before_padding() -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,6,5,5] y) <float[6,4,3,3] w, {norm(4)}> {{
            h = Relu (x)
            {apply("h", "i")}
            y = Conv <pads: ints = [1, 1, 1, 1]> (i, w)
        }}"""
    )
    optimized = run_pass(original, "fold_batch_norm")
    assert operators(optimized.model) == {"Relu": 1, "Mul": 1, "Add": 1, "Conv": 1}
    assert "its shift would have to apply to the padding" in remarks(optimized)


def test_a_scale_alone_folds_before_padding() -> None:
    original = model(
        """g (float[1,4,5,5] x) => (float[1,6,5,5] y) <float[6,4,3,3] w, float[4,1,1] s> {
            h = Relu (x)
            i = Mul (h, s)
            y = Conv <pads: ints = [1, 1, 1, 1]> (i, w)
        }"""
    )
    assert operators(run_pass(original, "fold_batch_norm").model) == {"Relu": 1, "Conv": 1}


@pytest.mark.parametrize("transposed", [0, 1])
def test_before_gemm(transposed: int) -> None:
    shape = "5,4" if transposed else "4,5"
    original = model(
        f"""g (float[3,4] x) => (float[3,5] y) <float[{shape}] w, float[5] c, {norm(4)}> {{
            h = Relu (x)
            {apply("h", "i")}
            y = Gemm <alpha: float = 0.7, beta: float = 1.3, transB: int = {transposed}> (i, w, c)
        }}"""
    )
    assert operators(run_pass(original, "fold_batch_norm").model) == {"Relu": 1, "Gemm": 1}


def test_a_value_with_other_readers_is_not_normalized() -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,6,5,5] y, float[1,6,5,5] z) <float[6,4,1,1] w, {norm(6)}> {{
            h = Conv (x, w)
            {apply("h", "y")}
            z = Relu (h)
        }}"""
    )
    optimized = run_pass(original, "fold_batch_norm")
    assert operators(optimized.model) == {"Conv": 1, "Mul": 1, "Add": 1, "Relu": 1}
    assert "other nodes read its output" in remarks(optimized)


def test_an_unused_reader_does_not_count() -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,6,5,5] y) <float[6,4,1,1] w, float[6,6,1,1] v, {norm(6)}> {{
            h = Conv (x, w)
            unread = Conv (h, v)
            {apply("h", "y")}
        }}"""
    )
    assert operators(run_pass(original, "fold_batch_norm").model) == {"Conv": 1}


def test_a_value_that_is_an_output_too() -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,6,5,5] y, float[1,6,5,5] h) <float[6,4,1,1] w, {norm(6)}> {{
            h = Conv (x, w)
            {apply("h", "y")}
        }}"""
    )
    assert operators(run_pass(original, "fold_batch_norm").model)["Conv"] == 1


def shared(size: int, statistics: str) -> onnx.ModelProto:
    return model(
        f"""g (float[1,4,{size},{size}] x, float[1,4,{size},{size}] z) => (float[1,6,{size},{size}] y)
            <float[6,4,1,1] w, {norm(6, "_a")}, {norm(6, "_b")}> {{
            g = Conv (x, w)
            {apply("g", "h", "_a")}
            i = Conv (z, w)
            {apply("i", "j", statistics)}
            y = Add (h, j)
        }}"""
    )


@pytest.mark.parametrize("statistics", ["_a", "_b"])
def test_shared_weights_are_copied_where_that_pays(statistics: str) -> None:
    assert operators(run_pass(shared(5, statistics), "fold_batch_norm").model) == {"Conv": 2, "Add": 1}


def test_shared_weights_are_not_copied_for_a_small_answer() -> None:
    optimized = run_pass(shared(1, "_b"), "fold_batch_norm")
    assert "a copy of it would exceed twice the size" in remarks(optimized)
    assert len([array for array in weights(optimized.model).values() if array.ndim == 4]) <= 2


def test_a_weight_without_other_readers_is_folded_without_a_copy() -> None:
    original = model(
        f"""g (float[1,4,1,1] x, float[1,4,9,9] z) => (float[1,6,1,1] y, float[1,6,9,9] w)
            <float[6,4,1,1] v, {norm(6, "_a")}, {norm(6, "_b")}> {{
            h = Conv (x, v)
            {apply("h", "y", "_a")}
            i = Conv (z, v)
            {apply("i", "w", "_b")}
        }}"""
    )
    optimized = run_pass(original, "fold_batch_norm")
    assert operators(optimized.model) == {"Conv": 2}
    assert len([array for array in weights(optimized.model).values() if array.ndim == 4]) == 2


def test_a_weight_that_is_an_output_is_left() -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,6,5,5] y, float[6,4,1,1] w) <{norm(6)}> {{
            w = Constant <value = float[6,4,1,1] {{{",".join(["1.5"] * 24)}}}> ()
            h = Conv (x, w)
            {apply("h", "y")}
        }}"""
    )
    optimized = run_pass(original, "fold_batch_norm")
    assert operators(optimized.model) == {"Conv": 1, "Mul": 1, "Add": 1}
    assert "output of the model" in remarks(optimized)


def test_a_weight_that_is_an_input_is_left() -> None:
    original = model(
        f"""g (float[1,4,5,5] x, float[6,4,1,1] w) => (float[1,6,5,5] y) <{norm(6)}> {{
            h = Conv (x, w)
            {apply("h", "y")}
        }}"""
    )
    optimized = run_pass(original, "fold_batch_norm")
    assert operators(optimized.model) == {"Conv": 1, "Mul": 1, "Add": 1}
    assert "not constant" in remarks(optimized)


def test_a_bias_that_is_an_input_is_left() -> None:
    original = model(
        f"""g (float[1,4,5,5] x, float[6] b) => (float[1,6,5,5] y) <float[6,4,1,1] w, {norm(6)}> {{
            h = Conv (x, w, b)
            {apply("h", "y")}
        }}"""
    )
    optimized = run_pass(original, "fold_batch_norm")
    assert operators(optimized.model) == {"Conv": 1, "Mul": 1, "Add": 1}
    assert "the preceding bias is not constant" in remarks(optimized)


def test_invalid_statistics_are_not_folded() -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,6,5,5] y) <float[6,4,1,1] w, {norm(6)}> {{
            h = Conv (x, w)
            {apply("h", "y")}
        }}""",
        variance=np.full(6, -1.0),
    )
    before = original.SerializeToString()
    optimized = graph_passes.optimize(original, passes=["fold_batch_norm"])
    assert original.SerializeToString() == before
    assert operators(optimized.model) == {"Conv": 1, "BatchNormalization": 1}
    assert "variance + epsilon is not positive" in remarks(optimized)


def test_training_mode_is_left() -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,6,5,5] y) <float[6,4,1,1] w, {norm(6)}> {{
            h = Conv (x, w)
            y, m, v = BatchNormalization <training_mode: int = 1> (h, gamma, beta, mean, variance)
        }}"""
    )
    optimized = graph_passes.optimize(original, passes=["fold_batch_norm"])
    assert operators(optimized.model) == {"Conv": 1, "BatchNormalization": 1}
    assert "training mode" in remarks(optimized)


@pytest.mark.parametrize("opset", [14, 15, 18])
@pytest.mark.parametrize("before", ["h = Conv (x, w)", "h = Relu (x)"])
def test_all_passes_leave_training_mode(opset: int, before: str) -> None:
    """Its output depends on the statistics of the batch, also where the other outputs are not read."""
    original = model(
        f"""g (float[2,4,5,5] x) => (float[2,4,5,5] y) <float[4,4,1,1] w, {norm(4)}> {{
            {before}
            y, m, v = BatchNormalization <training_mode: int = 1> (h, gamma, beta, mean, variance)
        }}""",
        opset,
    )
    inputs = oracle.random_inputs(original, seed=1)
    changed = graph_passes.optimize(original, passes=passes_of_build()).model
    (kept,) = (node for node in changed.graph.node if node.op_type == "BatchNormalization")
    assert [attribute.i for attribute in kept.attribute if attribute.name == "training_mode"] == [1]
    oracle.assert_same(original, changed, inputs)


@pytest.mark.parametrize("opset", [7, 9, 13])
def test_training_by_its_outputs_is_left(opset: int) -> None:
    original = model(
        f"""g (float[2,4,5,5] x) => (float[2,4,5,5] y) <float[4,4,1,1] w, {norm(4)}> {{
            h = Conv (x, w)
            y, m, v, sm, sv = BatchNormalization (h, gamma, beta, mean, variance)
        }}""",
        opset,
    )
    for passes in (["fold_batch_norm"], passes_of_build()):
        changed = graph_passes.optimize(original, passes=passes).model
        (kept,) = (node for node in changed.graph.node if node.op_type == "BatchNormalization")
        training = [attribute.i for attribute in kept.attribute if attribute.name == "training_mode"]
        assert training == [1] or (changed.opset_import[0].version == opset and len(kept.output) == 5)


def test_a_division_of_a_constant_is_not_folded() -> None:
    original = model(
        """g (float[1,4,5,5] x) => (float[1,6,5,5] y) <float[6,4,1,1] w, float c> {
            h = Conv (x, w)
            i = Exp (h)
            y = Div (c, i)
        }"""
    )
    assert operators(run_pass(original, "fold_batch_norm").model) == {"Conv": 1, "Exp": 1, "Div": 1}


@pytest.mark.parametrize("between", ["", "r = Add (h, x)"])
def test_the_division_of_a_hard_swish_is_left_to_it(between: str) -> None:
    """Folded into the next convolution, it would leave x clip(x + 3, 0, 6), which is not an activation."""
    h = "r" if between else "h"
    original = model(
        f"""g (float[1,6,5,5] x) => (float[1,6,5,5] y) <float[6,6,1,1] w, float three, float zero, float six,
            float[6,6,1,1] u, {norm(6)}> {{
            h = Conv (x, w)
            {between}
            raised = Add ({h}, three)
            gate = Clip (raised, zero, six)
            gated = Mul ({h}, gate)
            a = Div (gated, six)
            {apply("a", "n")}
            y = Conv (n, u)
        }}""",
        three=3.0, zero=0.0, six=6.0,
    )  # fmt: skip
    kept = {"Conv": 2, "Add": 1 + bool(between), "Clip": 1, "Mul": 1, "Div": 1}
    assert operators(run_pass(original, "fold_batch_norm").model) == kept
    fused = graph_passes.optimize(original, passes=["fold_batch_norm", "fuse_layers"])
    name = "Conv_residual_hard_swish" if between else "Conv_hard_swish"
    assert operators(fused.model) == {name: 1, "Conv": 1}


def test_integers_are_not_scaled() -> None:
    original = model(
        """g (int32[1,4] x) => (int32[1,4] y) <int32 a, int32 b, int32 c> {
            h = Mul (x, a)
            i = Mul (h, b)
            y = Div (i, c)
        }""",
        a=3, b=5, c=7,
    )  # fmt: skip
    optimized = graph_passes.optimize(original, passes=["fold_batch_norm"])
    assert operators(optimized.model) == {"Mul": 2, "Div": 1}


def test_inside_of_control_flow() -> None:
    original = model(
        f"""g (float[1,4,5,5] x, bool c) => (float[N,M,H,W] y) <float[6,4,1,1] w, {norm(6)}> {{
            y = If (c) <
                then_branch = t () => (float[1,6,5,5] a) {{ h = Conv (x, w) {apply("h", "a")} }},
                else_branch = e () => (float[1,4,5,5] b) {{ b = Relu (x) }}
            >
        }}"""
    )
    optimized = graph_passes.optimize(original, passes=["fold_batch_norm"])
    branch = optimized.model.graph.node[0].attribute[0].g
    assert [node.op_type for node in branch.node] == ["Conv"]
