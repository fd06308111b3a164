"""Pooling against loops in float64, written from ONNX's definition, and against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from tests.kernels.memory import CANARY, next_to_forbidden_page, unaligned

EPSILON = float(np.finfo(np.float32).eps)

Array = np.ndarray


class Case(NamedTuple):
    """Draws images and windows; ``dilation`` is for maxima, ``count_include_pad`` for means."""

    shape: tuple[int, int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False
    count_include_pad: bool = False


CHANNELS = st.one_of(st.sampled_from([1, 3, 16, 17, 24, 64, 130]), st.integers(1, 300))


@st.composite
def cases(draw: st.DrawFn, dilated: bool = False) -> Case:
    small = st.integers(1, 4)
    kernel, stride = draw(st.tuples(small, small)), draw(st.tuples(small, small))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if dilated else (1, 1)
    # A padding smaller than the kernel, not only than its span: no window is without a pixel.
    begin, end = ([draw(st.integers(0, size - 1)) for size in kernel] for _ in range(2))
    sizes = []
    for axis in range(2):
        span = (kernel[axis] - 1) * dilation[axis] + 1
        sizes.append(draw(st.integers(max(span - begin[axis] - end[axis], (kernel[axis] - 1) * dilation[axis], 1), 14)))
    return Case(
        (draw(st.integers(1, 3)), sizes[0], sizes[1], draw(CHANNELS)),
        kernel,
        stride,
        (begin[0], begin[1], end[0], end[1]),
        dilation,
        draw(st.booleans()),
        draw(st.booleans()),
    )


def make_images(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def max_pool(x: Array, case: Case, **options: Any) -> Array:
    return kernels.max_pool2d(x, case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode, **options)


def avg_pool(x: Array, case: Case, **options: Any) -> Array:
    return kernels.avg_pool2d(
        x, case.kernel, case.stride, case.padding, case.ceil_mode, case.count_include_pad, **options
    )


def output_size(size: int, axis: int, case: Case) -> int:
    begin, end = case.padding[axis], case.padding[axis + 2]
    room = size + begin + end - (case.kernel[axis] - 1) * case.dilation[axis] - 1
    count = room // case.stride[axis] + 1
    if case.ceil_mode and room % case.stride[axis] and count * case.stride[axis] < size + begin:
        count += 1
    return count


def windows(x: Array, case: Case, reduce: Callable[[Array, int], Array]) -> Array:
    """Returns reduce((pixels, c), pixels in the padded image) for every window, in float64."""
    n, h, w, c = x.shape
    y = np.empty((n, output_size(h, 0, case), output_size(w, 1, case), c))

    def positions(index: int, axis: int) -> list[int]:
        start = index * case.stride[axis] - case.padding[axis]
        every = range(start, start + case.kernel[axis] * case.dilation[axis], case.dilation[axis])
        return [i for i in every if i < x.shape[1 + axis] + case.padding[axis + 2]]

    for image, p, q in np.ndindex(y.shape[:3]):
        rows, columns = positions(p, 0), positions(q, 1)
        pixels = [x[image, i, j] for i in rows for j in columns if 0 <= i < h and 0 <= j < w]
        y[image, p, q] = reduce(np.array(pixels, np.float64), len(rows) * len(columns))
    return y


def max_reference(x: Array, case: Case) -> Array:
    return windows(x, case, lambda pixels, _: pixels.max(0))


def mean(values: Array, case: Case) -> Array:
    return windows(
        values,
        case,
        lambda pixels, all_of_them: pixels.sum(0) / (all_of_them if case.count_include_pad else len(pixels)),
    )


def assert_mean(y: Array, x: Array, case: Case) -> None:
    """A sum of t values and a division have t roundings, each of at most half an epsilon of the sum of magnitudes."""
    allowed = case.kernel[0] * case.kernel[1] * EPSILON / 2 * 1.01 * mean(np.abs(x), case)
    assert np.all(np.abs(y - mean(x, case)) <= allowed)


@settings(max_examples=60, deadline=None)
@given(case=cases(dilated=True), threads=st.integers(1, 3), seed=st.integers(0, 99))
def test_max_pool_agrees_with_its_definition(isa: str, case: Case, threads: int, seed: int) -> None:
    x = make_images(case.shape, seed)
    np.testing.assert_array_equal(max_pool(x, case, isa=isa, threads=threads), max_reference(x, case))


@settings(max_examples=60, deadline=None)
@given(case=cases(), threads=st.integers(1, 3), seed=st.integers(0, 99))
def test_avg_pool_agrees_with_its_definition(isa: str, case: Case, threads: int, seed: int) -> None:
    x = make_images(case.shape, seed)
    assert_mean(avg_pool(x, case, isa=isa, threads=threads), x, case)


@pytest.mark.parametrize(("size", "c"), [*((size, c) for size in (17, 80, 150) for c in (3, 64, 130)), (40, 2 * 1024)])
def test_the_error_of_a_mean_does_not_grow_with_the_image(isa: str, size: int, c: int) -> None:
    """Sums of 256 taps, and the sum of these: of positive pixels, a single sum would round in the same direction."""
    x = np.abs(make_images((1, size, size, c))) + 1
    expected = x.astype(np.float64).mean((1, 2), keepdims=True)
    roundings = 256 + size * size / 256 + 2
    allowed = roundings * EPSILON / 2 * expected
    y = kernels.global_avg_pool2d(x, isa=isa)
    assert (np.abs(y - expected) <= allowed).all()
    case = Case(x.shape, (size, size), (1, 1), (2, 1, 0, 1), count_include_pad=True)
    corner = avg_pool(x, case, isa=isa)[0, 0, 0]
    total = x[0, : size - 2, : size - 1].astype(np.float64).sum((0, 1))
    assert (np.abs(corner - total / size**2) <= roundings * EPSILON / 2 * total / size**2).all()


@pytest.mark.parametrize("c", [1, 3, 17, 1001, 2048, 5000])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_global_avg_pool(isa: str, c: int, threads: int) -> None:
    for n, h, w in ((1, 7, 7), (2, 5, 9), (3, 1, 1)):
        x = make_images((n, h, w, c))
        y = kernels.global_avg_pool2d(x, isa=isa, threads=threads)
        assert y.shape == (n, 1, 1, c)
        assert_mean(y, x, Case(x.shape, (h, w), (1, 1)))


def test_layers_of_networks(isa: str) -> None:
    """Large enough to be shared by threads."""
    for case in (
        Case((1, 56, 56, 64), (3, 3), (2, 2), (1, 1, 1, 1)),
        Case((1, 27, 27, 96), (3, 3), (2, 2), ceil_mode=True),
        Case((2, 28, 28, 33), (3, 3), (1, 1), (1, 1, 1, 1)),
        Case((1, 17, 17, 40), (8, 8), (1, 1)),
    ):
        x = make_images(case.shape)
        for threads in (1, 2):
            np.testing.assert_array_equal(max_pool(x, case, isa=isa, threads=threads), max_reference(x, case))
            assert_mean(avg_pool(x, case, isa=isa, threads=threads), x, case)


def onnx_runtime(operator: str, x: Array, case: Case, **attributes: Any) -> Array:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    float32 = onnx.TensorProto.FLOAT
    node = onnx.helper.make_node(
        operator,
        ["x"],
        ["y"],
        kernel_shape=case.kernel,
        strides=case.stride,
        pads=case.padding,
        ceil_mode=int(case.ceil_mode),
        **attributes,
    )
    nchw = x.transpose(0, 3, 1, 2)
    graph = onnx.helper.make_graph(
        [node],
        "pooling",
        [onnx.helper.make_tensor_value_info("x", float32, nchw.shape)],
        [onnx.helper.make_tensor_value_info("y", float32, (None,) * 4)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": nchw})[0].transpose(0, 2, 3, 1)


@settings(max_examples=40, deadline=None)
@given(case=cases(dilated=True))
def test_max_pool_agrees_with_onnx_runtime(case: Case) -> None:
    x = make_images(case.shape)
    expected = onnx_runtime("MaxPool", x, case, dilations=case.dilation)
    np.testing.assert_array_equal(max_pool(x, case), expected)


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_avg_pool_agrees_with_onnx_runtime(case: Case) -> None:
    x = make_images(case.shape)
    expected = onnx_runtime("AveragePool", x, case, count_include_pad=int(case.count_include_pad))
    np.testing.assert_allclose(avg_pool(x, case), expected, rtol=0, atol=4e-6)


@pytest.mark.parametrize("edge", ["start", "end"])
@settings(max_examples=40, deadline=None)
@given(case=cases(), threads=st.integers(1, 2))
def test_touches_nothing_outside_its_arrays(isa: str, edge: Literal["start", "end"], case: Case, threads: int) -> None:
    """Input and output are adjacent to a page without access rights: one byte too far ends the process."""
    x = next_to_forbidden_page(make_images(case.shape), edge)
    out = next_to_forbidden_page(np.zeros(max_reference(x, case).shape, np.float32), edge)
    assert max_pool(x, case, out=out, isa=isa, threads=threads) is out
    np.testing.assert_array_equal(out, max_reference(x, case))
    assert_mean(avg_pool(x, case, out=out, isa=isa, threads=threads), x, case)


def test_writes_nothing_but_the_output(isa: str) -> None:
    x = make_images((1, 6, 7, 21))
    wall = np.full(6 * 7 * 21 + 128, CANARY)
    out = wall[64:-64].reshape(x.shape)
    for pool in (kernels.max_pool2d, kernels.avg_pool2d):
        out[...] = CANARY
        assert pool(x, 3, 1, 1, out=out, isa=isa) is out
        assert (out != CANARY).all()
        assert (wall[:64] == CANARY).all()
        assert (wall[-64:] == CANARY).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_windows(isa: str, value: float) -> None:
    x = make_images((1, 9, 9, 20))
    case = Case(x.shape, (3, 3), (1, 1))
    x[0, 4, 4, 17] = value
    x[0, :3, :3, 3] = -np.inf
    np.testing.assert_array_equal(max_pool(x, case, isa=isa), max_reference(x, case))
    expected = np.isfinite(mean(x, case))
    np.testing.assert_array_equal(np.isfinite(avg_pool(x, case, isa=isa)), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("c", [5, 64, 83])
def test_every_tap_of_a_window_of_3x3_may_be_not_finite(isa: str, c: int, value: float) -> None:
    """One image per tap and channel, and windows at all borders."""
    for padding in ((0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2)):
        x = make_images((25, 5, 5, c))
        x[np.arange(25), np.arange(25) // 5, np.arange(25) % 5, np.arange(25) * 7 % c] = value
        case = Case(x.shape, (3, 3), (2, 2), padding)
        np.testing.assert_array_equal(max_pool(x, case, isa=isa), max_reference(x, case))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_global_pooling_of_what_is_not_finite(isa: str, value: float) -> None:
    """Many channels, and more pixels than are summed at once."""
    x = make_images((1, 17, 17, 1024 + 5))
    x[0, np.arange(17), np.arange(17), np.arange(17) * 60] = value
    case = Case(x.shape, (17, 17), (1, 1))
    np.testing.assert_array_equal(max_pool(x, case, isa=isa), max_reference(x, case))
    finite = np.isfinite(mean(x, case))
    y = kernels.global_avg_pool2d(x, isa=isa)
    np.testing.assert_array_equal(np.isfinite(y), finite)
    np.testing.assert_array_equal(y[~finite], mean(x, case)[~finite].astype(np.float32))


def test_a_dilated_window_without_a_pixel(isa: str) -> None:
    x = np.ones((1, 1, 1, 3), np.float32)
    y = kernels.max_pool2d(x, (1, 2), 1, (0, 1), dilation=2, isa=isa)
    np.testing.assert_array_equal(y, np.full((1, 1, 1, 3), -np.inf))


STRIDED = {
    "NCHW": lambda a: a.transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1),
    "channels of more": lambda a: np.concatenate([a, a], axis=3)[..., : a.shape[3]],
    "upside down": lambda a: a[:, ::-1].copy()[:, ::-1],
    "unaligned": unaligned,
}


@pytest.mark.parametrize("strided", STRIDED.values(), ids=STRIDED.keys())
def test_any_strides_of_the_input(isa: str, strided: Any) -> None:
    x = make_images((2, 6, 7, 5))
    case = Case(x.shape, (3, 2), (2, 1))
    np.testing.assert_array_equal(max_pool(strided(x), case, isa=isa), max_reference(x, case))
    assert_mean(avg_pool(strided(x), case, isa=isa), x, case)
    assert_mean(kernels.global_avg_pool2d(strided(x), isa=isa), x, Case(x.shape, (6, 7), (1, 1)))


def test_forms_of_sizes() -> None:
    x = make_images((1, 8, 9, 4))
    np.testing.assert_array_equal(kernels.max_pool2d(x, 2), kernels.max_pool2d(x, (2, 2), (2, 2)))
    np.testing.assert_array_equal(kernels.avg_pool2d(x, (2, 3)), kernels.avg_pool2d(x, (2, 3), (2, 3)))
    np.testing.assert_array_equal(kernels.max_pool2d(x, 3, 2, 1), kernels.max_pool2d(x, 3, 2, (1, 1, 1, 1)))
    np.testing.assert_array_equal(kernels.avg_pool2d(x, 3, 2, (1, 0)), kernels.avg_pool2d(x, 3, 2, (1, 0, 1, 0)))


def test_two_callers_at_once(isa: str) -> None:
    x = make_images((2, 30, 30, 64))
    case = Case(x.shape, (3, 3), (2, 2), (1, 1, 1, 1))
    expected = max_pool(x, case, isa=isa)
    with ThreadPoolExecutor(2) as executor:
        for y in executor.map(lambda _: max_pool(x, case, isa=isa, threads=2), range(40)):
            np.testing.assert_array_equal(y, expected)


X = np.zeros((1, 5, 5, 4), np.float32)
REJECTED = {
    "rank": ({"x": X[0]}, r"x must have shape \(>=1, >=1, >=1, >=1\), got \(5, 5, 4\)"),
    "no images": ({"x": X[:0]}, r"x must have shape .* got \(0, 5, 5, 4\)"),
    "kernel": ({"kernel": 0}, r"kernel must be at least 1, got \(0, 0\)"),
    "three kernels": ({"kernel": (1, 1, 1)}, r"kernel must be one number or \(height, width\)"),
    "stride": ({"stride": (1, 0)}, r"stride must be at least 1, got \(1, 0\)"),
    "negative padding": ({"padding": (0, 0, -1, 0)}, "padding must not be negative"),
    "much padding": ({"padding": 3}, "padding must be smaller than the kernel"),
    "three paddings": ({"padding": (1, 1, 1)}, "padding must be one number"),
    "small images": ({"kernel": 7, "padding": (0, 1)}, "x must have images of at least 7x5 for this kernel, got 5x5"),
    "out": ({"out": X}, r"out must have shape \(1, 3, 3, 4\), got \(1, 5, 5, 4\)"),
    "sliced out": ({"out": np.zeros((1, 3, 3, 8), np.float32)[..., ::2]}, "out must be contiguous"),
    "isa": ({"isa": "sse9"}, "unknown isa 'sse9'"),
    "threads": ({"threads": 0}, "threads must be between 1 and 1024, got 0"),
}


@pytest.mark.parametrize("pool", [kernels.max_pool2d, kernels.avg_pool2d])
@pytest.mark.parametrize(("changes", "message"), REJECTED.values(), ids=REJECTED.keys())
def test_bad_arguments_are_rejected(pool: Callable[..., Array], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pool(**{"x": X, "kernel": 3, "stride": 1, **changes})


def test_bad_arrays_are_rejected() -> None:
    with pytest.raises(TypeError, match="x must be float32, got float64"):
        kernels.global_avg_pool2d(X.astype(np.float64))
    with pytest.raises(TypeError, match="x must be a numpy array, got list"):
        kernels.max_pool2d([1.0], 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"dilation must be at least 1, got \(0, 0\)"):
        kernels.max_pool2d(X, 1, dilation=0)
    with pytest.raises(ValueError, match="out must not overlap x"):
        kernels.max_pool2d(X, 1, out=X)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_maxima_of_integers(isa: str, data: st.DataObject) -> None:
    """The maxima of the same numbers in float32, which are exact. Windows over padding alone have the least integer."""
    dtype = data.draw(st.sampled_from(["uint8", "int8"]))
    limits = np.iinfo(dtype)
    kernel, stride, dilation = (data.draw(st.tuples(*[st.integers(1, 3)] * 2)) for _ in range(3))
    padding = [data.draw(st.integers(0, (k - 1) * d)) for k, d in zip(kernel * 2, dilation * 2, strict=True)]
    sizes = [data.draw(st.integers((k - 1) * d + 1, 12)) for k, d in zip(kernel, dilation, strict=True)]
    shape = (data.draw(st.integers(1, 2)), *sizes, data.draw(st.integers(1, 300)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    threads = data.draw(st.integers(1, 2))
    y = kernels.max_pool2d(x, kernel, stride, tuple(padding), dilation, isa=isa, threads=threads)
    want = kernels.max_pool2d(x.astype(np.float32), kernel, stride, tuple(padding), dilation, isa="reference")
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.maximum(want, limits.min))


def test_an_output_of_another_type_than_x_is_rejected(isa: str) -> None:
    x = np.zeros((1, 4, 4, 8), np.uint8)
    with pytest.raises(TypeError, match="out must be of uint8, as x is"):
        kernels.max_pool2d(x, 2, out=np.zeros((1, 2, 2, 8), np.float32), isa=isa)
    with pytest.raises(TypeError):
        kernels.avg_pool2d(x, 2, isa=isa)
