"""Compiled models with 8-bit weights compute the same outputs as ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import settings

import compiler
import graph_passes
from benchmarks import models
from compiler.build import layers_of
from compiler.workloads.layer import Layer
from tests.graph_passes import oracle
from tests.graph_passes.models import model
from tests.graph_passes.test_unroll_lstm import lstm, quantized_weights, random_weights

# Relative to the output's largest magnitude: roundings of float32 that change no quantized value.
ROUNDINGS = 1e-5


def relative(found: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(found.astype(np.float64) - want).max() / np.abs(want).max())


def assert_agrees(published: onnx.ModelProto, *inputs: dict[str, np.ndarray]) -> compiler.CompiledModel:
    found = compiler.build(published, threads=1)
    for given in inputs:
        answers = found.run(given)
        for spec, want in zip(found.outputs, oracle.run(published, given), strict=True):
            assert answers[spec.name].dtype == want.dtype
            assert np.abs(answers[spec.name].astype(np.float64) - want).max() <= ROUNDINGS * np.abs(want).max()
    return found


def kernels(layers: tuple[Layer, ...]) -> dict[str, int]:
    return Counter(layer.op for layer in layers for _ in range(layer.calls))


def convolution() -> onnx.ModelProto:
    """A convolution as dynamic quantizers write it, with its bias rounded to an integer number of steps."""
    rng = np.random.default_rng(0)
    return model(
        """g (float[1,4,12,12] x) => (float[N,C,H,W] y)
        <uint8[8,4,3,3] w, uint8 b, float u, float[8] bias, int64[4] shape> {
            q, s, a = DynamicQuantizeLinear (x)
            p = ConvInteger <pads = [1,1,1,1]> (q, w, a, b)
            t = Mul (s, u)  d = Div (bias, t)  e = Floor (d)  i = Cast <to = 6> (e)  r = Reshape (i, shape)
            g = Add (p, r)  f = Cast <to = 1> (g)  z = Mul (f, t)
            l = Sigmoid (z)  y = Mul (z, l)
        }""",
        w=rng.integers(0, 256, (8, 4, 3, 3)),
        b=121,
        u=0.01,
        shape=np.array([1, 8, 1, 1]),
    )


@pytest.mark.tvm
def test_a_convolution_of_integers_runs_as_a_kernel() -> None:
    published = convolution()
    zeros = {"x": np.zeros((1, 4, 12, 12), np.float32)}
    found = assert_agrees(published, zeros, *(oracle.random_inputs(published, seed) for seed in range(3)))
    assert kernels(found.layers) == {"conv2d": 1}


@pytest.mark.tvm
def test_a_product_of_integer_inputs() -> None:
    rng = np.random.default_rng(0)
    published = model(
        "g (uint8[5,40] x) => (int32[5,9] y) <uint8[40,9] w, uint8 a, uint8[9] b> { y = MatMulInteger (x, w, a, b) }",
        w=rng.integers(0, 256, (40, 9)),
        a=99,
        b=rng.integers(0, 256, 9),
    )
    found = assert_agrees(published, {"x": rng.integers(0, 256, (5, 40), np.uint8)})
    assert kernels(found.layers) == {"dense": 1}


@pytest.mark.tvm
@pytest.mark.parametrize("quantized", [False, True], ids=["float32", "int8"])
def test_an_lstm_runs_as_a_kernel_or_in_onnx_runtime(quantized: bool) -> None:
    weights = quantized_weights(2, np.int8, columns=False) if quantized else random_weights(2)
    published = lstm(weights, direction="bidirectional")
    found = assert_agrees(published, *(oracle.random_inputs(published, seed) for seed in range(3)))
    assert set(kernels(found.layers)) == (set() if quantized else {"recurrent"})
    assert [str(segment) for segment in found.segments] == (["DynamicQuantizeLSTM"] if quantized else [])


def qdq_network(zero: int = 0) -> onnx.ModelProto:
    """A residual block as static quantizers write it: weights per channel, biases in int32.

    No sum of steps of 0.0517 and 0.06 ends in the middle of two steps of 0.06.
    """
    rng = np.random.default_rng(0)
    return model(
        """g (float[1,8,12,12] x) => (float[N,C,H,W] y)
        <float sx, uint8 ax, float sy, uint8 ay, float sz, uint8 az, int8[8,8,3,3] w, float[8] sw, int8[8] aw,
         int32[8] b, float[8] sb, int32[8] ab, int8[8,8,1,1] v, float[8] sv, int8[8] av> {
            qx = QuantizeLinear (x, sx, ax)  dx = DequantizeLinear (qx, sx, ax)
            dw = DequantizeLinear <axis = 0> (w, sw, aw)  db = DequantizeLinear <axis = 0> (b, sb, ab)
            c = Conv <pads = [1,1,1,1]> (dx, dw, db)
            qc = QuantizeLinear (c, sy, ay)  dc = DequantizeLinear (qc, sy, ay)
            m = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (dc)
            qm = QuantizeLinear (m, sy, ay)  dm = DequantizeLinear (qm, sy, ay)
            dv = DequantizeLinear <axis = 0> (v, sv, av)
            d = Conv (dm, dv)
            qd = QuantizeLinear (d, sz, az)  dd = DequantizeLinear (qd, sz, az)
            a = Add (dd, dm)
            qa = QuantizeLinear (a, sz, az)  y = DequantizeLinear (qa, sz, az)
        }""",
        sx=0.03, ax=128, sy=0.0517, ay=zero, sz=0.06, az=140, w=rng.integers(-127, 128, (8, 8, 3, 3)),
        sw=rng.uniform(0.001, 0.003, 8), aw=np.zeros(8), b=rng.integers(-1000, 1000, 8), sb=np.full(8, 5e-5),
        ab=np.zeros(8), v=rng.integers(-127, 128, (8, 8, 1, 1)), sv=rng.uniform(0.002, 0.006, 8), av=np.zeros(8),
    )  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("zero", [0, 120])
def test_layers_between_quantizers_run_as_kernels(zero: int) -> None:
    """Outputs differ by at most one step: sums that end between two steps may be rounded to either."""
    published = qdq_network(zero)
    found = compiler.build(published, threads=1)
    assert kernels(found.layers) == {"conv2d": 2, "max_pool2d": 1}
    last = found.layers[-1].attributes
    assert (last["sum_dtype"], last["residual_dtype"], last["out_dtype"]) == ("uint8", "uint8", "uint8")
    for seed in range(3):
        given = oracle.random_inputs(published, seed)
        (want,) = oracle.run(published, given)
        off = np.abs(found.run(given)["y"] - want)
        assert off.max() <= 2 * 0.06 * (1 + ROUNDINGS)
        assert (off > 0.01).mean() < 0.01


@pytest.mark.tvm
@pytest.mark.parametrize("threads", [1, 2])
def test_layers_exchange_integers(threads: int, tmp_path: Path) -> None:
    """A residual block, a signed output, an activation that generated code computes, and a dense layer."""
    rng = np.random.default_rng(0)
    published = model(
        """g (uint8[1,8,12,12] x) => (int8[N,C,H,W] y, float[M,K] p)
        <float s, uint8 z, float t, int8 i, int8[8,8,3,3] w, float[8] c, int8[8] o, float e, int8[1152,5] v> {
            d = DequantizeLinear (x, s, z)  k = DequantizeLinear <axis = 0> (w, c, o)
            a = Conv <pads = [1,1,1,1]> (d, k)  r = Relu (a)  q = QuantizeLinear (r, s, z)
            l = DequantizeLinear (q, s, z)
            b = Conv <pads = [1,1,1,1]> (l, k)  f = Add (b, d)  g = Relu (f)  h = QuantizeLinear (g, s, z)
            m = DequantizeLinear (h, s, z)
            n = Conv <pads = [1,1,1,1]> (m, k)  j = Softplus (n)  y = QuantizeLinear (j, t, i)
            i8 = DequantizeLinear (y, t, i)  u = Flatten (i8)  u8 = QuantizeLinear (u, t, i)
            ur = DequantizeLinear (u8, t, i)  vr = DequantizeLinear (v, e)  p = MatMul (ur, vr)
        }""",
        s=0.05,
        z=90,
        t=0.04,
        i=-3,
        w=rng.integers(-127, 128, (8, 8, 3, 3)),
        c=rng.uniform(0.001, 0.003, 8),
        o=np.zeros(8),
        e=0.01,
        v=rng.integers(-127, 128, (1152, 5)),
    )
    found = compiler.build(published, threads=threads)
    attributes = [layer.attributes for layer in found.layers]
    assert [(each["x_dtype"], each["residual_dtype"], each["out_dtype"]) for each in attributes] == [
        ("uint8", None, "uint8"),
        ("uint8", "uint8", "uint8"),
        ("uint8", None, None),
        ("int8", None, None),
    ]
    found.save(tmp_path / "model.lw")
    loaded = compiler.load(tmp_path / "model.lw")
    for seed in range(3):
        given = {"x": np.random.default_rng(seed).integers(0, 256, (1, 8, 12, 12), np.uint8)}
        answers = found.run(given)
        want, product = oracle.run(published, given)
        off = np.abs(answers["y"].astype(int) - want)
        assert off.max() <= 1
        assert (off > 0).mean() < 0.02  # sums that end between two steps
        assert relative(answers["p"], product) < 0.02
        for name, answer in loaded.run(given).items():
            np.testing.assert_array_equal(answer, answers[name])


def groups_of_two_channels() -> onnx.ModelProto:
    """Two convolutions between conversions, of which the second, ``small``, has groups that are computed in float32."""
    rng = np.random.default_rng(0)
    published = model(
        """g (float[1,8,9,9] x) => (float[N,C,H,W] y) <float s, uint8 z, int8[8,8,3,3] w, int8[8,2,3,3] v, float t> {
            q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  r = DequantizeLinear (w, t)
            a = Conv (d, r)  b = Relu (a)  f = QuantizeLinear (b, s, z)  h = DequantizeLinear (f, s, z)
            u = DequantizeLinear (v, t)  y = Conv <group = 4> (h, u)
        }""",
        s=0.05,
        z=100,
        w=rng.integers(-127, 128, (8, 8, 3, 3)),
        v=rng.integers(-127, 128, (8, 2, 3, 3)),
        t=0.002,
    )
    published.graph.node[-1].name = "small"
    return published


@pytest.mark.tvm
def test_layers_in_float32_are_named_or_rejected() -> None:
    published = groups_of_two_channels()
    found = compiler.build(published, threads=1)
    assert [str(reason).partition(":")[0] for reason in found.in_float] == ["Conv small"]
    assert found.with_segments_on(1).in_float == found.in_float
    with pytest.raises(ValueError, match=r"^strict=True: Conv small: .*it has groups of 2 to 2 channels$"):
        compiler.build(published, threads=1, strict=True)
    assert compiler.build(qdq_network(), threads=1, strict=True).in_float == ()
    given = oracle.random_inputs(published, 0)
    assert relative(found.run(given)["y"], oracle.run(published, given)[0]) < 0.05


@pytest.mark.tvm
def test_a_reader_of_the_sums_does_not_make_a_layer_one_of_float32() -> None:
    """The output of a layer has two readers, so its activation is not fused."""
    published = model(
        """g (float[1,8,9,9] x) => (float[N,C,H,W] y) <float s, uint8 z, int8[8,8,1,1] w, float t> {
            q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  r = DequantizeLinear (w, t)
            a = Conv (d, r)  b = Relu (a)  y = Add (a, b)
        }""",
        s=0.05,
        z=100,
        w=np.random.default_rng(0).integers(-127, 128, (8, 8, 1, 1)),
        t=0.002,
    )
    assert compiler.build(published, threads=1, strict=True).in_float == ()


@pytest.mark.tvm
def test_a_check_allows_a_step_where_sums_are_rounded() -> None:
    """Half of the steps of the output end in the middle of two, which ONNX Runtime and the kernel round differently."""
    rng = np.random.default_rng(0)
    published = model(
        """g (float[1,8,9,9] x) => (uint8[N,C,H,W] y) <float s, uint8 z, int8[16,8,3,3] w, float t, float o, uint8 k> {
            q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  r = DequantizeLinear (w, t)
            a = Conv (d, r)  y = QuantizeLinear (a, o, k)
        }""",
        s=0.1,
        z=100,
        w=rng.integers(-7, 8, (16, 8, 3, 3)),
        t=0.3,
        o=0.06,
        k=120,
    )
    found = compiler.build(published, threads=1, check=oracle.random_inputs(published, 0))
    assert found.layers[0].attributes["out_dtype"] == "uint8"


@pytest.mark.tvm
def test_a_layer_before_integers_uses_no_fast_algorithm() -> None:
    """Its larger error would move more values to the next step."""
    rng = np.random.default_rng(0)
    published = model(
        """g (float[1,16,12,12] x) => (float[N,C,H,W] y)
        <float[16,16,3,3] f, float s, uint8 z, int8[8,16,1,1] w, float t> {
            a = Conv <pads = [1,1,1,1]> (x, f)  b = Relu (a)  q = QuantizeLinear (b, s, z)
            d = DequantizeLinear (q, s, z)  v = DequantizeLinear (w, t)  y = Conv (d, v)
        }""",
        f=rng.standard_normal((16, 16, 3, 3)),
        s=0.1,
        z=0,
        w=rng.integers(-127, 128, (8, 16, 1, 1)),
        t=0.01,
    )
    layers = layers_of(published, threads=1)
    assert [layer.attributes["dtype"] for layer in layers] == ["float32", "int8"]
    assert not layers[0].attributes["fast_algorithms"]


@pytest.mark.tvm
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_layers_exchange_integers(stride: int) -> None:
    rng = np.random.default_rng(stride)
    published = model(
        f"""g (float[1,24,20,19] x) => (float[N,C,H,W] y)
        <float s, uint8 z, float t, uint8 i, int8[24,1,3,3] w, float[24] c, int8[24] o, float[24] k, int8[8,24,1,1] v,
         float e> {{
            q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  r = DequantizeLinear <axis = 0> (w, c, o)
            a = Conv <group = 24, pads = [1,1,1,1], strides = [{stride},{stride}]> (d, r, k)  f = Relu (a)
            g = QuantizeLinear (f, t, i)  h = DequantizeLinear (g, t, i)  u = DequantizeLinear (v, e)
            y = Conv (h, u)
        }}""",
        s=0.02,
        z=128,
        t=0.03,
        i=0,
        w=rng.integers(-127, 128, (24, 1, 3, 3)),
        c=rng.uniform(0.001, 0.01, 24),
        o=np.zeros(24),
        k=rng.standard_normal(24),
        v=rng.integers(-127, 128, (8, 24, 1, 1)),
        e=0.01,
    )
    found = compiler.build(published, threads=2, strict=True)
    assert [(each.attributes["dtype"], each.attributes["out_dtype"]) for each in found.layers] == [
        ("int8", "uint8"),
        ("int8", None),
    ]
    for seed in range(3):
        given = oracle.random_inputs(published, seed)
        assert relative(found.run(given)["y"], oracle.run(published, given)[0]) < 0.01  # a few steps of 0.03


def _crnn() -> tuple[onnx.ModelProto, dict[str, tuple[int, ...]]]:
    if reason := models.missing("crnn-int8"):
        pytest.skip(reason)
    return models.load("crnn-int8"), dict(models.MODELS["crnn-int8"].input_shapes)


def test_all_products_of_a_quantized_reader_have_kernels() -> None:
    """All but those of the LSTM and of the classifier, which reads it."""
    published, shapes = _crnn()
    assert kernels(layers_of(published, shapes, threads=1))["conv2d"] == 21


def test_a_quantized_reader_is_rewritten_exactly() -> None:
    """Runs both in ONNX Runtime, with the same sigmoid, so no value moves to another quantized step."""
    published, shapes = _crnn()
    passes = ["freeze_shapes", "unroll_lstm", "integer_products"]
    rewritten = graph_passes.optimize(published, shapes, passes).model
    for seed in range(3):
        inputs = models.random_inputs(published, shapes, seed)
        (want,), (found,) = oracle.run(published, inputs), oracle.run(rewritten, inputs)
        assert relative(found, want) <= ROUNDINGS


@pytest.mark.tvm
def test_a_quantized_reader_differs_from_onnx_runtime_by_quantization_steps_only() -> None:
    """Two sigmoids that differ in the last bit move some values to the next of 256 steps, which changes the output.

    The bound is the change in ONNX Runtime's own output when its inputs change by a millionth.
    """
    if settings.default is not settings.get_profile("thorough"):
        pytest.skip("compilation takes half a minute; run with --hypothesis-profile=thorough")
    published, shapes = _crnn()
    found = compiler.build(published, shapes, threads=1)
    ours, own = [], []
    for seed in range(6):
        inputs = models.random_inputs(published, shapes, seed)
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], shapes["input1"])
        (want,) = oracle.run(published, inputs)
        (moved,) = oracle.run(published, {n: (x * (1 + 1e-6 * signs)).astype(np.float32) for n, x in inputs.items()})
        ours.append(relative(found.run(inputs)[found.outputs[0].name], want))
        own.append(relative(moved, want))
    assert max(ours) <= 4 * max(own)


@pytest.mark.tvm
def test_a_model_of_8_bit_weights_agrees() -> None:
    """MiniLM casts and scales its weights in each run. After folding, its 36 products are float32 dense layers."""
    if settings.default is not settings.get_profile("thorough"):
        pytest.skip("compilation takes ten seconds; run with --hypothesis-profile=thorough")
    if reason := models.missing("minilm-int8"):
        pytest.skip(reason)
    published, shapes = models.load("minilm-int8"), models.MODELS["minilm-int8"].input_shapes
    found = compiler.build(published, shapes, threads=1)
    assert kernels(found.layers) == {"dense": 36, "layer_norm": 13, "attention": 6}
    for seed in range(2):
        inputs = models.random_inputs(published, shapes, seed)
        (want,) = oracle.run(published, inputs)
        assert relative(found.run(inputs)[found.outputs[0].name], want) <= 1e-4


@pytest.mark.tvm
@pytest.mark.parametrize("form", ["operators", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"])
@pytest.mark.parametrize("threads", [1, 2])
def test_dynamically_quantized_products_run_on_the_kernel_of_int8(form: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    statements = {
        "operators": "p = MatMulInteger (q, w, a, b) n = Cast <to = 1> (p) f = Mul (s, t) y0 = Mul (n, f)",
        "DynamicQuantizeMatMul": "y0 = com.microsoft.DynamicQuantizeMatMul (x, w, t, b)",
        "MatMulIntegerToFloat": "y0 = com.microsoft.MatMulIntegerToFloat (q, w, s, t, a, b)",
    }[form]
    quantize = "" if form == "DynamicQuantizeMatMul" else "q, s, a = DynamicQuantizeLinear (x)"
    published = model(
        f"""g (float[2,7,33] x, float[2,7,20] r) => (float[L,M,N] y) <int8[33,20] w, int8 b, float t, float[20] c> {{
            {quantize} {statements} y1 = Add (y0, c) y2 = Add (y1, r) y = Gelu (y2)
        }}""",
        opset=20,
        w=rng.integers(-60, 61, (33, 20)),  # ONNX Runtime saturates sums of larger ones without VNNI
        b=0,
        t=0.002,
        c=rng.standard_normal(20),
    )
    found = compiler.build(published, threads=threads)
    assert [(layer.op, layer.attributes["dtype"]) for layer in found.layers] == [("dense", "int8")]
    assert found.layers[0].weights["weight"].dtype == np.int8
    for seed in range(3):
        given = oracle.random_inputs(published, seed)
        assert relative(found.run(given)["y"], oracle.run(published, given)[0]) <= ROUNDINGS


@pytest.mark.tvm
def test_sums_that_may_exceed_int32_are_computed_in_float32() -> None:
    k = (2**31 - 1) // (255 * 128) + 1
    statements = """q, s, a = DynamicQuantizeLinear (x) p = MatMulInteger (q, w, a) n = Cast <to = 1> (p)
        f = Mul (s, t) y = Mul (n, f)"""
    published = model(
        f"g (float[1,{k}] x) => (float[M,N] y) <int8[{k},1] w, float t> {{ {statements} }}",
        w=np.random.default_rng(0).integers(-128, 128, (k, 1)),
        t=0.001,
    )
    found = compiler.build(published, threads=1)
    assert [layer.attributes["dtype"] for layer in found.layers] == ["float32"]
    given = oracle.random_inputs(published, 0)
    assert relative(found.run(given)["y"], oracle.run(published, given)[0]) <= 1e-3


@pytest.mark.tvm
def test_a_chain_has_no_layers_of_integers() -> None:
    """A depthwise convolution of float32 whose output exceeds L2, then a 1x1 convolution of integers."""
    published = model(
        """g (float[1,64,96,96] x) => (float[N,C,H,W] y)
        <float[64,1,3,3] f, float s, uint8 z, int8[32,64,1,1] w, float t, int8 u> {
            a = Conv <group = 64, pads = [1,1,1,1]> (x, f)
            q = QuantizeLinear (a, s, z) d = DequantizeLinear (q, s, z)
            v = DequantizeLinear (w, t, u) y = Conv (d, v)
        }""",
        w=np.random.default_rng(0).integers(-63, 64, (32, 64, 1, 1)),
        s=0.1,
        z=128,
        t=0.01,
        u=0,
    )
    found = compiler.build(published, threads=1)
    assert kernels(found.layers) == {"conv2d": 2}
    given = oracle.random_inputs(published, 0)
    assert relative(found.run(given)["y"], oracle.run(published, given)[0]) <= 1e-2  # a step of the input


@pytest.mark.tvm
def test_a_saved_model_keeps_its_integers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    published = model(
        """g (float[1,8,9,9] x) => (float[N,M] y)
        <float s, int8 z, int8[16,8,3,3] w, float[16] t, int8[16] u, int8[784,5] v, float e> {
            q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)
            r = DequantizeLinear <axis = 0> (w, t, u) c = Conv (d, r) f = Flatten (c)
            a, b, i = DynamicQuantizeLinear (f) p = MatMulInteger (a, v, i) n = Cast <to = 1> (p)
            k = Mul (b, e) y = Mul (n, k)
        }""",
        w=rng.integers(-63, 64, (16, 8, 3, 3)),
        v=rng.integers(-63, 64, (784, 5)),
        s=0.03,
        z=-5,
        t=rng.uniform(0.01, 0.02, 16),
        u=np.zeros(16),
        e=0.01,
    )
    found = compiler.build(published, threads=2)
    assert [layer.attributes["dtype"] for layer in found.layers] == ["int8", "int8"]
    assert [layer.attributes["x_is_float"] for layer in found.layers] == [False, True]
    assert {layer.attributes["x_dtype"] for layer in found.layers} == {"int8", None}
    found.save(tmp_path / "model.lw")
    loaded = compiler.load(tmp_path / "model.lw")
    assert {layer.weights["weight"].dtype.name for layer in loaded.layers} == {"int8"}
    given = oracle.random_inputs(published, 0)
    np.testing.assert_array_equal(loaded.run(given)["y"], found.run(given)["y"])
    assert relative(loaded.run(given)["y"], oracle.run(published, given)[0]) <= 1e-2


@pytest.mark.tvm
@pytest.mark.parametrize("zero", [0, 7])
def test_an_activation_that_saturation_computes_is_left_out(zero: int) -> None:
    published = model(
        """g (float[1,8,6,6] x) => (float[N,C,H,W] y) <float s, uint8 z, int8[8,8,1,1] w, float e> {
            q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  v = DequantizeLinear (w, e)
            a = Conv (d, v)  r = Relu (a)  h = QuantizeLinear (r, s, z)  y = DequantizeLinear (h, s, z)
        }""",
        s=0.05,
        z=zero,
        w=np.random.default_rng(0).integers(-127, 128, (8, 8, 1, 1)),
        e=0.01,
    )
    found = compiler.build(published, threads=1)
    (layer,) = found.layers
    assert layer.attributes["activation"] == (None if zero == 0 else "relu")
    given = oracle.random_inputs(published, 0)
    off = np.abs(found.run(given)["y"] - oracle.run(published, given)[0])
    assert off.max() <= 0.05 * (1 + ROUNDINGS)
    assert (off > 0.01).mean() < 0.02


@pytest.mark.tvm
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_maxima_of_integers(dtype: str) -> None:
    """One reader takes the integers, another one other integers, and a third one the numbers."""
    published = model(
        f"""g (float[1,40,9,11] x) => (float[N,C,H,W] y, {dtype}[N,C,H,W] o, float[N,C,H,W] p)
        <float s, {dtype} z, float t, int8[40,40,1,1] u, int8[8,40,1,1] w, float e> {{
            a = QuantizeLinear (x, s, z)  b = DequantizeLinear (a, s, z)  g = DequantizeLinear (u, e)
            c = Conv (b, g)  q = QuantizeLinear (c, s, z)  d = DequantizeLinear (q, s, z)
            m = MaxPool <kernel_shape = [3,2], strides = [2,1], pads = [1,0,1,1]> (d)
            h = QuantizeLinear (m, s, z)  k = DequantizeLinear (h, s, z)  v = DequantizeLinear (w, e)
            y = Conv (k, v)  o = QuantizeLinear (m, t, z)  p = Neg (m)
        }}""",
        s=0.02,
        z=5,
        t=0.05,
        u=20 * np.eye(40).reshape(40, 40, 1, 1),
        w=np.random.default_rng(0).integers(-127, 128, (8, 40, 1, 1)),
        e=0.05,
    )
    found = compiler.build(published, threads=2)
    assert [layer.attributes.get("integers") for layer in found.layers if layer.op == "max_pool2d"] == [dtype]
    given = oracle.random_inputs(published, 0)
    answers = found.run(given)
    y, o, p = oracle.run(published, given)
    assert relative(answers["y"], y) < 1e-5
    np.testing.assert_array_equal(answers["p"], p)
    assert np.abs(answers["o"].astype(int) - o).max() <= 1


@pytest.mark.tvm
@pytest.mark.parametrize("read_twice", [False, True])
def test_an_image_is_transposed_and_rounded_by_one_kernel(read_twice: bool) -> None:
    published = model(
        f"""g (float[2,3,67,62] x) => (float[N,C,H,W] y, float[N,C,H,W] p)
        <float s, uint8 z, int8[8,3,3,3] w, float e> {{
            q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  v = DequantizeLinear (w, e)
            y = Conv (d, v)  p = Neg ({"d" if read_twice else "y"})
        }}""",
        s=0.02,
        z=128,
        w=np.random.default_rng(0).integers(-127, 128, (8, 3, 3, 3)),
        e=0.01,
    )
    found = compiler.build(published, threads=2)
    images = [layer.attributes["out_dtype"] for layer in found.layers if layer.op == "channels_last"]
    assert read_twice or images == ["uint8"]
    for seed in range(3):
        given = oracle.random_inputs(published, seed)
        for got, want in zip(found.run(given).values(), oracle.run(published, given), strict=True):
            assert relative(got, want) < 1e-5


@pytest.mark.tvm
@pytest.mark.parametrize("opset", [10, 12])
def test_scales_of_channels_before_the_opset_that_has_them(opset: int) -> None:
    """onnx's checker rejects the axis, which quantizers write and later opsets have."""
    text = """g (float[1,8,6,6] x) => (float[N,C,H,W] y) <float s, uint8 z, int8[4,8,1,1] w, float[4] e, int8[4] o> {
        q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)
        v = DequantizeLinear <axis = 0> (w, e, o)  y = Conv (d, v)
    }"""
    rng = np.random.default_rng(0)
    arrays = {"w": rng.integers(-127, 128, (4, 8, 1, 1)), "e": rng.uniform(0.01, 0.02, 4), "o": np.zeros(4)}
    later = model(text, s=0.02, z=128, **arrays)
    early = onnx.ModelProto()
    early.CopyFrom(later)
    early.opset_import[0].version = opset
    found = compiler.build(early, threads=1, strict=True)
    given = oracle.random_inputs(later, 0)
    assert relative(found.run(given)["y"], oracle.run(later, given)[0]) < 1e-5
