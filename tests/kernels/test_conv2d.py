"""Every algorithm, schedule, geometry and epilogue of ``kernels.Conv2d`` against float64 answers and derived bounds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads import winograd
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.workload import ACTIVATIONS, Workload
from tests.kernels.convolutions import layer
from tests.kernels.memory import CANARY, next_to_forbidden_page, unaligned
from tests.kernels.splits import splits

SMALL = ("direct", "winograd2", "winograd4")  # for 3x3 kernels


def algorithms(workload: Workload) -> list[str]:
    return ["direct", *(name for name, algorithm in winograd.ALGORITHMS.items() if algorithm.applies(workload))]


@st.composite
def epilogues(draw: st.DrawFn) -> tuple[str, ...]:
    steps = [step for step in ("bias", "residual") if draw(st.booleans())]
    activation = draw(st.sampled_from([None, *ACTIVATIONS]))
    return (*steps, *([activation] if activation else []))


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Draws any geometry, often one with several algorithms; neither depthwise nor pointwise."""
    groups, dilation = 1, (1, 1)
    kind = draw(st.sampled_from(["3x3", "7x7", "any", "any"]))
    kernel, stride = ((7, 7), (2, 2)) if kind == "7x7" else ((3, 3), (1, 1))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    if kind == "3x3" and draw(st.booleans()):
        dilation = draw(pair)
    if kind == "any":
        groups, stride, dilation = draw(st.sampled_from([1, 1, 2, 3])), draw(pair), draw(pair)
        kernel = draw(st.tuples(st.integers(1, 4), st.integers(2, 5)))
    c, o = (groups * draw(st.one_of(st.integers(2, 5), st.integers(6, 40))) for _ in range(2))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    h = draw(st.integers(max(1, spans[0] - padding[0] - padding[2]), 17))
    w = draw(st.integers(max(1, spans[1] - padding[1] - padding[3]), 17))
    n = draw(st.integers(1, 3))
    return Workload.conv2d(n, h, w, c, o, kernel, stride, padding, dilation, groups, epilogue=draw(epilogues()))


@st.composite
def schedules(draw: st.DrawFn, workload: Workload, isa: str, threads: int) -> dict[str, Any] | None:
    """Draws any legal schedule; None if there is nothing to schedule, and sometimes in other cases."""
    tiles = kernels.register_tiles(isa, workload.dtype) if isa != "reference" else []
    if not tiles or draw(st.integers(0, 9)) == 0:
        return None
    mr, nr = draw(st.sampled_from(tiles))
    return {
        "algorithm": draw(st.sampled_from(algorithms(workload))),
        "mr": mr,
        "nr": nr,
        "rows": draw(st.integers(1, 20)),
        "kc": draw(st.one_of(st.integers(1, 40), st.sampled_from([64, 256, 4096]))),
        "prefetch": draw(st.sampled_from([0, 64, 1024])),
        "prefetch_next": draw(st.booleans()),
        **draw(splits(threads)),
    }


def algorithm(op: kernels.Conv2d, workload: Workload) -> str:
    return op.schedule(*workload.dims[:3]).get("algorithm", "direct")


def assert_right(
    y: np.ndarray, workload: Workload, inputs: Mapping[str, np.ndarray], algorithm: str = "direct"
) -> None:
    error = np.abs(y - reference(workload, inputs))
    allowed = tolerance(workload, inputs, algorithm)
    assert y.shape == workload.output_shape
    assert (error <= allowed).all(), f"{workload}, {algorithm}: {np.nanmax(error / allowed):.3g} times the tolerance"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_agrees_with_float64(isa: str, data: st.DataObject) -> None:
    workload = data.draw(workloads())
    threads = data.draw(st.integers(1, 4))
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    op = layer(workload, inputs, isa, threads, data.draw(schedules(workload, isa, threads)))
    y = op(inputs["x"], residual=inputs.get("residual"))
    assert_right(y, workload, inputs, algorithm(op, workload))


