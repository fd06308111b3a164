"""Integer products in float32 give exactly the same integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest

import graph_passes
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators, remarks, weights

QUANTIZE = "q, s, a = DynamicQuantizeLinear (x)"


def same(published: onnx.ModelProto, *given: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Runs the pass. Checks that the result is valid, computes exactly the same outputs and does not change again."""
    before = published.SerializeToString()
    optimized = graph_passes.optimize(published, passes=["integer_products"])
    assert published.SerializeToString() == before
    onnx.checker.check_model(optimized.model, full_check=True)
    for inputs in given or [oracle.random_inputs(published, seed) for seed in range(3)]:
        for want, found in zip(oracle.run(published, inputs), oracle.run(optimized.model, inputs), strict=True):
            assert found.dtype == want.dtype
            np.testing.assert_array_equal(found, want)
    again = graph_passes.optimize(optimized.model, passes=["integer_products"])
    assert operators(again.model) == operators(optimized.model)
    return optimized.model


def integers(seed: int, dtype: type = np.uint8, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng, limits = np.random.default_rng(seed), np.iinfo(dtype)
    return {name: rng.integers(limits.min, limits.max, shape, dtype, endpoint=True) for name, shape in shapes.items()}


def test_a_convolution_of_what_was_quantized_just_before() -> None:
    """Neither integers nor casts remain. The weight is float32 minus its zero point."""
    w = integers(0, w=(5, 3, 3, 2))["w"]
    published = model(
        f"""g (float[2,3,8,7] x) => (float[N,C,H,W] y) <uint8[5,3,3,2] w, uint8 b> {{
            {QUANTIZE}
            p = ConvInteger <pads = [1,0,2,1], strides = [2,1], dilations = [1,2]> (q, w, a, b)
            f = Cast <to = 1> (p)
            y = Mul (f, s)
        }}""",
        w=w,
        b=130,
    )
    found = same(published)
    assert {"Cast", "Add", "ConvInteger", "DynamicQuantizeLinear"}.isdisjoint(operators(found))
    assert operators(found)["Conv"] == 1
    (weight,) = (array for array in weights(found).values() if array.shape == w.shape)
    np.testing.assert_array_equal(weight, w.astype(np.float32) - 130)
    assert all(tensor.data_type == onnx.TensorProto.FLOAT for tensor in found.graph.initializer)


@pytest.mark.parametrize("x", [[0] * 6, [-2.5] * 6, [1e-3] * 6, [0.5, 1.5, 2.5, 127.5, 255, 0]], ids=str)
def test_what_is_quantized_may_be_of_one_sign_or_on_a_border(x: Sequence[float]) -> None:
    """ONNX Runtime's scale is 1 if all elements are zero; halves are rounded to even."""
    published = model(
        f"""g (float[1,6] x) => (int32[1,4] p, float s, uint8 a, uint8[1,6] q) <uint8[6,4] w> {{
            {QUANTIZE} p = MatMulInteger (q, w, a)
        }}""",
        w=integers(0, w=(6, 4))["w"],
    )
    same(published, {"x": np.array([x], np.float32)})


def test_a_bias_that_is_rounded_to_whole_numbers_is_added_in_float32() -> None:
    """Dynamic quantizers write floor(bias / scale) as int32, in the shape of channels."""
    published = model(
        f"""g (float[1,3,8,8] x) => (float[N,C,H,W] y)
        <uint8[5,3,3,3] w, uint8 b, float u, float[5] bias, int64[4] shape, int32[5,1,1] more> {{
            {QUANTIZE}
            p = ConvInteger (q, w, a, b)
            t = Mul (s, u)  d = Div (bias, t)  e = Floor (d)  i = Cast <to = 6> (e)  r = Reshape (i, shape)
            g = Add (p, r)  h = Add (more, g)
            f = Cast <to = 1> (h)
            y = Mul (f, t)
        }}""",
        w=integers(0, w=(5, 3, 3, 3))["w"],
        b=120,
        u=0.02,
        shape=np.array([1, 5, 1, 1]),
        more=np.arange(5),
    )
    assert "Cast" not in operators(same(published))


@pytest.mark.parametrize(
    "added",
    ["i = Cast <to = 6> (bias)", "i = Identity (big)", "i = Identity (n)"],
    ids=["fractions", "more than float32 has", "unknown"],
)
def test_what_might_not_be_exact_in_float32_is_added_as_integers(added: str) -> None:
    published = model(
        f"""g (float[1,6] x, int32[4] n) => (float[1,4] y) <uint8[6,4] w, float[4] bias, int32[4] big> {{
            {QUANTIZE} p = MatMulInteger (q, w, a) {added} g = Add (p, i) y = Cast <to = 1> (g)
        }}""",
        w=integers(0, w=(6, 4))["w"],
        bias=np.array([1.5, -1.5, 0.5, 2.75]),
        big=np.full(4, 2**24 + 1),
    )
    x = {"x": np.linspace(-1, 2, 6, dtype=np.float32).reshape(1, 6), "n": np.array([1, -2, 2**24 + 1, 4], np.int32)}
    assert operators(same(published, x))["Cast"] >= 2


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [("", ""), ("[1]", "[1]"), ("[4]", "[5]"), ("", "[5]")],
    ids=["one", "of one", "each", "columns"],
)
@pytest.mark.parametrize("constant", [False, True], ids=["given", "constant"])
def test_a_product_of_what_comes_as_integers(a_shape: str, b_shape: str, constant: bool) -> None:
    """One zero point, one per row of x, or one per column of w; constant or not."""
    given, held = ("uint8[6,5] w", "") if not constant else ("", "uint8[6,5] w,")
    head = f"uint8[4,6] x{', ' if given else ''}{given}"
    numbers = integers(1, w=(6, 5))
    arrays = (numbers if constant else {}) | {
        "a": np.resize([130, 7, 200, 0], 4 if a_shape == "[4]" else 1),
        "b": np.resize([130, 7, 200, 0, 99], 5 if b_shape == "[5]" else 1),
    }
    published = model(
        f"g ({head}) => (int32[4,5] y) <{held} uint8{a_shape} a, uint8{b_shape} b> {{"
        " y = MatMulInteger (x, w, a, b) }",
        opset=18,
        seed=0,
        **arrays,
    )
    inputs = integers(2, x=(4, 6)) | ({} if constant else numbers)
    if a_shape != "[4]":  # ONNX Runtime rejects a zero point per row
        same(published, inputs)
        return
    optimized = graph_passes.optimize(published, passes=["integer_products"]).model
    x, w = (inputs | numbers)["x"].astype(int), numbers["w"].astype(int)
    expected = (x - np.array([[130], [7], [200], [0]])) @ (w - np.array([130, 7, 200, 0, 99]))
    np.testing.assert_array_equal(oracle.run(optimized, inputs)[0], expected)


