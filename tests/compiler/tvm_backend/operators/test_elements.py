"""Functions of elements: NaN and infinities, integers, types, broadcasting."""

from __future__ import annotations

import numpy as np
import pytest

import compiler
from tests.compiler.tvm_backend.operators.single import INF, NAN, answers, check, normal, parsed, rejected

SPECIAL = np.array([NAN, INF, -INF, 0.0, -1.5, 2.5, 3.5, 100.0, -100.0], np.float32)
UNARY = (
    *("Abs", "Ceil", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Neg"),
    *("Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Tanh"),
    *("ThresholdedRelu", "Celu", "IsNaN", "IsInf", "IsInf <detect_negative=0>", "IsInf <detect_positive=0>", "Shrink"),
)


@pytest.mark.tvm
@pytest.mark.parametrize("op", UNARY)
def test_special_values_of_one_tensor(op: str) -> None:
    kind = "bool" if op.startswith("Is") else "float"
    name, _, attributes = op.partition(" ")
    check(f"(float[9] x) => ({kind}[9] y) {{ y = {name} {attributes} (x) }}", x=SPECIAL)


@pytest.mark.tvm
@pytest.mark.parametrize(("op", "function"), [("Asinh", np.arcsinh), ("Atanh", np.arctanh), ("Sinh", np.sinh)])
def test_functions_keep_the_digits_of_small_values(op: str, function) -> None:
    x = np.concatenate([np.logspace(-30, -1, 60), -np.logspace(-30, -1, 60)]).astype(np.float32)
    (got,) = answers(parsed(f"(float[120] x) => (float[120] y) {{ y = {op} (x) }}"), {"x": x})
    np.testing.assert_allclose(got, function(x.astype(np.float64)), rtol=8 * np.finfo(np.float32).eps)


@pytest.mark.tvm
def test_softplus_of_negative_values_is_relatively_accurate() -> None:
    x = np.linspace(-80, 10, 500, dtype=np.float32)
    (got,) = answers(parsed("(float[500] x) => (float[500] y) { y = Softplus (x) }"), {"x": x})
    np.testing.assert_allclose(got, np.log1p(np.exp(x.astype(np.float64))), rtol=3e-6)


@pytest.mark.tvm
@pytest.mark.parametrize("op", ["Max", "Min"])
def test_extremes_propagate_nan_from_either_side(op: str) -> None:
    function = np.maximum if op == "Max" else np.minimum
    a, b = np.array([NAN, 1, 2, INF], np.float32), np.array([1, NAN, 3, -INF], np.float32)
    check(f"(float[4] a, float[4] b) => (float[4] y) {{ y = {op} (a, b) }}", [function(a, b)], a=a, b=b)


@pytest.mark.tvm
def test_products_and_quotients_with_zero_are_not_simplified() -> None:
    x = np.array([NAN, INF, 2.0], np.float32)
    check(
        "(float[3] x) => (float[3] y, float[3] z) <float zero = {0}> { y = Mul (x, zero) z = Div (zero, x) }",
        [[NAN, NAN, np.float32(0)], np.array([NAN, 0, 0], np.float32)],
        x=x,
    )


@pytest.mark.tvm
@pytest.mark.parametrize("dtype", ["int32", "int64", "int8", "uint8"])
def test_division_of_integers(dtype: str) -> None:
    info = np.iinfo(dtype)
    a = np.array([7, info.min, info.max, 9, info.min], dtype)
    b = np.array([2, info.max, info.min or 3, 1, info.max if info.min == 0 else -1], dtype)
    wide_a, wide_b = a.astype(object), b.astype(object)
    quotient = [abs(p) // abs(q) * (1 if (p < 0) == (q < 0) else -1) for p, q in zip(wide_a, wide_b, strict=True)]
    bits = 8 * a.itemsize
    wrapped = np.array([int(q) % 2**bits for q in quotient], f"uint{bits}").astype(dtype)
    kind = f"{dtype}[5]"
    check(f"({kind} a, {kind} b) => ({kind} y) {{ y = Div (a, b) }}", [wrapped], a=a, b=b)
    with np.errstate(over="ignore"):
        floored = np.array([int(p) % int(q) for p, q in zip(wide_a, wide_b, strict=True)], dtype)
    check(f"({kind} a, {kind} b) => ({kind} y) {{ y = Mod (a, b) }}", [floored], a=a, b=b)


@pytest.mark.tvm
@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_division_by_zero_names_the_node(op: str) -> None:
    model = parsed(f"(int64[2] a, int64[2] b) => (int64[2] y) {{ y = {op} (a, b) }}")
    built = compiler.build(model, threads=1)
    a = np.array([4, 5])
    with pytest.raises(ValueError, match=rf"{op} \(node '.+'\): division of integers by zero"):
        built.run({"a": a, "b": np.array([1, 0])})
    np.testing.assert_array_equal(built.run({"a": a, "b": np.array([2, 5])})["y"], [2, 1] if op == "Div" else [0, 0])
    rejected(
        f"(int64[2] a) => (int64[2] y) <int64[1] zero = {{0}}> {{ y = {op} (a, zero) }}", "division of integers by zero"
    )


@pytest.mark.tvm
def test_remainders_follow_the_sign_that_fmod_chooses() -> None:
    a, b = np.array([-7, 7, -7, 6], np.float32), np.array([3, -3, -3, 2], np.float32)
    check("(float[4] a, float[4] b) => (float[4] y) { y = Mod <fmod=1> (a, b) }", [np.fmod(a, b)], a=a, b=b)
    i, j = a.astype(np.int32), b.astype(np.int32)
    check("(int32[4] a, int32[4] b) => (int32[4] y) { y = Mod (a, b) }", [np.mod(i, j)], a=i, b=j)


@pytest.mark.tvm
def test_shifts_by_the_width_or_more_are_zero() -> None:
    a, b = np.array([255, 1, 129], np.uint8), np.array([8, 200, 1], np.uint8)
    check('(uint8[3] a, uint8[3] b) => (uint8[3] y) { y = BitShift <direction="RIGHT"> (a, b) }',
          [np.array([0, 0, 64], np.uint8)], a=a, b=b)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("exponent", ["float", "int32", "int64", "double"])
def test_powers_of_mixed_types(exponent: str) -> None:
    dtype = np.dtype({"float": "f4", "double": "f8"}.get(exponent, exponent))
    x, e = np.array([1.5, 2, -3], np.float32), np.array([2, 3, 3]).astype(dtype)
    want = np.power(x.astype(np.float64), e.astype(np.float64)).astype(np.float32)
    check(f"(float[3] x, {exponent}[3] e) => (float[3] y) {{ y = Pow (x, e) }}", [want], x=x, e=e)


@pytest.mark.tvm
def test_old_broadcasting_places_the_second_tensor_by_axis() -> None:
    x, w = normal(2, 3, 4, 5), normal(3, 4, seed=1)
    check("(float[2,3,4,5] x, float[3,4] w) => (float[2,3,4,5] y) { y = Add <broadcast=1, axis=1> (x, w) }",
          [x + w[:, :, None]], opset=6, x=x, w=w)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("op", ["Elu", "Selu", "ThresholdedRelu", "Softplus", "Tanh", "Gelu"])
@pytest.mark.parametrize("dtype", ["float16", "double"])
def test_other_floats(op: str, dtype: str) -> None:
    x = normal(40).astype(np.dtype("f8" if dtype == "double" else "f2"))
    wide = parsed(f"(double[40] x) => (double[40] y) {{ y = {op} (x) }}", 20)
    (want,) = answers(wide, {"x": x.astype(np.float64)})
    check(f"({dtype}[40] x) => ({dtype}[40] y) {{ y = {op} (x) }}", [want.astype(x.dtype)], opset=20,
          rtol=2e-3 if dtype == "float16" else 1e-15, x=x)  # fmt: skip


@pytest.mark.tvm
def test_shapes_that_do_not_fit_are_one_line() -> None:
    rejected("(float[2,3] a, float[4] b) => (float[] y) { y = Add (a, b) }", "shapes 2x3, 4|not valid|[Ii]ncompatible")


INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@pytest.mark.tvm
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(("op", "function"), [("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply)])
def test_integers_wrap(op: str, function, dtype: str) -> None:
    """A comparison with the result sees the wrapped value; LLVM must not derive it from the operands."""
    info = np.iinfo(dtype)
    edges = [info.min, info.min + 1, info.max, info.max - 1, info.max // 2 + 1, 0, 1, 2, 3, 5, 100]
    drawn = np.random.default_rng(0).integers(info.min, info.max, 53, np.dtype(dtype), endpoint=True).tolist()
    signed = [-1, -2, -5, -100] if info.min else []
    values = np.array([*edges, *drawn, *signed], dtype)
    a, b = (x.reshape(-1).copy() for x in np.meshgrid(values, values))
    n = a.size
    with np.errstate(over="ignore"):
        want = function(a, b)
    check(
        f"({dtype}[{n}] a, {dtype}[{n}] b) => ({dtype}[{n}] y, {dtype}[{n}] z, bool[{n}] less) "
        f"{{ y = {op} (a, b) z = Abs (y) less = Less (y, a) }}",
        [want, np.abs(want), want < a],
        a=a,
        b=b,
    )


@pytest.mark.tvm
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_products_may_be_negative(dtype: str) -> None:
    a, b = np.array([5, -3, 7, 0], dtype), np.array([-4, -4, 2, -1], dtype)
    check(f"({dtype}[4] a, {dtype}[4] b) => ({dtype}[4] y) {{ m = Mul (a, b) y = Abs (m) }}", [np.abs(a * b)], a=a, b=b)


@pytest.mark.tvm
def test_shrink_of_unsigned_integers_wraps() -> None:
    x = np.arange(12, dtype=np.uint64)
    check("(uint64[12] x) => (uint64[12] y) { y = Shrink <bias: float = 3.0> (x) }", x=x, opset=11)


@pytest.mark.tvm
@pytest.mark.parametrize("op", ["Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal"])
def test_a_negated_comparison_with_nan_is_true(op: str) -> None:
    x = np.array([NAN, 1, 2, 3, NAN, INF, -0.0], np.float32)
    y = np.array([1, NAN, 2, 1, NAN, INF, 0.0], np.float32)
    check(
        f"(float[7] x, float[7] y) => (bool[7] z, float[7] w) {{ c = {op} (x, y) z = Not (c) w = Where (z, x, y) }}",
        x=x,
        y=y,
    )
    check(f"(float[7] x, float[7] y) => (bool[7] z) {{ c = {op} (x, y) n = Not (c) z = Not (n) }}", x=x, y=y)
