"""Loops that no vector divides: all sizes answer right, on one thread and two."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiler
from compiler.workloads.target import usable_cores
from tests.graph_passes.models import model

pytestmark = pytest.mark.tvm

NODES = {
    "function": ("", "y = Exp (x)", np.exp),
    "operand per column": ("c", "s = Add (x, c) y = Tanh (s)", lambda x, c: np.tanh(x + c)),
    "operand per row": ("r", "s = Mul (x, r) y = Exp (s)", lambda x, r: np.exp(x * r)),
    "transposed": ("", "s = Tanh (x) y = Transpose (s)", lambda x: np.tanh(x).T),
    "integers": ("", "i = Cast <to = 7> (x) s = Mul (i, i) y = Cast <to = 1> (s)", lambda x: np.trunc(x) ** 2),
}


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("threads", sorted({1, min(2, usable_cores())}))
@settings(max_examples=8, deadline=None)
@given(rows=st.integers(1, 40), columns=st.sampled_from([31, 33, 37, 47, 63, 65, 67, 129, 805]) | st.integers(1, 70))
def test_any_number_of_columns(name: str, threads: int, rows: int, columns: int) -> None:
    operand, nodes, function = NODES[name]
    shape = {"c": f"[{columns}]", "r": f"[{rows},1]"}.get(operand)
    extra = f", float{shape} {operand}" if shape else ""
    output = f"[{columns},{rows}]" if name == "transposed" else f"[{rows},{columns}]"
    built = compiler.build(
        model(f"g (float[{rows},{columns}] x{extra}) => (float{output} y) {{ {nodes} }}"), threads=threads
    )
    rng = np.random.default_rng(rows * 1000 + columns)
    inputs = {"x": rng.standard_normal((rows, columns), np.float32)}
    if shape:
        inputs[operand] = rng.standard_normal((columns,) if operand == "c" else (rows, 1), np.float32)
    expected = function(*(array.astype(np.float64) for array in inputs.values()))
    for _ in range(2):
        np.testing.assert_allclose(built.run(inputs)["y"], expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_reductions_of_any_sizes(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 3, 5, 17, 33, 70]), min_size=1, max_size=4), "shape"))
    axes = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1), "axes")
    name, function = data.draw(st.sampled_from([("ReduceProd", np.prod), ("ReduceMax", np.max)]), "operator")
    rest = [1 if axis in axes else size for axis, size in enumerate(shape)]
    listed = [",".join(map(str, sizes)) for sizes in (shape, rest)]
    text = f"g (float[{listed[0]}] x) => (float[{listed[1]}] y) <int64[{len(axes)}] axes> {{ y = {name} (x, axes) }}"
    built = compiler.build(model(text, axes=sorted(axes)), threads=1)
    x = np.random.default_rng(0).uniform(0.999, 1.001, shape).astype(np.float32)  # products stay close to 1
    expected = function(x.astype(np.float64), axis=tuple(axes), keepdims=True)
    np.testing.assert_allclose(built.run({"x": x})["y"], expected, rtol=1e-6 * max(10, x.size**0.5))
