"""``kernels.Dense`` and ``kernels.Conv2d`` on 8-bit integers: exact sums, one rounding, the same bits everywhere."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import Integers, Quantization
from tests.kernels.memory import next_to_forbidden_page

LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
ACTIVATIONS = (None, "relu", "relu6", "hard_swish", "prelu", "gelu", "silu")
SAME_BITS = (None, "relu", "relu6", "prelu")


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer with its data; the window is None for a dense layer."""

    weight: np.ndarray
    x: np.ndarray
    quantization: Quantization
    bias: np.ndarray | None = None
    activation: str | None = None
    slopes: np.ndarray | None = None
    residual: np.ndarray | None = None
    window: dict[str, Any] | None = None

    def make(self, isa: str | None = None, threads: int = 1, schedule: Any = None) -> Any:
        given = {
            "bias": self.bias,
            "activation": self.activation,
            "isa": isa,
            "threads": threads,
            "schedule": schedule,
            "slopes": self.slopes,
            "quantization": self.quantization,
        }
        if self.window is None:
            return kernels.Dense(self.weight, **given)
        return kernels.Conv2d(self.weight, **self.window, **given)

    def run(self, isa: str | None = None, threads: int = 1, schedule: Any = None, out: Any = None) -> np.ndarray:
        return self.make(isa, threads, schedule)(self.x, out, self.residual)

    def x_of(self) -> tuple[np.ndarray, Integers]:
        """Returns the integers of the input, and what they stand for."""
        given = self.quantization.x
        if given is None:
            return quantized(self.x)
        if not self.quantization.floats:
            return self.x, given
        steps = np.rint(self.x / np.float32(given.scale)) + given.zero_point
        return np.clip(steps, *LIMITS[given.dtype]).astype(given.dtype), given

    def sums(self) -> np.ndarray:
        """Returns the sums of products, exactly."""
        x, of_x = self.x_of()
        x, w = x.astype(np.int64) - of_x.zero_point, self.weight.astype(np.int64)
        return x @ w.T if self.window is None else convolved(x, w, **self.window)

    def scaled_sums(self) -> np.ndarray:
        return self.sums() * (np.float64(self.x_of()[1].scale) * self.quantization.weight.astype(np.float64))

    def expected(self, error: np.ndarray | float = 0) -> np.ndarray:
        """Returns the output in float64, before it is rounded to integers. ``error``: of the sum with bias."""
        q = self.quantization
        y = self.scaled_sums() + (0 if self.bias is None else self.bias.astype(np.float64)) + error
        if q.sum is not None:
            whole = np.clip(np.rint(y / q.sum.scale) + q.sum.zero_point, *LIMITS[q.sum.dtype])
            y = (whole - q.sum.zero_point) * q.sum.scale
        if self.residual is not None:
            r = self.residual.astype(np.float64)
            y = y + (r if q.residual is None else (r - q.residual.zero_point) * q.residual.scale)
        return activated(y, self.activation, self.slopes)

    def magnitude(self) -> np.ndarray:
        """Returns the sum of the magnitudes of what is added, of which a few roundings are the error."""
        q = self.quantization
        total = np.abs(self.scaled_sums()) + (0 if self.bias is None else np.abs(self.bias))
        if self.residual is not None:
            r = self.residual.astype(np.float64)
            total = total + np.abs(r if q.residual is None else (r - q.residual.zero_point) * q.residual.scale)
        return total

    def check(self, y: np.ndarray) -> None:
        error = 16 * np.finfo(np.float32).eps * (1 + self.magnitude())
        # A rounded sum near a tie may be either of two numbers.
        sums = [self.expected()] if self.quantization.sum is None else [self.expected(-error), self.expected(error)]
        out = self.quantization.out
        right = np.zeros(y.shape, bool)
        for want in sums:
            if y.dtype == np.float32:
                right |= np.abs(y - want) <= error
                continue
            assert out is not None
            assert y.dtype == np.dtype(out.dtype)
            steps, slack = want / out.scale, error / out.scale
            low, high = (np.clip(np.rint(steps + d) + out.zero_point, *LIMITS[out.dtype]) for d in (-slack, slack))
            right |= (y >= low) & (y <= high)
        assert right.all()


