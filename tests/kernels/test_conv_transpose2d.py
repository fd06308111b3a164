"""Every geometry and epilogue of ``kernels.ConvTranspose2d`` against float64 answers and derived bounds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads.operators.conv_transpose2d import dims
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.workload import ACTIVATIONS, Workload
from tests.kernels.memory import CANARY, next_to_forbidden_page, unaligned


def sizes_of(
    image: tuple[int, int, int, int], o: int, kernel: tuple[int, int], stride: tuple[int, int], *rest: tuple[int, ...]
) -> tuple[int, ...]:
    padding, more, dilation, groups = rest
    return (*image, o, *kernel, *stride, *padding, *more, *dilation, *groups)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Draws any geometry, often one of those that networks have."""
    kind = draw(st.sampled_from(["2/2", "4/2", "3/2", "any", "any"]))
    groups, dilation, more = 1, (1, 1), (0, 0)
    if kind == "any":
        groups = draw(st.sampled_from([1, 1, 2, 3]))
        pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
        stride, dilation = draw(pair), draw(pair)
        kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
        more = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        padding = draw(st.tuples(*[st.integers(0, 4)] * 4))
    else:
        side = int(kind[0])
        kernel, stride, inner = (side, side), (2, 2), (side - 1) // 2
        padding = (inner, inner, inner, inner)
        more = (int(kind == "3/2"), int(kind == "3/2"))
    c, o = (groups * draw(st.one_of(st.integers(1, 5), st.integers(6, 40))) for _ in range(2))
    full = [d * (k - 1) + 1 + m for d, k, m in zip(dilation, kernel, more, strict=True)]
    cut = (padding[0] + padding[2], padding[1] + padding[3])
    # From the smallest image of which the padding leaves an output.
    least = [max(1, -(-(cut[a] + 1 - full[a]) // stride[a]) + 1) for a in (0, 1)]
    h, w = (draw(st.integers(smallest, smallest + 15)) for smallest in least)
    steps = [step for step in ("bias", "residual") if draw(st.booleans())]
    activation = draw(st.sampled_from([None, *ACTIVATIONS]))
    epilogue = (*steps, *([activation] if activation else []))
    image = (draw(st.integers(1, 3)), h, w, c)
    return Workload(
        "conv_transpose2d",
        sizes_of(image, o, kernel, stride, padding, more, dilation, (groups,)),
        epilogue=epilogue,
    )


def layer(
    workload: Workload, inputs: dict[str, np.ndarray], isa: str, threads: int = 1, **options: Any
) -> kernels.ConvTranspose2d:
    s = workload.sizes
    return kernels.ConvTranspose2d(
        inputs["weight"],
        inputs.get("bias"),
        (s["stride_h"], s["stride_w"]),
        (s["pad_top"], s["pad_left"], s["pad_bottom"], s["pad_right"]),
        (s["pad_output_h"], s["pad_output_w"]),
        (s["dilation_h"], s["dilation_w"]),
        s["groups"],
        workload.activation,
        isa,
        threads,
        slopes=inputs.get("slopes"),
        **options,
    )


def assert_right(y: np.ndarray, workload: Workload, inputs: dict[str, np.ndarray]) -> None:
    error, allowed = np.abs(y - reference(workload, inputs)), tolerance(workload, inputs)
    assert y.shape == workload.output_shape
    assert (error <= allowed).all(), f"{workload}: {np.nanmax(error / allowed):.3g} times the tolerance"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_agrees_with_float64(isa: str, data: st.DataObject) -> None:
    workload = data.draw(workloads())
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    op = layer(workload, inputs, isa, data.draw(st.integers(1, 4)), width=data.draw(st.integers(1, 80)))
    assert_right(op(inputs["x"], residual=inputs.get("residual")), workload, inputs)


def test_layers_of_networks(isa: str) -> None:
    """The usual kernels and strides, and few output channels, with fewer channels and pixels."""
    for sizes in (
        dims(1, 9, 11, 40, 72, 2, 2),
        dims(2, 7, 8, 33, 17, 4, 2, padding=1),
        dims(1, 8, 9, 16, 24, 3, 2, padding=1, more=1),
        dims(1, 40, 40, 24, 1, 2, 2),
        dims(1, 17, 40, 24, 4, 4, 2, padding=1),
        dims(1, 9, 9, 16, 3, 7, 1, padding=3),
        dims(1, 6, 6, 8, 5, 2, 3),  # outputs without any tap
        dims(1, 5, 5, 4, 6, 16, 8, padding=4),
    ):
        workload = Workload("conv_transpose2d", sizes, epilogue=("bias", "relu"))
        inputs = make_inputs(workload)
        for threads in (1, 2, 3):
            assert_right(layer(workload, inputs, isa, threads)(inputs["x"]), workload, inputs)


def test_the_longest_stride(isa: str) -> None:
    workload = Workload(
        "conv_transpose2d", sizes_of((1, 1, 2, 3), 2, (1, 5), (1, 4096), (0, 0, 0, 0), (0, 0), (1, 1), (1,))
    )
    inputs = make_inputs(workload)
    assert_right(layer(workload, inputs, isa)(inputs["x"]), workload, inputs)
    with pytest.raises(ValueError, match="at most 4096"):
        Workload("conv_transpose2d", sizes_of((1, 1, 2, 3), 2, (1, 5), (1, 4097), (0, 0, 0, 0), (0, 0), (1, 1), (1,)))


def test_images_of_one_row_are_divided_by_channels(isa: str) -> None:
    sizes = sizes_of((1, 1, 33, 24), 40, (1, 4), (1, 2), (0, 1, 0, 1), (0, 0), (1, 1), (1,))
    workload = Workload("conv_transpose2d", sizes, epilogue=("bias",))
    inputs = make_inputs(workload)
    for threads in (1, 2, 4):
        assert_right(layer(workload, inputs, isa, threads)(inputs["x"]), workload, inputs)


def test_one_object_serves_any_images(isa: str) -> None:
    weight = make_inputs(Workload("conv_transpose2d", dims(1, 3, 3, 20, 40, 4, 2, padding=1)))["weight"]
    op = kernels.ConvTranspose2d(weight, stride=2, padding=1, isa=isa, threads=2)
    for n, h, w in ((1, 7, 7), (1, 28, 28), (2, 14, 3), (4, 1, 1), (1, 7, 7)):
        workload = Workload("conv_transpose2d", dims(n, h, w, 20, 40, 4, 2, padding=1))
        inputs = {**make_inputs(workload, seed=h), "weight": weight}
        assert_right(op(inputs["x"]), workload, inputs)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_writes_nothing_but_the_output(isa: str, data: st.DataObject) -> None:
    workload = data.draw(workloads())
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa, data.draw(st.integers(1, 3)))
    size = int(np.prod(workload.output_shape))
    wall = np.full(size + 128, CANARY)
    out = wall[64:-64].reshape(workload.output_shape)
    assert op(inputs["x"], out=out, residual=inputs.get("residual")) is out
    assert_right(out, workload, inputs)
    assert (wall[:64] == CANARY).all()
    assert (wall[-64:] == CANARY).all()


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(["start", "end"]))
def test_reads_nothing_but_the_inputs(isa: str, data: st.DataObject, edge: Literal["start", "end"]) -> None:
    workload = data.draw(workloads())
    inputs = make_inputs(workload)
    op = layer(workload, {n: next_to_forbidden_page(a, edge) for n, a in inputs.items()}, isa)
    residual = inputs.get("residual")
    guarded = None if residual is None else next_to_forbidden_page(residual, edge)
    assert_right(op(next_to_forbidden_page(inputs["x"], edge), residual=guarded), workload, inputs)


def test_the_residual_may_be_the_output(isa: str) -> None:
    workload = Workload("conv_transpose2d", dims(1, 9, 9, 12, 20, 3, 2, padding=1), epilogue=("residual", "relu"))
    inputs = make_inputs(workload)
    out = inputs["residual"].copy()
    assert layer(workload, inputs, isa)(inputs["x"], out=out, residual=out) is out
    assert_right(out, workload, inputs)


def test_unaligned_and_strided_arrays(isa: str) -> None:
    workload = Workload("conv_transpose2d", dims(1, 5, 6, 7, 9, 2, 2))
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa)
    wide = np.repeat(inputs["x"], 2, axis=2)[:, :, ::2]
    for x in (unaligned(inputs["x"]), wide):
        assert_right(op(x), workload, inputs)


