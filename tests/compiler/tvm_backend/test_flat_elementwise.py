"""Elementwise functions are one loop over all elements, and compute the same as before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import te, tirx

import compiler
from compiler.tvm_backend.flat_elementwise import flattened
from tests.graph_passes import oracle
from tests.graph_passes.models import model

pytestmark = pytest.mark.tvm

SHAPE = (2, 3, 5, 7)


def shapes(function: object) -> list[tuple[int, ...]]:
    return [tuple(int(size) for size in buffer.shape) for buffer in function.params]  # type: ignore[attr-defined]


def test_tensors_of_the_shape_of_the_output_are_flat_and_those_of_one_element_are_not() -> None:
    x, y = te.placeholder(SHAPE, "float32", "x"), te.placeholder(SHAPE, "float32", "y")
    one = te.placeholder((1, 1), "float32", "one")
    answer: Any = te.compute(SHAPE, lambda *i: x(*i) * y(*i) + one(0, 0))
    found = flattened(te.create_prim_func([x, y, one, answer]))
    assert shapes(found) == [(210,), (210,), (1, 1), (210,)]


@pytest.mark.parametrize(
    "element",
    [
        lambda x, n, h, w, c: x(n, w, h, c),  # transposed
        lambda x, n, h, w, c: x(n, h, w, 6 - c),  # reversed
        lambda x, n, h, w, c: x(n, h, w, c) + c.astype("float32"),  # depends on the position
    ],
)
def test_others_are_left_alone(element: object) -> None:
    shape = (2, 3, 3, 7)
    x = te.placeholder(shape, "float32", "x")
    function = te.create_prim_func([x, te.compute(shape, lambda *i: element(x, *i))])  # type: ignore[operator]
    assert flattened(function).same_as(function)


def test_broadcasts_and_sums_are_left_alone() -> None:
    x, row = te.placeholder((4, 7), "float32", "x"), te.placeholder((7,), "float32", "row")
    sums: Any = te.compute((4, 7), lambda i, j: x(i, j) + row(j))
    broadcast = te.create_prim_func([x, row, sums])
    k = te.reduce_axis((0, 7), "k")
    rows: Any = te.compute((4,), lambda i: te.sum(x(i, k), k))
    total = te.create_prim_func([x, rows])
    for function in (broadcast, total):
        assert flattened(function).same_as(function)


def test_functions_of_symbolic_sizes_are_left_alone() -> None:
    x, rows, columns = te.placeholder((4, 7), "float32", "x"), tirx.Var("rows", "int64"), tirx.Var("columns", "int64")
    count: Any = rows * columns
    answer = te.compute((4, 7), lambda i, j: x(i, j) / count.astype("float32"))
    for arguments in ([x, rows, columns, answer], [x, answer, rows, columns]):
        function = te.create_prim_func(arguments)
        assert flattened(function).same_as(function)


def test_a_model_whose_generated_code_reads_two_sizes() -> None:
    original = model(
        "g (float[N,M] x, float[4,7] a) => (float[4,7] y) { s = Size (x) f = Cast <to = 1> (s) y = Mul (a, f) }"
    )
    built = compiler.build(original, {"x": (range(1, 5), range(1, 5)), "a": (4, 7)}, threads=1)
    a = np.random.default_rng(0).standard_normal((4, 7), np.float32)
    for shape in ((1, 4), (3, 2)):
        answer = built.run({"x": np.zeros(shape, np.float32), "a": a})["y"]
        np.testing.assert_array_equal(answer, a * np.float32(np.prod(shape)))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("channels", [1, 3, 24])
def test_answers(channels: int, threads: int) -> None:
    shape = f"1,9,11,{channels}"
    original = model(
        f"g (float[{shape}] x, float[{shape}] z) => (float[{shape}] y) <float[1,1,1,1] c>"
        "{ a = LeakyRelu <alpha = 0.2> (x) b = Max (a, c) d = Exp (z) y = Mul (b, d) }"
    )
    built = compiler.build(original, threads=threads)
    for seed in range(3):
        inputs = oracle.random_inputs(original, seed)
        (expected,) = oracle.run(original, inputs)
        np.testing.assert_allclose(built.run(inputs)["y"], expected, rtol=2e-6, atol=1e-6)
