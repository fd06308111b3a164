"""Reductions: empty axes, axes of size 0, scalars, infinities and NaN."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compiler.tvm_backend.operators.single import INF, NAN, check, normal

REDUCTIONS = {
    "ReduceL1": (lambda x: np.abs(x).sum(), 0.0),
    "ReduceL2": (lambda x: np.sqrt((x * x).sum()), 0.0),
    "ReduceLogSum": (lambda x: np.log(x.sum()), -INF),
    "ReduceLogSumExp": (lambda x: np.log(np.exp(x).sum()), -INF),
    "ReduceMax": (np.max, -INF),
    "ReduceMean": (np.mean, NAN),
    "ReduceMin": (np.min, INF),
    "ReduceProd": (np.prod, 1.0),
    "ReduceSum": (np.sum, 0.0),
    "ReduceSumSquare": (lambda x: (x * x).sum(), 0.0),
}


@pytest.mark.tvm
@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("shape", [(40,), (8, 5), (1, 3, 16, 16), (1000,)])
def test_of_all_elements_to_a_scalar(op: str, shape: tuple[int, ...]) -> None:
    x = np.abs(normal(*shape)) * 0.1 + 0.95
    want = REDUCTIONS[op][0](x.astype(np.float64)).astype(np.float32)
    check(f"(float[{','.join(map(str, shape))}] x) => (float y) {{ y = {op} <keepdims=0> (x) }}", [want],
          rtol=2e-6 * np.sqrt(x.size), x=x)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("op", REDUCTIONS)
def test_no_axes_and_noop(op: str) -> None:
    x = np.abs(normal(3, 4))
    element = np.vectorize(lambda number: REDUCTIONS[op][0](np.array([number])))
    check(f"(float[3,4] x) => (float[3,4] y) <int64[0] a = {{}}> {{ y = {op} <noop_with_empty_axes=1> (x, a) }}",
          [element(x.astype(np.float64)).astype(np.float32)], x=x)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("op", REDUCTIONS)
def test_over_an_axis_of_size_zero(op: str) -> None:
    check(f"(float[2,0,3] x) => (float[2,3] y) <int64[1] a = {{1}}> {{ y = {op} <keepdims=0> (x, a) }}",
          [np.full((2, 3), REDUCTIONS[op][1], np.float32)], opset=20, x=np.zeros((2, 0, 3), np.float32))  # fmt: skip


@pytest.mark.tvm
def test_of_infinities() -> None:
    x = np.array([[-INF, -INF], [INF, INF], [1, -INF]], np.float32)
    check("(float[3,2] x) => (float[3,1] a, float[3,1] b, float[3,1] c, int64[3,1] d, int64[3,1] e) <int64[1] i = {1}>"
          "{ a = ReduceMax (x, i) b = ReduceMin (x, i) c = ReduceLogSumExp (x, i) d = ArgMax <axis=1> (x)"
          " e = ArgMin <axis=1> (x) }",
          [[[-INF], [INF], [np.float32(1)]], [[-INF], [INF], [-INF]], [[-INF], [INF], [np.float32(1)]],
           [[0], [0], [0]], [[0], [0], [1]]], x=x)  # fmt: skip


@pytest.mark.tvm
def test_extremes_propagate_nan() -> None:
    x = np.array([[1, NAN, 3], [NAN, 2, 1], [1, 2, 3]], np.float32)
    check("(float[3,3] x) => (float[3,1] a, float[3,1] b) <int64[1] i = {1}> "
          "{ a = ReduceMax (x, i) b = ReduceMin (x, i) }",
          [np.array([[NAN], [NAN], [3]], np.float32), np.array([[NAN], [NAN], [1]], np.float32)], x=x)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("last", [0, 1])
def test_the_first_or_last_of_equal_elements(last: int) -> None:
    x = np.array([[1, 3, 3, 0], [2, 2, 2, 2]], np.float32)
    want = [[2], [3]] if last else [[1], [0]]
    check(f"(float[2,4] x) => (int64[2,1] y) {{ y = ArgMax <axis=1, select_last_index={last}> (x) }}", [want], x=x)


@pytest.mark.tvm
@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "bool"])
def test_extremes_of_integers(kind: str) -> None:
    x = np.array([[1, 0, 1], [0, 0, 0]]).astype(kind)
    check(f"({kind}[2,3] x) => ({kind}[2] y) <int64[1] a = {{1}}> {{ y = ReduceMax <keepdims=0> (x, a) }}",
          [x.max(1)], opset=20, x=x)  # fmt: skip


@pytest.mark.tvm
def test_float16_sums_are_rounded_once() -> None:
    x = np.full((4096,), 0.1, np.float16)
    want = np.float16(x.astype(np.float64).sum())
    check("(float16[4096] x) => (float16[1] y) { y = ReduceSum (x) }", [[want]], rtol=1e-3, x=x)