@pytest.mark.parametrize("name", ["winograd2", "winograd4"])
@pytest.mark.parametrize("dilation", [(1, 2), (2, 1), (3, 5), (40, 7)], ids=str)
def test_winograd_of_dilated_convolutions(isa: str, name: str, dilation: tuple[int, int]) -> None:
    """Also with a dilation of more rows than the output has, where every tile has one row."""
    activation = "prelu" if dilation[0] == 1 else "silu"
    epilogue = ("bias", "residual", activation)
    workload = Workload.conv2d(2, 27, 19, 5, 40, 3, 1, (50, 6, 13, 1), dilation, epilogue=epilogue)
    if not kernels.register_tiles(isa):
        pytest.skip("reference has nothing to schedule")
    inputs = make_inputs(workload)
    mr, nr = kernels.register_tiles(isa)[3]
    values = {"mr": mr, "nr": nr, "rows": 7, "kc": 5, "prefetch": 64, "prefetch_next": True}
    whole = layer(workload, inputs, isa, 3, {"algorithm": name, **values, "threads": (3, 1)})
    shared = layer(workload, inputs, isa, 4, {"algorithm": name, **values, "threads": (2, 2)})
    for op in (whole, shared):
        assert_right(op(inputs["x"], residual=inputs["residual"]), workload, inputs, name)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_pointwise(isa: str, data: st.DataObject) -> None:
    """A convolution that is a matrix product has the schedule of a dense layer."""
    n, h, w, c, o = (data.draw(st.integers(1, high)) for high in (3, 9, 9, 70, 70))
    workload = Workload.conv2d(n, h, w, c, o, 1, epilogue=data.draw(epilogues()))
    inputs = make_inputs(workload)
    schedule = kernels.default_dense_schedule(n * h * w, o, c, isa) if data.draw(st.booleans()) else None
    op = layer(workload, inputs, isa, schedule=schedule)
    assert_right(op(inputs["x"], residual=inputs.get("residual")), workload, inputs)
    assert op.schedule(n, h, w).keys() == kernels.default_dense_schedule(1, 1, 1, isa).keys()


def test_layers_of_networks(isa: str) -> None:
    """The default schedule for each kind of shape that it distinguishes, with fewer channels and pixels."""
    for workload in (
        Workload.conv2d(1, 33, 33, 3, 24, 7, 2, 3, epilogue=("bias", "relu")),
        Workload.conv2d(1, 33, 35, 3, 32, 3, 2, (0, 0, 1, 1), epilogue=("bias", "relu6")),
        Workload.conv2d(2, 28, 28, 17, 33, 3, 1, 1, epilogue=("bias", "residual", "relu")),
        Workload.conv2d(1, 7, 7, 64, 96, 3, 1, 1, epilogue=("bias",)),
        Workload.conv2d(1, 14, 14, 48, 64, 1, 2, epilogue=("bias",)),
        Workload.conv2d(1, 1, 1, 40, 1001, 1, epilogue=("bias",)),
        Workload.conv2d(1, 9, 9, 32, 64, 3, 1, 1, groups=8),
    ):
        inputs = make_inputs(workload)
        for threads in (1, 2):
            op = layer(workload, inputs, isa, threads)
            y = op(inputs["x"], residual=inputs.get("residual"))
            assert_right(y, workload, inputs, algorithm(op, workload))


@pytest.mark.parametrize("series", [True, False], ids=["series", "tiles"])
def test_kernel_rows_of_few_words(isa: str, series: bool) -> None:
    """They are one block, whose words have offsets. Windows may be outside of the image, in part or as a whole."""
    for workload in (
        Workload.conv2d(2, 9, 31, 1, 24, (3, 3), 1, (5, 4, 6, 3), epilogue=("bias", "residual")),
        Workload.conv2d(1, 4, 40, 3, 17, (5, 2), (1, 2), (7, 0, 9, 1), (3, 2), epilogue=("bias", "relu")),
        Workload.conv2d(1, 12, 20, 6, 40, (2, 3), 1, 1, groups=2, epilogue=("residual", "gelu")),
        Workload.conv2d(1, 1, 50, 2, 16, (1, 7), 1, (0, 3, 0, 3), epilogue=("bias",)),
        Workload.conv2d(1, 3, 5, 4, 16, (2, 3), 1, (40, 2, 40, 2), (20, 1), epilogue=("bias", "residual")),
    ):
        inputs = make_inputs(workload)
        found = dict(layer(workload, inputs, isa).schedule(*workload.dims[:3]))
        schedule = found and {**found, "algorithm": "direct", "kc": 4096, "prefetch": 0 if series else 64}
        op = layer(workload, inputs, isa, 2, schedule or None)
        assert_right(op(inputs["x"], residual=inputs.get("residual")), workload, inputs)


