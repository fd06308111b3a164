"""Convolutions, poolings and resizing of images."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.compiler.tvm_backend.operators.single import INF, NAN, check, normal, rejected

SAME = [
    f'auto_pad="{pad}", strides=[{s},{s}], kernel_shape=[{k},{k}]'
    for pad, s, k in itertools.product(("SAME_UPPER", "SAME_LOWER", "VALID"), (1, 2, 3), (2, 3))
]


@pytest.mark.tvm
@pytest.mark.parametrize("attributes", SAME)
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_pooling_with_automatic_borders(op: str, attributes: str) -> None:
    check(f"(float[1,2,8,7] x) => (float[] y) {{ y = {op} <{attributes}> (x) }}", x=normal(1, 2, 8, 7))


@pytest.mark.tvm
@pytest.mark.parametrize("attributes", SAME)
def test_convolution_with_automatic_borders(attributes: str) -> None:
    size = attributes[-2]
    check(f"(float[1,2,8,7] x) => (float[] y) <float[3,2,{size},{size}] w> {{ y = Conv <{attributes}> (x, w) }}"
          .replace(f"<float[3,2,{size},{size}] w>", "").replace("x) =>", f"x, float[3,2,{size},{size}] w) =>"),
          rtol=1e-5, x=normal(1, 2, 8, 7), w=normal(3, 2, int(size), int(size), seed=1))  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize(
    "attributes", ["dilations=[2,2]", "dilations=[2,1], strides=[2,2]", "ceil_mode=1, strides=[2,2]"]
)
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_dilations_and_ceil_mode(op: str, attributes: str) -> None:
    check(f"(float[1,2,9,8] x) => (float[] y) {{ y = {op} <kernel_shape=[3,2], pads=[1,0,1,1], {attributes}> (x) }}",
          opset=22, x=normal(1, 2, 9, 8))  # fmt: skip


@pytest.mark.tvm
def test_maximum_keeps_infinity_and_a_last_nan() -> None:
    x = np.array([1, NAN, 3, -INF, -INF, -INF, INF, NAN], np.float32).reshape(1, 1, 8)
    check("(float[1,1,8] x) => (float[1,1,6] y) { y = MaxPool <kernel_shape=[3]> (x) }",
          [np.array([[[3, 3, 3, -INF, INF, NAN]]], np.float32)], x=x)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("order", [0, 1])
def test_places_of_maxima_and_back(order: int) -> None:
    check(f"(float[1,2,6,8] x) => (float[] y, int64[] i) "
          f"{{ y, i = MaxPool <kernel_shape=[2,3], strides=[2,2], pads=[0,1,0,1], storage_order={order}> (x) }}",
          x=normal(1, 2, 6, 8))  # fmt: skip
    check("(float[1,2,6,8] x) => (float[] y) { p, i = MaxPool <kernel_shape=[2,2], strides=[2,2]> (x)"
          " y = MaxUnpool <kernel_shape=[2,2], strides=[2,2]> (p, i) }", x=normal(1, 2, 6, 8))  # fmt: skip


TRANSPOSED = [
    *("strides=[3,2]", "strides=[2,2], output_padding=[1,1]", "dilations=[2,1]", "pads=[1,0,1,2]"),
    *(
        "strides=[3,2], output_shape=[10,8]",
        'auto_pad="SAME_UPPER", strides=[3,2]',
        "strides=[2,2], output_shape=[7,7]",
    ),
    *('auto_pad="SAME_LOWER", strides=[3,2]', 'auto_pad="SAME_UPPER", strides=[3,2], output_shape=[10,8]', "group=2"),
]


@pytest.mark.tvm
@pytest.mark.parametrize("attributes", TRANSPOSED)
def test_transposed_convolution(attributes: str) -> None:
    x, w, b = normal(1, 4, 3, 3), normal(4, 2, 3, 3, seed=1), normal(4 if "group" in attributes else 2, seed=2)
    check(f"(float[1,4,3,3] x, float[4,2,3,3] w, float[{b.size}] b) => (float[] y) "
          f"{{ y = ConvTranspose <{attributes}> (x, w, b) }}", rtol=1e-5, x=x, w=w, b=b)  # fmt: skip


@pytest.mark.tvm
def test_negative_borders_are_rejected() -> None:
    rejected(
        "(float[1,2,8,8] x) => (float[] y) { y = MaxPool <kernel_shape=[2,2], pads=[-1,0,0,0]> (x) }", "negative|pad"
    )


COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
RESIZES = [
    *(f'coordinate_transformation_mode="{c}", mode="{m}"' for c in COORDINATES for m in ("nearest", "linear", "cubic")),
    *(f'mode="nearest", nearest_mode="{n}"' for n in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")),
    *('mode="linear", antialias=1', 'mode="cubic", antialias=1', 'mode="cubic", exclude_outside=1'),
]


@pytest.mark.tvm
@pytest.mark.parametrize("attributes", RESIZES)
@pytest.mark.parametrize("scales", [(2.5, 1.3), (0.5, 0.33), (2.0, 0.6), (1.0, 2.0)])
def test_resize_by_scales(attributes: str, scales: tuple[float, float]) -> None:
    check(f"(float[1,2,7,9] x) => (float[] y) <float[4] s = {{1, 1, {scales[0]}, {scales[1]}}}> "
          f"{{ y = Resize <{attributes}> (x, , s) }}".replace("(x, , s)", '(x, "", s)'),
          opset=19, rtol=2e-6, x=normal(1, 2, 7, 9))  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("coordinates", ["align_corners", "pytorch_half_pixel", "half_pixel"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_to_one_pixel(coordinates: str, mode: str) -> None:
    check(f'(float[1,2,6,5] x) => (float[] y) <int64[4] z = {{1, 2, 1, 1}}> {{ y = Resize <mode="{mode}", '
          f'coordinate_transformation_mode="{coordinates}"> (x, "", "", z) }}', x=normal(1, 2, 6, 5))  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("shape", [(1, 2, 10), (1, 1, 3, 4, 5), (4, 6)])
def test_resize_of_other_ranks(shape: tuple[int, ...]) -> None:
    scales = ", ".join(["1", "1", *["1.5"] * (len(shape) - 2)] if len(shape) > 2 else ["1.5", "0.5"])
    check(f"(float[{','.join(map(str, shape))}] x) => (float[] y) <float[{len(shape)}] s = {{{scales}}}> "
          f'{{ y = Resize <mode="linear"> (x, "", s) }}', rtol=2e-6, x=normal(*shape))  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_a_region_that_is_cut_out(mode: str) -> None:
    check(f"(float[1,1,6,6] x) => (float[] y) <float[8] r = {{0, 0, -0.2, 0.4, 1, 1, 0.6, 1.3}}, "
          f"int64[4] z = {{1, 1, 5, 4}}> {{ y = Resize <mode=\"{mode}\", extrapolation_value=10.0, "
          f'coordinate_transformation_mode="tf_crop_and_resize"> (x, r, "", z) }}',
          rtol=2e-5, x=normal(1, 1, 6, 6))  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
def test_regions_from_data(mode: str, ratio: int, coordinates: str) -> None:
    rois = np.array([[0, 0, 9, 7], [2, 1, 5, 6], [-3, -2, 30, 4], [4, 4, 4, 4]], np.float32)
    check(f'(float[2,3,8,10] x, float[4,4] r, int64[4] b) => (float[] y) {{ y = RoiAlign <mode="{mode}", '
          f'output_height=3, output_width=2, sampling_ratio={ratio}, spatial_scale=0.8, '
          f'coordinate_transformation_mode="{coordinates}"> (x, r, b) }}',
          rtol=2e-5, x=normal(2, 3, 8, 10), r=rois, b=np.array([0, 1, 1, 0]))  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("column_major", [0, 1])
def test_max_pool_returns_the_first_of_equal_maxima_in_row_major_order(column_major: int) -> None:
    x = np.random.default_rng(0).integers(0, 2, (2, 2, 3, 4, 5)).astype(np.float32)
    check(
        "(float[2, 2, 3, 4, 5] x) => (float[2, 2, 2, 2, 3] y, int64[2, 2, 2, 2, 3] i) "
        f"{{ y, i = MaxPool <kernel_shape = [2, 3, 3], storage_order = {column_major}> (x) }}",
        x=x,
    )


@pytest.mark.tvm
@pytest.mark.parametrize("order", [0, 1])
def test_a_maximum_with_its_place_is_nan_if_the_first_pixel_is(order: int) -> None:
    nan, inf = np.nan, np.inf
    windows = [[nan, nan], [nan, 1], [1, nan], [2, 1], [nan, -inf], [-inf, nan], [-inf, -inf], [1, 1]]
    x = np.array(windows, np.float32).reshape(8, 1, 2, 1)
    outputs = "(float[] y, int64[] i)"
    check(f"(float[8,1,2,1] x) => {outputs} {{ y, i = MaxPool <kernel_shape=[2,1], storage_order={order}> (x) }}", x=x)
    check(
        "(float[8,1,2,1] x) => (float[] y, int64[] i) { y, i = MaxPool <kernel_shape=[2,1], pads=[1,0,1,0]> (x) }", x=x
    )
