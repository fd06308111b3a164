"""Softmax in separate operators becomes one node."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from tests.graph_passes.models import model, operators, run_pass

SHIFT = "m = ReduceMax (x, axis) d = Sub (x, m) e = Exp (d)"
LAST = "float[2,3,8]"


def separate(statements: str, axis: int = -1) -> onnx.ModelProto:
    constants: dict[str, Any] = {"axis": axis, "kept": [2, 3, 1], "lowest": float("-inf"), "whole": [2, 3, 8]}
    kinds = {"axis": "int64[1]", "kept": "int64[3]", "lowest": "float", "whole": "int64[3]"}
    words = statements.replace("(", " ").replace(")", " ").replace(",", " ").split()
    used = [name for name in constants if name in words]
    declared = ", ".join(f"{kinds[name]} {name}" for name in used)
    text = f"g (float[2,3,8] x) => (float[2,3,8] y) <{declared}> {{ {statements} }}"
    return model(text, **{name: constants[name] for name in used})


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize(
    "quotient", ["y = Div (e, s)", "r = Reciprocal (s) y = Mul (e, r)", "r = Reciprocal (s) y = Mul (r, e)"]
)
def test_separate_operators(quotient: str, axis: int) -> None:
    found = run_pass(separate(f"{SHIFT} s = ReduceSum (e, axis) {quotient}", axis), "fuse_layers").model
    assert operators(found) == {"Softmax": 1}
    (node,) = found.graph.node
    assert node.attribute[0].i == axis % 3


def test_jax() -> None:
    statements = """a = ReduceMax <keepdims = 0> (x, axis) b = Max (lowest, a) c = Reshape (b, kept)
        m = Expand (c, whole) d = Sub (x, m) e = Exp (d) t = ReduceSum <keepdims = 0> (e, axis) u = Reshape (t, kept)
        s = Expand (u, whole) y = Div (e, s)"""
    assert operators(run_pass(separate(statements), "fuse_layers").model) == {"Softmax": 1}


@pytest.mark.parametrize(
    "statements",
    [
        "e = Exp (x) s = ReduceSum (e, axis) y = Div (e, s)",  # overflows for other numbers than a softmax does
        f"{SHIFT} s = ReduceSum (e) y = Div (e, s)",
        f"{SHIFT} s = ReduceMean (e, axis) y = Div (e, s)",
        f"{SHIFT} s = ReduceSum (e, axis) y = Div (s, e)",
    ],
)
def test_other_functions_stay(statements: str) -> None:
    original = separate(statements)
    assert operators(run_pass(original, "fuse_layers").model) == operators(original)


def test_another_axis_of_the_sum_stays() -> None:
    original = model(
        f"""g ({LAST} x) => ({LAST} y) <int64[1] axis, int64[1] other> {{
            {SHIFT} s = ReduceSum (e, other) y = Div (e, s)
        }}""",
        axis=2, other=1,
    )  # fmt: skip
    assert operators(run_pass(original, "fuse_layers").model) == operators(original)


def test_an_expand_along_another_axis_stays() -> None:
    original = model(
        """g (float[4,4] x) => (float[4,4] y) <int64[1] axis, int64[2] whole> {
            a = ReduceMax <keepdims = 0> (x, axis) m = Expand (a, whole) d = Sub (x, m) e = Exp (d)
            t = ReduceSum <keepdims = 0> (e, axis) s = Expand (t, whole) y = Div (e, s)
        }""",
        axis=1, whole=[4, 4],
    )  # fmt: skip
    assert operators(run_pass(original, "fuse_layers").model) == operators(original)


@pytest.mark.parametrize(
    ("flatten", "stays"),
    [("Flatten <axis = 2> (x)", False), ("Reshape (x, rows)", False), ("Flatten <axis = 1> (x)", True)],
)
def test_a_matrix_between_reshapes(flatten: str, stays: bool) -> None:
    original = model(
        f"""g (float[2,3,8] x) => (float[2,3,8] y) <int64[2] rows, int64[3] whole> {{
            f = {flatten}  s = Softmax (f)  y = Reshape (s, whole)
        }}""",
        rows=[6, 8], whole=[2, 3, 8],
    )  # fmt: skip
    found = operators(run_pass(original, "fuse_layers").model)
    assert found == (operators(original) if stays else {"Softmax": 1})