def test_one_object_serves_any_images(isa: str) -> None:
    """The default schedule, and the packing of the weights, depend on the images."""
    weight = make_inputs(Workload.conv2d(1, 3, 3, 20, 40, 3))["weight"]
    op = kernels.Conv2d(weight, padding=1, isa=isa, threads=2)
    for n, h, w in ((1, 7, 7), (1, 28, 28), (2, 14, 3), (4, 1, 1), (1, 7, 7)):
        workload = Workload.conv2d(n, h, w, 20, 40, 3, 1, 1)
        inputs = {**make_inputs(workload, seed=h), "weight": weight}
        assert_right(op(inputs["x"]), workload, inputs, algorithm(op, workload))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_writes_nothing_but_the_output(isa: str, data: st.DataObject) -> None:
    workload = data.draw(workloads())
    threads = data.draw(st.integers(1, 3))
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa, threads, data.draw(schedules(workload, isa, threads)))
    size = int(np.prod(workload.output_shape))
    wall = np.full(size + 128, CANARY)
    out = wall[64:-64].reshape(workload.output_shape)
    assert op(inputs["x"], out=out, residual=inputs.get("residual")) is out
    assert_right(out, workload, inputs, algorithm(op, workload))
    assert (wall[:64] == CANARY).all()
    assert (wall[-64:] == CANARY).all()


@pytest.mark.parametrize("edge", ["start", "end"])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_reads_nothing_outside_its_inputs(isa: str, edge: Literal["start", "end"], data: st.DataObject) -> None:
    """Inputs and output are adjacent to a page without access rights: one byte too far ends the process."""
    workload = data.draw(workloads())
    inputs = {name: next_to_forbidden_page(value, edge) for name, value in make_inputs(workload).items()}
    op = layer(workload, inputs, isa, 1, data.draw(schedules(workload, isa, 1)))
    out = next_to_forbidden_page(np.zeros(workload.output_shape, np.float32), edge)
    y = op(inputs["x"], out=out, residual=inputs.get("residual"))
    assert_right(y, workload, inputs, algorithm(op, workload))


@pytest.mark.parametrize("name", SMALL)
def test_residual_may_be_the_output(isa: str, name: str) -> None:
    workload = Workload.conv2d(1, 11, 11, 20, 70, 3, 1, 1, epilogue=("bias", "residual", "relu"))
    inputs = make_inputs(workload)
    schedule = None
    if kernels.register_tiles(isa):  # several blocks of the sum, so that partial sums pass through the output
        mr, nr = kernels.register_tiles(isa)[3]
        values = {"mr": mr, "nr": nr, "rows": 3, "kc": 16, "prefetch": 0, "prefetch_next": True, "threads_m": 2}
        schedule = {"algorithm": name, **values}
    out = inputs["residual"].copy()
    layer(workload, inputs, isa, 2, schedule)(inputs["x"], out=out, residual=out)
    assert_right(out, workload, inputs, name)


STRIDED = {
    "NCHW": lambda a: a.transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1),
    "channels of more": lambda a: np.concatenate([a, a], axis=3)[..., : a.shape[3]],
    "upside down": lambda a: a[:, ::-1].copy()[:, ::-1],
    "unaligned": unaligned,
}


@pytest.mark.parametrize("strided", STRIDED.values(), ids=STRIDED.keys())
def test_any_strides_of_the_inputs(isa: str, strided: Any) -> None:
    workload = Workload.conv2d(2, 6, 7, 5, 9, 3, epilogue=("bias", "residual"))
    inputs = make_inputs(workload)
    views = {name: strided(inputs[name]) for name in ("x", "weight", "residual")}
    op = kernels.Conv2d(views["weight"], np.repeat(inputs["bias"], 3)[::3], isa=isa)
    assert_right(op(views["x"], residual=views["residual"]), workload, inputs, algorithm(op, workload))


