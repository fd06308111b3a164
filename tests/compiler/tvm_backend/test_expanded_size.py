"""The size of an expression, and chains of functions that would take hours to compile as one expression."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compiler.models import assert_answers, graph

tvm = pytest.importorskip("tvm")
expanded_size = pytest.importorskip("compiler.tvm_backend.expanded_size", exc_type=ImportError)

pytestmark = pytest.mark.tvm

CHAINS = {
    "exp": ("Exp", "Neg", "Exp", "Neg", "Exp"),
    "sin": ("Sin", "Cos", "Sin"),
    "log": ("Softplus", "Log", "Log", "Tanh"),
    "mish": ("Mish", "Mish", "Mish"),
    "arcs": ("Tanh", "Asin", "Tanh", "Acos", "Atan"),
}


@pytest.mark.parametrize("name", ["tanh", "exp", "log", "sqrt"])
def test_nested_functions_multiply(name: str) -> None:
    from tvm import ir, tirx

    x = tirx.Var("x", ir.PrimType("float32"))
    function = getattr(tirx, name)
    once = expanded_size.expanded_size(function(x))
    assert expanded_size.expanded_size(function(function(x))) == once**2
    assert expanded_size.expanded_size(function(x) + function(x)) == 2 * once
    assert (once == 1) == (name == "sqrt")


def test_a_variable_counts_as_its_value() -> None:
    from tvm import ir, tirx

    x, y = (tirx.Var(name, ir.PrimType("float32")) for name in "xy")
    nested = tirx.Let(y, x * x + x, y * y)
    assert expanded_size.expanded_size(nested) == 6
    assert expanded_size.expanded_size(tirx.Select(x < y, nested, y)) == 9


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("shape", ["3,5,7,16", "1013"])
def test_chains_of_functions(name: str, shape: str) -> None:
    import compiler

    names = ["x", *(f"@{place}" for place in range(len(CHAINS[name]) - 1)), "@"]
    statements = [f"{names[i + 1]} = {op} ({names[i]})" for i, op in enumerate(CHAINS[name])]
    original = graph(f"float[{shape}] x", "", {"y": " ".join(statements)})
    inputs = {
        "x": np.random.default_rng(0).uniform(0.6, 1, [int(size) for size in shape.split(",")]).astype(np.float32)
    }
    assert_answers(compiler.build(original, threads=1), original, inputs)