def test_a_convolution_without_zero_points_in_groups() -> None:
    published = model(
        "g (uint8[1,4,6,6] x) => (int32[1,8,6,6] y) <uint8[8,2,3,3] w> {"
        ' y = ConvInteger <group = 2, auto_pad = "SAME_UPPER"> (x, w) }',
        w=integers(0, w=(8, 2, 3, 3))["w"],
    )
    assert operators(same(published, integers(1, x=(1, 4, 6, 6)))) == {"Cast": 2, "Conv": 1, "Round": 1}


def test_zero_points_a_channel_of_a_weight() -> None:
    """ONNX defines them, ONNX Runtime does not support them."""
    zeros = np.array([0, 100, 255])
    w = integers(0, w=(3, 2, 1, 1))["w"]
    published = model(
        "g (uint8[1,2,4,4] x) => (int32[1,3,4,4] y) <uint8[3,2,1,1] w, uint8 a, uint8[3] b> {"
        " y = ConvInteger (x, w, a, b) }",
        w=w,
        a=9,
        b=zeros,
    )
    x = integers(1, x=(1, 2, 4, 4))
    found = oracle.run(graph_passes.optimize(published, passes=["integer_products"]).model, x)
    centred = w.astype(int)[:, :, 0, 0] - zeros[:, None]
    np.testing.assert_array_equal(found[0], np.einsum("oc,nchw->nohw", centred, x["x"].astype(int) - 9))


def test_signed_weights() -> None:
    """Weights have 6 bits: without VNNI, ONNX Runtime adds two products in 16 bits, which 8-bit weights exceed."""
    published = model(
        f"g (float[3,64] x) => (int32[3,9] y) <int8[64,9] w, int8 b> {{ {QUANTIZE} y = MatMulInteger (q, w, a, b) }}",
        w=np.random.default_rng(0).integers(-32, 32, (64, 9)),
        b=-3,
    )
    same(published)