@pytest.mark.parametrize("name", SMALL)
def test_nan_and_infinity_reach_the_output(isa: str, name: str) -> None:
    """NaN stays at its outputs; a Winograd tile spreads it over all of its outputs."""
    workload = Workload.conv2d(1, 9, 9, 4, 6, 3, epilogue=("relu6",))
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa, schedule=_schedule(isa, name))
    expected = reference(workload, inputs)
    inputs["x"][0, 0, 0, 0] = np.nan
    y = op(inputs["x"])
    assert np.isnan(y[0, 0, 0]).all()
    np.testing.assert_allclose(y[0, 4:, 4:], expected[0, 4:, 4:], rtol=1e-4, atol=1e-4)


def _schedule(isa: str, name: str) -> dict[str, Any] | None:
    if not kernels.register_tiles(isa):
        return None
    mr, nr = kernels.register_tiles(isa)[0]
    values = {"mr": mr, "nr": nr, "rows": 2, "kc": 64, "prefetch": 0, "prefetch_next": False, "threads_m": 1}
    return {"algorithm": name, **values}


def test_one_object_in_two_threads(isa: str) -> None:
    """The first calls pack weights concurrently."""
    workload = Workload.conv2d(1, 12, 12, 24, 48, 3, 1, 1, epilogue=("bias", "relu"))
    inputs = make_inputs(workload)
    for _ in range(5):
        op = layer(workload, inputs, isa, threads=2)
        with ThreadPoolExecutor(2) as executor:
            for y in executor.map(lambda _, op=op: op(inputs["x"]), range(20)):
                assert_right(y, workload, inputs, algorithm(op, workload))


@pytest.mark.parametrize(("o", "kernel", "groups"), [(9, 1, 1), (9, 3, 1), (5, 3, 5)])
def test_evicted_weights_are_the_same(isa: str, o: int, kernel: int, groups: int) -> None:
    workload = Workload.conv2d(1, 6, 6, 5, o, kernel, groups=groups)
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa, threads=2)
    op.evict_weights(1, 6, 6)
    assert_right(op(inputs["x"]), workload, inputs, algorithm(op, workload))
    with pytest.raises(ValueError, match="x must have images of at least"):
        op.evict_weights(1, 0, 6)


def test_weights_are_copied(isa: str) -> None:
    workload = Workload.conv2d(1, 6, 6, 5, 9, 3, epilogue=("bias",))
    inputs = make_inputs(workload)
    weight, bias = inputs["weight"].copy(), inputs["bias"].copy()
    op = kernels.Conv2d(weight, bias, isa=isa)
    weight[:], bias[:] = np.nan, np.nan
    assert_right(op(inputs["x"]), workload, inputs, algorithm(op, workload))