def quantized(x: np.ndarray) -> tuple[np.ndarray, Integers]:
    """Returns what DynamicQuantizeLinear returns, in float32 as ONNX defines it."""
    least, most = min(np.float32(0), x.min()), max(np.float32(0), x.max())
    scale = (most - least) / np.float32(255)
    if scale == 0:
        return np.zeros(x.shape, np.uint8), Integers("uint8", 1.0, 0)
    zero = int(np.clip(np.rint(-least / scale), 0, 255))
    return np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8), Integers("uint8", float(scale), zero)


def convolved(
    x: np.ndarray, w: np.ndarray, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> np.ndarray:
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    n, h, width, _ = x.shape
    o, c, kh, kw = w.shape
    oh, ow = (h - dilation * (kh - 1) - 1) // stride + 1, (width - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((n, oh, ow, o), x.dtype)
    for g in range(groups):
        outs, ins = slice(g * o // groups, (g + 1) * o // groups), slice(g * c, (g + 1) * c)
        for i in range(kh):
            for j in range(kw):
                rows, columns = i * dilation, j * dilation
                part = x[:, rows : rows + stride * oh : stride, columns : columns + stride * ow : stride, ins]
                y[..., outs] += part[:, :oh, :ow] @ w[outs, :, i, j].T
    return y


def activated(y: np.ndarray, activation: str | None, slopes: np.ndarray | None) -> np.ndarray:
    from math import erf

    match activation:
        case "relu":
            return np.maximum(y, 0)
        case "relu6":
            return np.clip(y, 0, 6)
        case "hard_swish":
            return y * np.clip(y + 3, 0, 6) / 6
        case "prelu":
            assert slopes is not None
            return np.where(y < 0, y * slopes, y)
        case "gelu":
            return y / 2 * (1 + np.vectorize(erf, otypes=[np.float64])(y / 2**0.5))
        case "silu":
            return y / (1 + np.exp(-y))
    return y


def random_integers(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    low, high = LIMITS[dtype]
    return rng.integers(low, high + 1, shape).astype(dtype)


@st.composite
def integers_of(draw: st.DrawFn) -> Integers:
    dtype = draw(st.sampled_from(["uint8", "int8"]))
    zero = draw(st.one_of(st.sampled_from([0, 127, *LIMITS[dtype]]), st.integers(*LIMITS[dtype])))
    low, high = LIMITS[dtype]
    return Integers(dtype, draw(st.sampled_from([0.5, 0.0371, 1e-3])), min(max(zero, low), high))


@st.composite
def layers(draw: st.DrawFn, activations: tuple[str | None, ...] = ACTIVATIONS) -> Layer:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    window: dict[str, Any] | None = None
    if draw(st.booleans()):
        n, k = draw(st.integers(1, 70)), draw(st.integers(1, 300))
        shape, weight_shape = (draw(st.integers(1, 40)), k), (n, k)
    else:
        depthwise = draw(st.booleans())
        groups = draw(st.integers(2, 150) if depthwise else st.sampled_from([1, 1, 2, 3]))
        c = 1 if depthwise else draw(st.integers(1, 20))
        kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 2))
        padding, stride = draw(st.integers(0, 2)), draw(st.integers(1, 2))
        span = dilation * (kernel - 1) + 1
        size = draw(st.integers(max(1, span - 2 * padding), 16))
        n = groups if depthwise else groups * draw(st.integers(1, 20))
        window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        shape, weight_shape = (draw(st.integers(1, 2)), size, size + 1, groups * c), (n, c, kernel, kernel)
    x_of, out_of, residual_of, sum_of = (draw(st.none() | integers_of()) for _ in range(4))
    # The outputs spread over a few times the range of the integers, so that some saturate.
    out_scale = out_of.scale if out_of else 1.0
    reduction = int(np.prod(weight_shape[1:]))
    x_scale = 5 / 255 if x_of is None else x_of.scale
    scale = out_scale * 128 / (x_scale * 70 * 70 * np.sqrt(reduction))
    floats = x_of is None or draw(st.booleans())
    weight_scales = (scale * rng.uniform(0.3, 1.5, n)).astype(np.float32)
    quantization = Quantization(weight_scales, x_of, x_of is not None and floats, out_of, residual_of, sum_of)
    if sum_of is not None:
        sum_of = sum_of._replace(scale=out_scale * draw(st.sampled_from([0.4, 1.0, 2.5])))
        quantization = dataclasses.replace(quantization, sum=sum_of)
    x = (200 * x_scale * rng.normal(rng.uniform(-1, 1), 1, shape)).astype(np.float32)
    activation = draw(st.sampled_from(activations))
    layer = Layer(
        random_integers(rng, "int8", weight_shape),
        x if x_of is None or floats else random_integers(rng, x_of.dtype, shape),
        quantization,
        bias=(40 * out_scale * rng.standard_normal(n)).astype(np.float32) if draw(st.booleans()) else None,
        activation=activation,
        slopes=rng.uniform(-1, 1, n).astype(np.float32) if activation == "prelu" else None,
        window=window,
    )
    if draw(st.booleans()):
        y_shape = layer.sums().shape
        residual = random_integers(rng, residual_of.dtype, y_shape) if residual_of else rng.standard_normal(y_shape)
        layer = dataclasses.replace(layer, residual=residual if residual_of else residual.astype(np.float32))
    return layer


@settings(max_examples=150, deadline=None)
@given(layers(), st.integers(1, 3))
def test_agrees_with_float64(isa: str, layer: Layer, threads: int) -> None:
    y = layer.run(isa, threads)
    layer.check(y)
    out = np.full(y.shape, np.nan, np.float32)
    assert layer.run(isa, threads, out=out) is out
    layer.check(out)


@settings(max_examples=150, deadline=None)
@given(layers(SAME_BITS), st.integers(1, 3))
def test_all_instruction_sets_have_the_same_bits(layer: Layer, threads: int) -> None:
    """The arithmetic of other activations differs from that of the reference."""
    want = layer.run("reference")
    for isa in kernels.available_isas():
        np.testing.assert_array_equal(layer.run(isa, threads), want)


OUT = Integers("uint8", 0.1, 3)


def dense(m: int, n: int, k: int, out: Integers | None = OUT) -> Layer:
    rng = np.random.default_rng(m + n + k)
    quantization = Quantization(rng.uniform(1e-4, 1e-3, n).astype(np.float32), Integers("uint8", 0.05, 7), out=out)
    weight, x = random_integers(rng, "int8", (n, k)), random_integers(rng, "uint8", (m, k))
    return Layer(weight, x, quantization, rng.standard_normal(n).astype(np.float32))


def test_every_register_tile(isa: str) -> None:
    for mr, nr in kernels.register_tiles(isa, "int8"):
        for m, n in ((mr, nr), (3 * mr - 1, 2 * nr - 1)):
            layer = dense(m, n, 61)
            schedule = {**kernels.default_dense_schedule(m, n, 61, isa, dtype="int8"), "mr": mr, "nr": nr}
            layer.check(layer.run(isa, schedule=schedule))


@pytest.mark.parametrize("order", ["m_inner", "n_inner"])
def test_blocks_and_prefetches(isa: str, order: str) -> None:
    layer = dense(50, 70, 129)
    want = layer.run("reference")
    schedule = kernels.default_dense_schedule(50, 70, 129, isa, dtype="int8")
    for changes in ({}, {"mc": 13, "nc": 16}, {"prefetch": 512}, {"prefetch_next": True, "nc": 8}):
        changed = {**schedule, "order": order, **changes}
        np.testing.assert_array_equal(layer.run(isa, schedule=changed), want)


def test_extreme_sums_are_exact(isa: str) -> None:
    """All products have the largest magnitude and the same sign, up to the longest sum that is allowed."""
    longest = (2**31 - 1) // (255 * 128)
    for k, zero in ((longest, 0), (longest, 255), (7, 0)):
        x = np.full((2, k), 255 - zero, np.uint8)
        weight = np.full((9, k), -128, np.int8)
        layer = Layer(weight, x, Quantization(np.ones(9, np.float32), Integers("uint8", 1.0, zero)))
        exact = layer.sums().astype(np.float32)
        np.testing.assert_array_equal(layer.run(isa), exact)
    layer = Layer(np.ones((1, longest + 1), np.int8), np.ones((1, longest + 1), np.uint8), layer.quantization)
    one = dataclasses.replace(layer.quantization, weight=np.ones(1, np.float32))
    with pytest.raises(ValueError, match="may exceed int32"):
        dataclasses.replace(layer, quantization=one).run(isa)


@pytest.mark.parametrize("kind", ["positive", "negative", "zero", "mixed", "large", "tiny"])
@pytest.mark.parametrize("threads", [1, 2])
def test_dynamic_layers_quantize_as_onnx_runtime_does(isa: str, kind: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 257)).astype(np.float32)
    x = {"positive": abs(x), "negative": -abs(x), "zero": 0 * x, "mixed": x, "large": x * 1e37, "tiny": x * 1e-37}[kind]
    weight = random_integers(rng, "int8", (33, 257))
    nodes = [
        onnx.helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        onnx.helper.make_node("MatMulInteger", ["q", "w", "zero"], ["sum"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [
            onnx.helper.make_tensor_value_info("sum", onnx.TensorProto.INT32, None),
            onnx.helper.make_tensor_value_info("scale", onnx.TensorProto.FLOAT, []),
        ],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(weight.T), "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # exact sums without VNNI
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    sums, scale = map(np.asarray, session.run(None, {"x": x}))
    layer = Layer(weight, x, Quantization(np.ones(33, np.float32)))
    np.testing.assert_array_equal(layer.run(isa, threads), sums.astype(np.float32) * scale)


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
def test_an_infinite_range_makes_the_output_nan(isa: str, number: float) -> None:
    x = np.ones((20, 3), np.float32)
    x[7, 1] = number
    layer = Layer(np.ones((9, 3), np.int8), x, Quantization(np.ones(9, np.float32)))
    y = layer.run(isa)
    assert np.isnan(y).all() or np.isnan(number)
    assert y.shape == (20, 9)


def test_saturates_and_takes_nan_as_the_least(isa: str) -> None:
    bias = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 12.5, 13.5, -0.5], np.float32)
    for out, want in (
        (Integers("uint8", 1.0, 10), [0, 255, 0, 255, 0, 22, 24, 10]),
        (Integers("int8", 1.0, -5), [-128, 127, -128, 127, -128, 7, 9, -5]),
    ):
        quantization = Quantization(np.ones(8, np.float32), Integers("int8", 1.0), out=out)
        layer = Layer(np.zeros((8, 3), np.int8), np.zeros((5, 3), np.int8), quantization, bias)
        np.testing.assert_array_equal(layer.run(isa), np.tile(want, (5, 1)).astype(out.dtype))


def depthwise(h: int, w: int, channels: int, kernel: int, **window: Any) -> Layer:
    rng = np.random.default_rng(h + w + channels)
    scales = rng.uniform(1e-3, 1e-2, channels).astype(np.float32)
    quantization = Quantization(scales, Integers("uint8", 0.05, 7), out=Integers("int8", 0.1, 3))
    weight, x = (
        random_integers(rng, dtype, shape)
        for dtype, shape in (("int8", (channels, 1, kernel, kernel)), ("uint8", (1, h, w, channels)))
    )
    window = {"padding": kernel // 2, "groups": channels} | window
    return Layer(weight, x, quantization, rng.standard_normal(channels).astype(np.float32), window=window)


def image(h: int, w: int, c: int, o: int, **changes: Any) -> Layer:
    """A 3x3 convolution."""
    rng = np.random.default_rng(h + w + c + o)
    scales = (rng.uniform(0.5, 1, o) * 100 / (0.05 * 70 * 70 * 3 * np.sqrt(c))).astype(np.float32)
    quantization = Quantization(scales, Integers("uint8", 0.05, 7), out=Integers("int8", 1.0, 3))
    weight, x = random_integers(rng, "int8", (o, c, 3, 3)), random_integers(rng, "uint8", (2, h, w, c))
    layer = Layer(weight, x, quantization, rng.standard_normal(o).astype(np.float32), window={"padding": 1})
    return dataclasses.replace(layer, **changes)


def winograd(layer: Layer, isa: str, most: int = 1, **changes: Any) -> dict[str, Any]:
    """Returns a schedule with the exact algorithm of Winograd."""
    if kernels.tile_k(isa, "int8") != 2 or not kernels.register_tiles(isa, "int8"):
        pytest.skip("the words of this instruction set are not pairs of int16")
    h, w = layer.x.shape[1:3]
    return layer.make(isa, most).schedule(2, h, w) | {"algorithm": "winograd2"} | changes


def test_winograd_has_the_same_bits(isa: str) -> None:
    for h, w, c, o in ((14, 15, 33, 20), (5, 5, 64, 40), (1, 9, 2, 8), (3, 2, 1, 1)):
        layer = image(h, w, c, o)
        want = layer.run("reference")
        layer.check(want)
        for mr, nr in kernels.register_tiles(isa, "int8"):
            for rows in (1, 5, 100):
                schedule = winograd(layer, isa, mr=mr, nr=nr, rows=rows)
                np.testing.assert_array_equal(layer.run(isa, schedule=schedule), want)


@pytest.mark.parametrize("threads", [(2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("activation", [*SAME_BITS, "gelu", "hard_swish"])
@pytest.mark.parametrize("out", [None, Integers("uint8", 1.0, 30)])
@pytest.mark.parametrize("residual", ["none", "float32", "int8"])
def test_the_epilogue_of_winograd(
    isa: str, threads: tuple[int, int], activation: str | None, out: Integers | None, residual: str
) -> None:
    rng = np.random.default_rng(0)
    layer = image(7, 9, 24, 29)
    of_residual = Integers("int8", 0.3, -4) if residual == "int8" else None
    shape = layer.sums().shape
    added = {
        "none": None,
        "float32": rng.standard_normal(shape).astype(np.float32),
        "int8": random_integers(rng, "int8", shape),
    }[residual]
    quantization = dataclasses.replace(layer.quantization, out=out, residual=of_residual)
    slopes = rng.uniform(-1, 1, 29).astype(np.float32) if activation == "prelu" else None
    layer = dataclasses.replace(layer, quantization=quantization, activation=activation, slopes=slopes, residual=added)
    direct = layer.make(isa).schedule(2, 7, 9) | {"algorithm": "direct"}
    schedule = winograd(layer, isa, 6, threads=threads)
    np.testing.assert_array_equal(layer.run(isa, 6, schedule=schedule), layer.run(isa, schedule=direct))


def test_winograd_of_floats(isa: str) -> None:
    """Floats are rounded by a scale, or by their range."""
    rng = np.random.default_rng(0)
    for x_of, floats in ((Integers("int8", 0.05, -20), True), (None, False)):
        layer = image(8, 8, 12, 16)
        x = rng.standard_normal(layer.x.shape).astype(np.float32)
        layer = dataclasses.replace(
            layer, x=x, quantization=dataclasses.replace(layer.quantization, x=x_of, floats=floats, out=None)
        )
        np.testing.assert_array_equal(layer.run(isa, schedule=winograd(layer, isa)), layer.run("reference"))


def test_the_largest_sums_of_winograd_are_exact(isa: str) -> None:
    for zero, sign in ((0, -128), (255, 127), (0, 127)):
        c = 1827
        x, weight = np.full((2, 4, 4, c), 255 - zero, np.uint8), np.full((8, c, 3, 3), sign, np.int8)
        quantization = Quantization(np.ones(8, np.float32), Integers("uint8", 1.0, zero))
        layer = image(4, 4, c, 8, x=x, weight=weight, quantization=quantization, bias=None)
        exact = layer.sums().astype(np.float32)
        np.testing.assert_array_equal(layer.run(isa, schedule=winograd(layer, isa)), exact)
    one_more = image(4, 4, c + 1, 8)
    with pytest.raises(ValueError, match="winograd2 is for int8"):
        one_more.run(isa, schedule=winograd(one_more, isa, algorithm="winograd2"))


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_schedules(isa: str, stride: int) -> None:
    """Slabs of an image that exceeds L2, strips of all widths, and more threads than rows."""
    for h, w, channels, kernel in ((60, 70, 96, 3), (9, 300, 130, 5), (2, 5, 24, 3)):
        layer = depthwise(h, w, channels, kernel, stride=stride)
        want = layer.run("reference")
        for threads in (1, 3):
            np.testing.assert_array_equal(layer.run(isa, threads), want)
        if not kernels.register_tiles(isa):  # the reference has no schedules
            continue
        schedule = layer.make(isa).schedule(1, h, w)
        for changes in ({"columns": 1}, {"columns": 4, "channels": 8}, {"channels": 1}):
            np.testing.assert_array_equal(layer.run(isa, schedule=schedule | changes), want)


def test_the_largest_depthwise_sums_are_exact(isa: str) -> None:
    """With 514 taps float32 is exact; more are computed in int32."""
    for taps in (514, 515, 1000):
        x, weight = np.full((1, 1, taps, 8), 255, np.uint8), np.full((8, 1, 1, taps), -128, np.int8)
        window = {"padding": 0, "groups": 8}
        layer = Layer(weight, x, Quantization(np.ones(8, np.float32), Integers("uint8", 1.0, 0)), window=window)
        np.testing.assert_array_equal(layer.run(isa), layer.sums().astype(np.float32))


@pytest.mark.parametrize("edge", ["start", "end"])
def test_reads_and_writes_only_its_arrays(isa: str, edge: Any) -> None:
    for layer in (dense(7, 13, 21), dense(6, 16, 32), dense(1, 1, 1), depthwise(5, 6, 13, 3)):
        want = layer.run("reference")
        x = next_to_forbidden_page(layer.x, edge)
        out = next_to_forbidden_page(np.zeros_like(want), edge)
        layer.make(isa)(x, out)
        np.testing.assert_array_equal(out, want)


def test_the_residual_may_be_the_output(isa: str) -> None:
    layer = dense(9, 21, 40, Integers("int8", 0.2, -3))
    quantization = dataclasses.replace(layer.quantization, residual=Integers("int8", 0.07, 11))
    residual = random_integers(np.random.default_rng(0), "int8", (9, 21))
    layer = dataclasses.replace(layer, quantization=quantization, residual=residual)
    want, out = layer.run("reference"), residual.copy()
    assert layer.make(isa)(layer.x, out, out) is out
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"quantization": None}, ValueError, "weights of int8 need a quantization"),
        ({"weight": np.ones((4, 6), np.float32)}, ValueError, "a quantization is for weights of int8"),
        ({"weight": np.ones((4, 6), np.uint8)}, TypeError, "weight must be float32 or bfloat16 or int8, got uint8"),
        ({"x": np.ones((2, 6), np.int8)}, TypeError, "x must be uint8, got int8"),
        ({"x": np.ones((2, 6), np.float32)}, TypeError, "x must be uint8, got float32"),
        ({"scale": 0.0}, ValueError, "the scale of x must be positive"),
        ({"scale": float("nan")}, ValueError, "the scale of x must be positive"),
        ({"zero": 256}, ValueError, "the zero point of x must be between 0 and 255, got 256"),
        ({"scales": np.zeros(4, np.float32)}, ValueError, "the scales of the weight must be positive"),
        ({"scales": np.ones(3, np.float32)}, ValueError, "the scales of the weight must have shape"),
        ({"quantization": "x"}, TypeError, "quantization must be a kernels.Quantization, got str"),
        ({"zero": 1.5}, TypeError, "quantization must have integers of"),
        ({"scale": 1e-40}, ValueError, "the scale of x must be positive"),
        ({"dtype": "int16"}, ValueError, "integers must be int8 or uint8, got int16"),
    ],
)
def test_bad_input_is_one_line(change: dict[str, Any], error: type[Exception], message: str) -> None:
    weight, x = change.get("weight", np.ones((4, 6), np.int8)), change.get("x", np.ones((2, 6), np.uint8))
    of_x = Integers(change.get("dtype", "uint8"), change.get("scale", 0.1), change.get("zero", 3))
    quantization = change.get("quantization", Quantization(change.get("scales", np.ones(4, np.float32)), of_x))
    with pytest.raises(error, match=message) as caught:
        kernels.Dense(weight, quantization=quantization)(x)
    assert "\n" not in str(caught.value)


def test_a_schedule_has_the_entire_sum(isa: str) -> None:
    if isa == "reference":
        pytest.skip("the reference has no schedules")
    schedule = {**kernels.default_dense_schedule(4, 8, 64, isa, dtype="int8"), "kc": 32}
    with pytest.raises(ValueError, match="int8 needs the entire sum: kc of at least 64, got 32"):
        dense(4, 8, 64).run(isa, schedule=schedule)


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("out", [None, OUT])
def test_a_bias_without_a_number(isa: str, activation: str | None, out: Integers | None) -> None:
    layer = dataclasses.replace(dense(3, 4, 5, out), activation=activation)
    layer = dataclasses.replace(layer, bias=np.array([np.nan, np.inf, -np.inf, 1], np.float32))
    np.testing.assert_array_equal(layer.run(isa), layer.run("reference"))
    first = layer.run(isa)[:, 0]
    assert np.isnan(first).all() if out is None else (first == 0).all()
