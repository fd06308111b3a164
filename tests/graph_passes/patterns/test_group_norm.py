"""Normalization of groups of channels in the forms that exporters write becomes one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import pytest

import graph_passes
from compiler.build import passes_of_build
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators, run_pass

DECLARED = "int64[3] grouped, int64[4] whole, float[4] ones, float[4] zeros, float[12,1,1] gamma, float[12,1,1] beta"
NUMBERS: dict[str, Any] = {"grouped": [0, 4, -1], "whole": [2, 12, 5, 6]}
NORMAL = "r = Reshape (x, grouped) n = InstanceNormalization <epsilon = 0.01> (r, ones, zeros) b = Reshape (n, whole)"


def grouped(statements: str, declared: str = DECLARED, **numbers: float | Sequence[float]) -> onnx.ModelProto:
    text = f"g (float[2,12,5,6] x) => (float[2,12,5,6] y) <{declared}> {{ {statements} }}"
    given: dict[str, Any] = {**NUMBERS, **numbers}
    return model(text, **given)


@pytest.mark.parametrize(
    "statements",
    [
        f"{NORMAL} o = Mul (b, gamma) y = Add (o, beta)",
        f"{NORMAL} o = Mul (gamma, b) y = Add (beta, o)",
        f"{NORMAL} y = Mul (b, gamma)",
        f"{NORMAL} y = Identity (b)",
    ],
)
def test_torch(statements: str) -> None:
    found = operators(run_pass(grouped(statements), "fuse_layers").model)
    assert found == {"GroupNormalization": 1} | ({"Identity": 1} if "Identity" in statements else {})


def test_scale_and_shift_before_the_second_reshape() -> None:
    declared = (
        "int64[5] grouped, int64[4] whole, float[4] ones, float[4] zeros, float[4,3,1,1] gamma, float[4,1,1,1] beta"
    )
    original = grouped(
        """r = Reshape (x, grouped) n = InstanceNormalization (r, ones, zeros) o = Mul (n, gamma) p = Add (o, beta)
        y = Reshape (p, whole)""",
        declared,
        grouped=[2, 4, 3, 5, 6],
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"GroupNormalization": 1}


def test_separate_operators_in_groups() -> None:
    """As frameworks without the operator decompose it."""
    declared = """int64[3] grouped, int64[4] whole, int64[1] last, float epsilon, float[12,1,1] gamma,
        float[12,1,1] beta"""
    original = grouped(
        """r = Reshape (x, grouped) m = ReduceMean (r, last) d = Sub (r, m) p = Mul (d, d) v = ReduceMean (p, last)
        e = Add (v, epsilon) s = Sqrt (e) n = Div (d, s) b = Reshape (n, whole) o = Mul (b, gamma) y = Add (o, beta)""",
        declared,
        last=-1,
        epsilon=1e-3,
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"GroupNormalization": 1}


def test_the_operator_of_opset_21() -> None:
    original = model(
        """g (float[2,12,5,6] x) => (float[2,12,5,6] y) <float[12] gamma, float[12] beta> {
            y = GroupNormalization <num_groups = 4, epsilon = 0.01> (x, gamma, beta)
        }""",
        opset=21,
    )
    found = run_pass(original, "fuse_layers").model
    assert [(node.domain, node.op_type) for node in found.graph.node] == [("loopwright", "GroupNormalization")]


@pytest.mark.parametrize(
    "statements",
    [
        f"{NORMAL} c = Abs (b) u = Abs (r) w = ReduceMean (u) y = Add (c, w)",  # the groups are read elsewhere
        """t = Transpose <perm = [0,2,3,1]> (x) r = Reshape (t, grouped)
        n = InstanceNormalization (r, ones, zeros) y = Reshape (n, whole)""",
    ],
)
def test_other_graphs_stay(statements: str) -> None:
    original = grouped(statements, "int64[3] grouped, int64[4] whole, float[4] ones, float[4] zeros")
    assert "GroupNormalization" not in operators(run_pass(original, "fuse_layers").model)


def test_between_convolutions_its_channels_come_last() -> None:
    original = model(
        f"""g (float[2,12,5,6] x) => (float[2,12,5,6] y) <{DECLARED}, float[12,12,3,3] w, float[12,12,3,3] v> {{
            c = Conv <pads = [1,1,1,1]> (x, w)
            {NORMAL.replace("(x,", "(c,")} o = Mul (b, gamma) a = Add (o, beta)
            s = Sigmoid (a) m = Mul (a, s)
            y = Conv <pads = [1,1,1,1]> (m, v)
        }}""",
        **NUMBERS,
    )
    found = graph_passes.optimize(original, passes=passes_of_build()).model
    oracle.assert_same(original, found, oracle.random_inputs(original, seed=1))
    assert operators(found)["GroupNormalization_nhwc"] == 1
    assert operators(found)["Transpose"] == 2