def test_calls_from_several_threads(isa: str) -> None:
    workload = Workload("conv_transpose2d", dims(1, 12, 12, 8, 16, 4, 2, padding=1))
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa, threads=2)
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(lambda _: op(inputs["x"]), range(16)):
            assert_right(y, workload, inputs)


def test_times_are_positive_and_weights_can_be_evicted(isa: str) -> None:
    workload = Workload("conv_transpose2d", dims(1, 5, 5, 8, 8, 2, 2))
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa)
    op.evict_weights()
    assert len(op.time(inputs["x"], number=2, repeat=3)) == 3
    assert all(secs > 0 for secs in op.time(inputs["x"], number=2, repeat=3))
    assert op.schedule(1, 5, 5) == {}


WEIGHT = np.zeros((4, 3, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 3}, "groups must divide weight's 4 input channels, got 3"),
        ({"groups": 0}, "groups must be at least 1"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"stride": (4097, 1)}, "stride_h \\* stride_w must be at most 4096, got 4097 and 1"),
        ({"stride": 2**62}, "stride must be at most 2147483647"),
        ({"dilation": (1, 2**62)}, "dilation must be at most 2147483647"),
        ({"padding": 2**63 - 1}, "padding must be at most 2147483647"),
        ({"groups": 2**62}, "groups must divide"),
        ({"padding": -1}, "padding must not be negative"),
        ({"padding": (1, 2, 3)}, "padding must be one number"),
        ({"output_padding": -1}, "output_padding must be at least 0"),
        ({"width": 0}, "width must be at least 1"),
        ({"threads": 0}, "threads"),
        ({"activation": "no"}, "activation"),
        ({"isa": "mmx"}, "mmx"),
        ({"bias": np.zeros(4, np.float32)}, "bias"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        kernels.ConvTranspose2d(WEIGHT, **arguments)
    assert "\n" not in str(raised.value)


def test_wrong_calls_are_one_line() -> None:
    op = kernels.ConvTranspose2d(WEIGHT, padding=1)
    x = np.zeros((1, 3, 3, 4), np.float32)
    with pytest.raises(ValueError, match="the padding leaves 0x2 outputs of images of 1x3"):
        op(x[:, :1])
    with pytest.raises(ValueError, match="x"):
        op(np.zeros((1, 3, 3, 5), np.float32))
    with pytest.raises(TypeError, match="x"):
        op(x.astype(np.float64))
    with pytest.raises(ValueError, match="residual"):
        op(x, residual=np.zeros((1, 3, 3, 3), np.float32))
    pointwise = kernels.ConvTranspose2d(np.zeros((4, 4, 1, 1), np.float32))
    with pytest.raises(ValueError, match="out must not overlap x"):
        pointwise(x, out=x)
