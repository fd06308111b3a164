"""An If becomes the branch that runs, if that is known; otherwise it stays."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import graph_passes
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators, remarks, run_pass

RELU, NEG = "t = Relu (x)", "e = Neg (x)"
POSITIVE = "sum = ReduceSumSquare <keepdims = 0> (x)  zero = Constant <value_float = 0.0> ()  c = Greater (sum, zero)"
OF_DATA = POSITIVE.replace("ReduceSumSquare", "ReduceSum")


def squeeze(result: str) -> str:
    """Nodes that are possible only if the first size of x is 1."""
    axis, squeezed = f"axis_{result}", f"squeezed_{result}"
    made = f"{axis} = Constant <value_ints = [0]> ()  {squeezed} = Squeeze (x, {axis})"
    return f"{made}  {result} = Unsqueeze ({squeezed}, {axis})"


def choice(condition: str, then: str, other: str) -> onnx.ModelProto:
    """An If of two branches whose results are named t and e. The condition is the value c."""
    return model(
        f"""g (float[M, 3] x) => (float[N, 3] y) {{
            {condition}
            y = If <then_branch = a () => (float[P, 3] t) {{ {then} }},
                    else_branch = b () => (float[Q, 3] e) {{ {other} }}> (c)
        }}"""
    )


def resolved(original: onnx.ModelProto) -> graph_passes.Optimized:
    """Runs the pass for an x of 2 x 3."""
    optimized = graph_passes.optimize(original, {"x": (2, 3)}, ["freeze_shapes", "resolve_branches"])
    onnx.checker.check_model(optimized.model, full_check=True)
    oracle.assert_same(original, optimized.model, {"x": np.random.default_rng(0).standard_normal((2, 3), np.float32)})
    return optimized


@pytest.mark.parametrize(("condition", "taken"), [("1", "Relu"), ("0", "Neg")])
def test_a_constant_condition(condition: str, taken: str) -> None:
    original = choice(f"c = Constant <value = bool {{{condition}}}> ()", RELU, NEG)
    optimized = run_pass(graph_passes.optimize(original, {"x": (2, 3)}, ["freeze_shapes"]).model, "resolve_branches")
    assert set(operators(optimized.model)) == {taken, "Identity"}


def test_a_condition_of_a_shape() -> None:
    condition = "s = Shape <start = 0, end = 1> (x)  two = Constant <value_ints = [2]> ()  c = Equal (s, two)"
    found = operators(resolved(choice(condition, RELU, NEG)).model)
    assert found["Relu"] == 1
    assert "If" not in found


def test_a_branch_that_does_not_fit() -> None:
    optimized = resolved(choice(POSITIVE, RELU, squeeze("e")))
    assert "If" not in operators(optimized.model)
    assert "becomes its then_branch: the other one does not fit the shapes" in remarks(optimized)


@pytest.mark.parametrize(("then", "other"), [(RELU, squeeze("e")), (squeeze("t"), RELU.replace("t =", "e ="))])
def test_the_branch_that_does_not_fit_is_an_error(then: str, other: str) -> None:
    """As before, also with ONNX Runtime's optimizations, and in a compiled program."""
    selected = then == RELU
    positive, negative = (np.full((2, 3), value, np.float32) for value in (1, -1))
    right, wrong = (positive, negative) if selected else (negative, positive)
    original = choice(OF_DATA, then, other)
    optimized = graph_passes.optimize(original, {"x": (2, 3)}, ["freeze_shapes", "resolve_branches"]).model
    for optimizations in (False, True):
        (y,) = oracle.run(optimized, {"x": right}, optimizations)
        np.testing.assert_array_equal(y, np.maximum(right, 0))
        with pytest.raises(Exception, match="branch does not fit the shapes of the inputs"):
            oracle.run(optimized, {"x": wrong}, optimizations)


@pytest.mark.tvm
def test_a_compiled_program_reports_the_branch_that_does_not_fit() -> None:
    import compiler

    compiled = compiler.build(choice(OF_DATA, RELU, squeeze("e")), {"x": (2, 3)}, threads=1, fallback=None)
    np.testing.assert_array_equal(compiled.run({"x": np.ones((2, 3), np.float32)})["y"], np.ones((2, 3)))
    with pytest.raises(ValueError, match="its else_branch does not fit the shapes of the inputs") as caught:
        compiled.run({"x": -np.ones((2, 3), np.float32)})
    assert "\n" not in str(caught.value)


def test_both_branches_fit() -> None:
    original = choice(OF_DATA, RELU, NEG)
    optimized = resolved(original)
    assert operators(optimized.model)["If"] == 1
    assert "stays: its condition is not constant" in remarks(optimized)
    for sign in (-1, 1):
        oracle.assert_same(original, optimized.model, {"x": np.full((2, 3), sign, np.float32)})


def test_neither_branch_fits() -> None:
    original = choice(OF_DATA, squeeze("t"), squeeze("e"))
    optimized = graph_passes.optimize(original, {"x": (2, 3)}, ["freeze_shapes", "resolve_branches"])
    assert operators(optimized.model)["If"] == 1


def test_branches_in_branches() -> None:
    """The inner If has one possible branch; the outer one keeps both."""
    inner = f"d = Not (c)  e = If <then_branch = i () => (float[R, 3] p) {{ {squeeze('p')} }}, "
    inner += "else_branch = j () => (float[S, 3] r) { n = Neg (x)  r = Exp (n) }> (d)"
    optimized = resolved(choice(POSITIVE, RELU, inner))
    (outer,) = (node for node in optimized.model.graph.node if node.op_type == "If")
    branches = {attribute.name: [node.op_type for node in attribute.g.node] for attribute in outer.attribute}
    assert "If" not in branches["else_branch"]
    assert "Exp" in branches["else_branch"]


def test_a_branch_with_weights_and_several_outputs() -> None:
    original = model(
        """g (float[2] x) => (float[2] y, float[2] z) {
            c = Constant <value = bool {1}> ()
            y, z = If <then_branch = a () => (float[2] p, float[2] q) <float[2] w = {1, 2}> {
                           p = Add (x, w)  q = Identity (p) },
                       else_branch = b () => (float[2] r, float[2] s) { r = Neg (x)  s = Neg (r) }> (c)
        }"""
    )
    assert "If" not in operators(run_pass(original, "resolve_branches").model)