WEIGHT = np.zeros((6, 4, 3, 3), np.float32)
BAD_LAYERS = {
    "no weight": (
        {"weight": np.zeros((0, 4, 3, 3), np.float32)},
        r"weight must have shape \(>=1, >=1, >=1, >=1\), got",
    ),
    "flat weight": ({"weight": np.zeros((6, 4), np.float32)}, "weight must have shape"),
    "bias": ({"bias": np.zeros(5, np.float32)}, r"bias must have shape \(6,\), got \(5,\)"),
    "stride": ({"stride": 0}, r"stride must be at least 1, got \(0, 0\)"),
    "three strides": ({"stride": (1, 1, 1)}, r"stride must be one number or \(height, width\)"),
    "dilation": ({"dilation": (1, 0)}, r"dilation must be at least 1, got \(1, 0\)"),
    "padding": ({"padding": (0, 0, -1, 0)}, "padding must not be negative"),
    "large padding": ({"padding": (0, 0, 0, 2**63 - 1)}, "padding must be at most 2147483647"),
    "large dilation": ({"dilation": 2**62}, "dilation must be at most 2147483647"),
    "three paddings": ({"padding": (1, 1, 1)}, "padding must be one number"),
    "groups": ({"groups": 4}, "groups must divide weight's 6 output channels, got 4"),
    "no groups": ({"groups": 0}, "groups must be at least 1, got 0"),
    "slopes": ({"activation": "prelu", "slopes": np.ones(7, np.float32)}, r"slopes must have shape \(6,\), got \(7,\)"),
    "activation": ({"activation": "swash"}, "unknown activation 'swash'"),
    "isa": ({"isa": "sse9"}, "unknown isa 'sse9'"),
    "threads": ({"threads": 0}, "threads must be between 1 and 1024, got 0"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_LAYERS.values(), ids=BAD_LAYERS.keys())
def test_bad_layers_are_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernels.Conv2d(**{"weight": WEIGHT, **changes})


X = np.zeros((1, 5, 5, 4), np.float32)
BAD_CALLS = {
    "channels": ((X[..., :3],), r"x must have shape \(>=1, >=1, >=1, 4\), got \(1, 5, 5, 3\)"),
    "no images": ((X[:0],), r"x must have shape .* got \(0, 5, 5, 4\)"),
    "too small": ((X[:, :2],), "x must have images of at least 3x3 for this kernel, got 2x5"),
    "out": ((X, np.zeros((1, 3, 3, 5), np.float32)), r"out must have shape \(1, 3, 3, 6\)"),
    "sliced out": ((X, np.zeros((1, 3, 3, 12), np.float32)[..., :6]), "out must be contiguous"),
    "residual": ((X, None, np.zeros((1, 5, 5, 6), np.float32)), r"residual must have shape \(1, 3, 3, 6\)"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_bad_calls_are_rejected(isa: str, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernels.Conv2d(WEIGHT, isa=isa)(*arguments)


def test_overlaps_are_rejected() -> None:
    op = kernels.Conv2d(np.zeros((4, 4, 3, 3), np.float32), padding=1)
    x = np.zeros((1, 5, 5, 4), np.float32)
    with pytest.raises(ValueError, match="out must not overlap x"):
        op(x, out=x)
    memory = np.zeros(150, np.float32)
    out, residual = memory[:100].reshape(1, 5, 5, 4), memory[50:].reshape(1, 5, 5, 4)
    with pytest.raises(ValueError, match="residual must be out itself or not overlap it"):
        op(x, out=out, residual=residual)


def test_other_types_are_rejected() -> None:
    with pytest.raises(TypeError, match="weight must be float32 or bfloat16 or int8, got float64"):
        kernels.Conv2d(WEIGHT.astype(np.float64))
    with pytest.raises(TypeError, match="x must be a numpy array, got list"):
        kernels.Conv2d(WEIGHT)([1.0])  # type: ignore[arg-type]


BAD_SCHEDULES = {
    "tile": ({"mr": 99}, "no 99x.* register tile"),
    "no rows": ({"rows": 0}, "rows and kc must be at least 1"),
    "endless rows": ({"rows": 2**63 - 1}, r"rows and kc must be at least 1, and at most 2\^48"),
    "algorithm": (
        {"algorithm": "fft"},
        "algorithm must be one of 'direct', 'winograd2', 'winograd3', 'winograd4', got",
    ),
    "threads that do not divide": ({"threads_m": 3}, r"threads_m must divide threads \(2\), got 3"),
    "more threads than there are": ({"threads": (2, 2)}, r"a product of at most 2, got \(2, 2\)"),
    "no threads": ({"threads": (1, 0)}, r"threads must be two integers of at least 1, .* got \(1, 0\)"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_SCHEDULES.values(), ids=BAD_SCHEDULES.keys())
def test_illegal_schedules_are_rejected(isa: str, changes: dict[str, Any], message: str) -> None:
    schedule = _schedule(isa, "direct")
    if schedule is None:
        pytest.skip("reference has nothing to schedule")
    with pytest.raises(ValueError, match=message):
        kernels.Conv2d(WEIGHT, isa=isa, threads=2, schedule={**schedule, **changes})


@pytest.mark.parametrize("geometry", [{"stride": 2}, {"groups": 2}], ids=str)
def test_winograd_where_it_does_not_apply(isa: str, geometry: dict[str, Any]) -> None:
    schedule = _schedule(isa, "winograd2")
    if schedule is None:
        pytest.skip("reference has nothing to schedule")
    with pytest.raises(ValueError, match="without groups, winograd2 and winograd4 are for 3x3 kernels of stride 1"):
        kernels.Conv2d(WEIGHT, isa=isa, schedule=schedule, **geometry)


def test_a_schedule_of_the_other_kind(isa: str) -> None:
    dense = kernels.default_dense_schedule(25, 6, 4, isa)
    with pytest.raises(ValueError, match=re.escape("schedule lacks 'rows'")):
        kernels.Conv2d(WEIGHT, isa=isa, schedule=dense)