def test_products_with_the_same_weight_share_it() -> None:
    published = model(
        f"""g (float[2,6] x) => (int32[2,6] p, int32[2,6] r) <uint8[6,6] w, uint8 b> {{
            {QUANTIZE} p = MatMulInteger (q, w, a, b)  f = Cast <to = 1> (p)
            t, u, v = DynamicQuantizeLinear (f)  r = MatMulInteger (t, w, v, b)
        }}""",
        w=integers(0, w=(6, 6))["w"],
        b=7,
    )
    assert [array.shape for array in weights(same(published)).values()].count((6, 6)) == 1


def test_what_others_read_too_stays() -> None:
    published = model(
        f"""g (float[2,6] x) => (int32[2,4] p, float[2,4] y, uint8[2,6] q, uint8[2,6] r) <uint8[6,4] w> {{
            {QUANTIZE} p = MatMulInteger (q, w, a)  y = Cast <to = 1> (p)  r = Max (q, q)
        }}""",
        w=integers(0, w=(6, 4))["w"],
    )
    same(published)


def test_quantization_that_no_product_reads_stays() -> None:
    published = model(
        f"g (float[2,6] x, uint8[2,6] v) => (float[2,6] y, int32[2,4] p) <uint8[6,4] w> {{ {QUANTIZE}"
        " y = DequantizeLinear (q, s, a)  p = MatMulInteger (v, w) }",
        w=integers(0, w=(6, 4))["w"],
    )
    x = {"x": np.linspace(-1, 2, 12, dtype=np.float32).reshape(2, 6), **integers(1, v=(2, 6))}
    assert operators(same(published, x))["DynamicQuantizeLinear"] == 1


def test_zero_points_of_unknown_shape_are_not_supported() -> None:
    published = model(
        "g (uint8[4,6] x, uint8[N] a) => (int32[4,5] y) <uint8[6,5] w> { y = MatMulInteger (x, w, a) }",
        w=integers(0, w=(6, 5))["w"],
    )
    optimized = graph_passes.optimize(published, passes=["integer_products"])
    assert operators(optimized.model) == {"MatMulInteger": 1}
    assert "not replaced: the shape of its zero point a is unknown" in remarks(optimized)


def test_an_old_opset_is_not_supported() -> None:
    published = model(
        "g (uint8[4,6] x) => (int32[4,5] y) <uint8[6,5] w> { y = MatMulInteger (x, w) }",
        opset=10,
        w=integers(0, w=(6, 5))["w"],
    )
    optimized = graph_passes.optimize(published, passes=["integer_products"])
    assert operators(optimized.model) == {"MatMulInteger": 1}
    assert "opset: 10 is not supported, at least 11 is required" in remarks(optimized)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
@pytest.mark.parametrize(("axis", "sizes"), [(None, ()), (0, (4,)), (1, (3,)), (-1, (3,))])
def test_a_constant_that_is_dequantized_becomes_float32(dtype: type, axis: int | None, sizes: tuple[int, ...]) -> None:
    """Weights between quantizers; then a kernel computes the product."""
    name = np.dtype(dtype).name
    rng = np.random.default_rng(0)
    zeros = 0 if dtype == np.int32 else rng.integers(0, 100, sizes)
    along = "" if axis is None else f"<axis = {axis}>"
    dims = f"[{sizes[0]}]" if sizes else ""
    published = model(
        f"""g (float[2,4] x) => (float[2,3] y) <{name}[4,3] w, float{dims} s, {name}{dims} z> {{
            r = DequantizeLinear {along} (w, s, z)
            y = MatMul (x, r)
        }}""",
        w=integers(0, np.int8, w=(4, 3))["w"] % 100,
        s=rng.random(sizes) + 0.5,
        z=np.broadcast_to(zeros, sizes),
    )
    assert operators(same(published)) == {"MatMul": 1}


@pytest.mark.parametrize("form", ["q = Identity (w)", "y = DequantizeLinear (w, s) q = Identity (w)"])
def test_other_dequantizations_stay(form: str) -> None:
    """Of a value that is not constant, or that is itself an output."""
    given = "uint8[4,3] w" if form.startswith("q") else ""
    held = "" if given else "uint8[4,3] w, "
    end = "y = DequantizeLinear (q, s)" if given else ""
    published = model(f"g ({given}) => (float[4,3] y, uint8[4,3] q) <{held}float s> {{ {form} {end} }}")
    optimized = graph_passes.optimize(published, passes=["integer_products"]).model
    assert operators(optimized)["DequantizeLinear"] == 1
