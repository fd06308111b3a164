"""Every microkernel, schedule and epilogue of ``kernels.Dense`` against a float64 answer and derived error bounds."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.workload import ACTIVATIONS, Workload
from tests.kernels.memory import CANARY, next_to_forbidden_page, unaligned
from tests.kernels.splits import splits

Inputs = dict[str, np.ndarray]


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Draws sizes near one and two register tiles and above one cache block, with any epilogue."""
    m = draw(st.one_of(st.integers(1, 9), st.integers(10, 70)))
    n = draw(st.one_of(st.integers(1, 17), st.integers(18, 200)))
    k = draw(st.one_of(st.integers(1, 17), st.integers(18, 700)))
    steps = [step for step in ("bias", "residual") if draw(st.booleans())]
    activation = draw(st.sampled_from([None, *ACTIVATIONS]))
    return Workload.dense(m, n, k, epilogue=(*steps, *([activation] if activation else [])))


@st.composite
def schedules(draw: st.DrawFn, isa: str, threads: int, dtype: str = "float32") -> dict[str, Any] | None:
    """Draws any legal schedule; None if there is nothing to schedule, and sometimes in other cases."""
    tiles = kernels.register_tiles(isa, dtype) if isa != "reference" else []
    if not tiles or draw(st.integers(0, 9)) == 0:
        return None
    mr, nr = draw(st.sampled_from(tiles))
    block = st.one_of(st.integers(1, 40), st.sampled_from([64, 256, 4096]))
    return {
        "mr": mr,
        "nr": nr,
        "mc": draw(block),
        "kc": draw(block),
        "nc": draw(block),
        "order": draw(st.sampled_from(["m_inner", "n_inner"])),
        "pack_a": draw(st.booleans()),
        "prefetch": draw(st.sampled_from([0, 64, 1024])),
        "prefetch_next": draw(st.booleans()),
        **draw(splits(threads)),
    }


def layer(workload: Workload, inputs: Inputs, isa: str, threads: int = 1, schedule: Any = None) -> kernels.Dense:
    bias, slopes = inputs.get("bias"), inputs.get("slopes")
    return kernels.Dense(inputs["weight"], bias, workload.activation, isa, threads, schedule, slopes=slopes)


def assert_right(y: np.ndarray, workload: Workload, inputs: Mapping[str, np.ndarray]) -> None:
    error = np.abs(y - reference(workload, inputs))
    allowed = tolerance(workload, inputs)
    assert (error <= allowed).all(), f"{workload}: {np.nanmax(error / allowed):.3g} times the tolerance"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_agrees_with_float64(isa: str, data: st.DataObject) -> None:
    workload = data.draw(workloads())
    threads = data.draw(st.integers(1, 4))
    schedule = data.draw(schedules(isa, threads))
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    op = layer(workload, inputs, isa, threads, schedule)
    assert_right(op(inputs["x"], residual=inputs.get("residual")), workload, inputs)


def test_every_register_tile(isa: str) -> None:
    """Each microkernel with a full tile and with one row and column less, with sums in one block and in three."""
    for mr, nr in kernels.register_tiles(isa):
        for m, n, kc in ((mr, nr, 64), (2 * mr - 1, 2 * nr - 1, 24)):
            workload = Workload.dense(m, n, 61, epilogue=("bias", "relu"))
            inputs = make_inputs(workload)
            schedule = {**kernels.default_dense_schedule(m, n, 61, isa), "mr": mr, "nr": nr, "kc": kc}
            assert_right(layer(workload, inputs, isa, schedule=schedule)(inputs["x"]), workload, inputs)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_more_threads_than_work(isa: str, threads: int) -> None:
    workload = Workload.dense(1, 1, 1)
    inputs = make_inputs(workload)
    assert_right(layer(workload, inputs, isa, threads)(inputs["x"]), workload, inputs)


def test_one_object_serves_any_number_of_rows(isa: str) -> None:
    weight = make_inputs(Workload.dense(1, 70, 90))["weight"]
    op = kernels.Dense(weight, isa=isa, threads=2)
    for m in (1, 2, 5, 33, 100, 3):
        workload = Workload.dense(m, 70, 90)
        inputs = {**make_inputs(workload, seed=m), "weight": weight}
        assert_right(op(inputs["x"]), workload, inputs)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_writes_nothing_but_the_output(isa: str, data: st.DataObject) -> None:
    """The output is surrounded by canaries, and the gaps between input rows are NaN."""
    workload = data.draw(workloads())
    threads = data.draw(st.integers(1, 3))
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa, threads, data.draw(schedules(isa, threads)))
    m, n, _ = workload.dims
    wall = np.full((m + 2, n + 34), CANARY)
    out = wall[1:-1, 17:-17]
    residual = in_nan(inputs["residual"]) if "residual" in inputs else None
    returned = op(in_nan(inputs["x"]), out=out, residual=residual)
    assert returned is out
    assert_right(out, workload, inputs)
    out[:] = CANARY
    assert (wall == CANARY).all()


def in_nan(array: np.ndarray) -> np.ndarray:
    """Returns an equal array with NaN between its rows."""
    wall = np.full((array.shape[0] + 2, array.shape[1] + 38), np.float32(np.nan))
    wall[1:-1, 19:-19] = array
    return wall[1:-1, 19:-19]


@pytest.mark.parametrize("edge", ["start", "end"])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_reads_nothing_outside_its_inputs(isa: str, edge: Literal["start", "end"], data: st.DataObject) -> None:
    """Inputs and output are adjacent to a page without access rights: one byte too far ends the process."""
    workload = data.draw(workloads())
    inputs = {name: next_to_forbidden_page(value, edge) for name, value in make_inputs(workload).items()}
    op = layer(workload, inputs, isa, 1, data.draw(schedules(isa, 1)))
    out = next_to_forbidden_page(np.zeros(workload.dims[:2], np.float32), edge)
    assert_right(op(inputs["x"], out=out, residual=inputs.get("residual")), workload, inputs)


def test_residual_may_be_the_output(isa: str) -> None:
    workload = Workload.dense(20, 70, 100, epilogue=("bias", "residual", "relu"))
    inputs = make_inputs(workload)
    schedule = None
    if kernels.register_tiles(isa):  # several blocks of k, so that partial sums pass through the output
        schedule = {**kernels.default_dense_schedule(20, 70, 100, isa, 2), "kc": 16, "mc": 7, "nc": 64}
    out = inputs["residual"].copy()
    layer(workload, inputs, isa, 2, schedule)(inputs["x"], out=out, residual=out)
    assert_right(out, workload, inputs)


STRIDED = {
    "transposed": lambda a: np.asfortranarray(a),
    "every other column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "every other row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "upside down": lambda a: a[::-1].copy()[::-1],
    "mirrored": lambda a: a[:, ::-1].copy()[:, ::-1],
    "unaligned": lambda a: unaligned(a),
}


@pytest.mark.parametrize("strided", STRIDED.values(), ids=STRIDED.keys())
def test_any_strides_of_the_inputs(isa: str, strided: Any) -> None:
    workload = Workload.dense(13, 37, 29, epilogue=("bias", "residual"))
    inputs = make_inputs(workload)
    views = {name: strided(inputs[name]) for name in ("x", "weight", "residual")}
    for name, view in views.items():
        np.testing.assert_array_equal(view, inputs[name])
    op = kernels.Dense(views["weight"], np.repeat(inputs["bias"], 3)[::3], isa=isa)
    assert_right(op(views["x"], residual=views["residual"]), workload, inputs)


def test_a_row_that_is_repeated(isa: str) -> None:
    workload = Workload.dense(6, 40, 30)
    inputs = make_inputs(workload)
    inputs["x"] = np.broadcast_to(inputs["x"][0], (6, 30))
    assert_right(kernels.Dense(inputs["weight"], isa=isa)(inputs["x"]), workload, inputs)


def test_weights_are_copied(isa: str) -> None:
    workload = Workload.dense(3, 40, 30, epilogue=("bias",))
    inputs = make_inputs(workload)
    weight, bias = inputs["weight"].copy(), inputs["bias"].copy()
    op = kernels.Dense(weight, bias, isa=isa)
    weight[:], bias[:] = np.nan, np.nan
    assert_right(op(inputs["x"]), workload, inputs)


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("source", ["x", "weight", "bias", "residual"])
def test_nan_stays_nan_and_where_it_belongs(isa: str, source: str, activation: str | None) -> None:
    epilogue = ("bias", "residual", *([activation] if activation else []))
    workload = Workload.dense(9, 35, 21, epilogue=epilogue)
    inputs = make_inputs(workload)
    inputs[source][-1] = np.nan
    y = layer(workload, inputs, isa)(inputs["x"], residual=inputs["residual"])
    expected = np.zeros((9, 35), bool)
    expected[(-1,) if source in ("x", "residual") else (slice(None), -1)] = True
    np.testing.assert_array_equal(np.isnan(y), expected)


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "sigmoid", "tanh"])
def test_infinite_weights(isa: str, activation: str | None) -> None:
    workload = Workload.dense(4, 20, 10, epilogue=(activation,) if activation else ())
    inputs = make_inputs(workload)
    inputs["weight"][3, 5] = np.inf
    inputs["weight"][17, 0] = -np.inf
    y = layer(workload, inputs, isa)(inputs["x"])
    expected = reference(workload, inputs)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_at_extreme_arguments(isa: str, activation: str) -> None:
    """With a weight of one, the layer is its activation, which must saturate and never overflow to NaN."""
    x = np.concatenate([np.linspace(-110, 110, 2001), [-1e30, -1e4, -0.0, 0.0, 1e-30, 1e4, 1e30]]).astype(np.float32)
    workload = Workload.dense(len(x), 1, 1, epilogue=(activation,))
    inputs = make_inputs(workload) | {"x": x[:, None], "weight": np.ones((1, 1), np.float32)}
    y = layer(workload, inputs, isa)(inputs["x"])
    expected = reference(workload, inputs)
    unit = np.finfo(np.float32).eps / 2
    # Absolute error relative to the larger of one, the argument (where it is passed through) and the value.
    assert (np.abs(y - expected) <= 16 * unit * np.maximum(1, np.abs(expected))).all()


def test_two_objects_in_two_threads(isa: str) -> None:
    """The pool serves one caller at a time; the other caller must still get the right output."""

    def run(seed: int) -> None:
        workload = Workload.dense(40, 100, 60, epilogue=("bias", "relu"))
        inputs = make_inputs(workload, seed)
        op = layer(workload, inputs, isa, threads=2)
        for _ in range(50):
            assert_right(op(inputs["x"]), workload, inputs)

    with ThreadPoolExecutor(2) as executor:
        for future in [executor.submit(run, seed) for seed in (1, 2)]:
            future.result()


def test_one_object_in_two_threads(isa: str) -> None:
    workload = Workload.dense(30, 90, 50)
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa, threads=2)
    with ThreadPoolExecutor(2) as executor:
        for y in executor.map(lambda _: op(inputs["x"]), range(100)):
            assert_right(y, workload, inputs)


def test_the_gil_is_released(isa: str) -> None:
    workload = Workload.dense(64, 256, 256)
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa)
    number = math.ceil(0.2 / min(op.time(inputs["x"], number=1, repeat=3)))
    started = threading.Event()

    def work() -> None:
        started.set()
        op.time(inputs["x"], number=number)

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    turns = 0
    while thread.is_alive():
        turns += 1
        time.sleep(0.001)
    assert turns > 5  # a held GIL would leave this thread one or two turns


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_works_after_a_fork(isa: str) -> None:
    """A forked child does not have the threads of the pool and must not wait for them."""
    workload = Workload.dense(20, 80, 40)
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa, threads=2)
    expected = op(inputs["x"])
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(op(inputs["x"]), expected) else 1)
    for _ in range(200):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


def test_time_returns_the_requested_samples(isa: str) -> None:
    workload = Workload.dense(4, 32, 16, epilogue=("residual",))
    inputs = make_inputs(workload)
    out = np.full((4, 32), np.nan, np.float32)
    op = layer(workload, inputs, isa)
    samples = op.time(inputs["x"], out=out, residual=inputs["residual"], number=3, repeat=5)
    assert len(samples) == 5
    assert all(secs > 0 for secs in samples)
    assert_right(out, workload, inputs)


def test_the_schedule_in_use_is_returned(isa: str) -> None:
    if not kernels.register_tiles(isa):
        pytest.skip(f"{isa} has nothing to schedule")
    schedule = {**kernels.default_dense_schedule(8, 64, 32, isa), "kc": 5, "order": "m_inner", "pack_a": True}
    assert kernels.Dense(np.ones((64, 32), np.float32), isa=isa, schedule=schedule).schedule(8) == schedule


def f32(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def schedule_with(**changes: Any) -> dict[str, Any]:
    return {**kernels.default_dense_schedule(4, 32, 16, kernels.detect_isa(), 2), **changes}


def make(**arguments: Any) -> Any:
    return lambda: kernels.Dense(**{"weight": f32(32, 16), **arguments})


def call(*arguments: Any, **named: Any) -> Any:
    return lambda: kernels.Dense(f32(32, 16))(*arguments, **named)


overlapping = f32(4, 64)
frozen = f32(4, 32)
frozen.flags.writeable = False

WRONG = {
    "weight is a list": (make(weight=[[1.0]]), TypeError, "weight must be a numpy array, got list"),
    "weight is float64": (
        make(weight=np.zeros((2, 2))),
        TypeError,
        "weight must be float32 or bfloat16 or int8, got float64",
    ),
    "weight in the other byte order": (make(weight=np.zeros((2, 2), ">f4")), TypeError, "weight must be float32 or"),
    "weight of rank 1": (make(weight=f32(3)), ValueError, r"weight must have shape .* got \(3,\)"),
    "weight without rows": (make(weight=f32(0, 3)), ValueError, r"weight must have shape .* got \(0, 3\)"),
    "bias of another length": (make(bias=f32(31)), ValueError, r"bias must have shape \(32,\), got \(31,\)"),
    "bias of rank 2": (make(bias=f32(1, 32)), ValueError, r"bias must have shape \(32,\), got \(1, 32\)"),
    "bias is int": (make(bias=np.zeros(32, np.int32)), TypeError, "bias must be float32, got int32"),
    "prelu without slopes": (make(activation="prelu"), ValueError, "activation prelu needs slopes"),
    "slopes of relu": (make(activation="relu", slopes=f32(32)), ValueError, "slopes are for activation prelu alone"),
    "unknown activation": (make(activation="swoosh"), ValueError, "unknown activation 'swoosh'; choose from: .*relu"),
    "unknown isa": (make(isa="neon"), ValueError, "neon"),
    "no threads": (make(threads=0), ValueError, "threads must be between 1 and 1024, got 0"),
    "x is a list": (call([[0.0] * 16]), TypeError, "x must be a numpy array, got list"),
    "x is float64": (call(np.zeros((4, 16))), TypeError, "x must be float32, got float64"),
    "x of rank 1": (call(f32(16)), ValueError, r"x must have shape \(>=1, 16\), got \(16,\)"),
    "x of rank 3": (call(f32(2, 2, 16)), ValueError, r"x must have shape \(>=1, 16\), got \(2, 2, 16\)"),
    "x of another k": (call(f32(4, 17)), ValueError, r"x must have shape \(>=1, 16\), got \(4, 17\)"),
    "x without rows": (call(f32(0, 16)), ValueError, r"x must have shape \(>=1, 16\), got \(0, 16\)"),
    "out of another shape": (
        call(f32(4, 16), out=f32(4, 31)), ValueError, r"out must have shape \(4, 32\), got \(4, 31\)",
    ),
    "out is float64": (call(f32(4, 16), out=np.zeros((4, 32))), TypeError, "out must be float32, got float64"),
    "out is read-only": (call(f32(4, 16), out=frozen), ValueError, "out must be writable"),
    "out is transposed": (call(f32(4, 16), out=f32(32, 4).T), ValueError, "out must have contiguous rows"),
    "out overlaps x": (
        call(overlapping[:, :16], out=overlapping[:, 8:40]), ValueError, "out must not overlap x",
    ),
    "residual of another shape": (
        call(f32(4, 16), residual=f32(1, 32)), ValueError, r"residual must have shape \(4, 32\), got \(1, 32\)",
    ),
    "residual overlaps out": (
        call(f32(4, 16), out=overlapping[:, :32], residual=overlapping[:, 1:33]),
        ValueError, "residual must be out itself",
    ),
}  # fmt: skip

WRONG_SCHEDULES = {
    "lacks a decision": ({"mr": 6}, "schedule lacks"),
    "no such tile": ({"mr": 99}, "no 99x"),
    "no block": ({"kc": 0}, "mc, kc and nc must be at least 1"),
    "endless block": ({"mc": 2**63 - 1}, r"mc, kc and nc must be at least 1, and at most 2\^48"),
    "no number": ({"mc": "wide"}, "mc must be an integer, got 'wide'"),
    "unknown order": ({"order": "inside_out"}, "order must be one of 'm_inner', 'n_inner', got 'inside_out'"),
    "negative prefetch": ({"prefetch": -1}, "prefetch must be at least 0"),
    "threads that do not divide": ({"threads_m": 3}, r"threads_m must divide threads \(2\), got 3"),
    "more threads than there are": ({"threads": (2, 2)}, r"a product of at most 2, got \(2, 2\)"),
    "no threads": ({"threads": (1, 0)}, r"threads must be two integers of at least 1, .* got \(1, 0\)"),
}


@pytest.mark.parametrize(("isa", "prefetch", "prefetch_next"), [("avx512", 4096, False), ("avx2", 0, True)])
def test_weights_from_memory_are_prefetched_by_the_distance_of_the_machine_model(
    isa: str, prefetch: int, prefetch_next: bool
) -> None:
    if isa not in kernels.available_isas():
        pytest.skip(f"this CPU has no {isa}")
    schedule = kernels.default_dense_schedule(1, 4096, 4096, isa, machine=kernels.MachineModel.interpolated(1))
    assert (schedule["prefetch"], schedule["prefetch_next"]) == (prefetch, prefetch_next)


@pytest.mark.parametrize(("attempt", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_arguments_are_rejected(attempt: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        attempt()


@pytest.mark.parametrize(("changes", "message"), WRONG_SCHEDULES.values(), ids=WRONG_SCHEDULES.keys())
def test_illegal_schedules_are_rejected(changes: dict[str, Any], message: str) -> None:
    if kernels.detect_isa() == "reference":
        pytest.skip("this CPU has no ISA with schedules")
    schedule = changes if message == "schedule lacks" else schedule_with(**changes)
    if "threads_m" in schedule:  # as in earlier versions
        del schedule["threads"]
    with pytest.raises(ValueError, match=message):
        kernels.Dense(f32(32, 16), threads=2, schedule=schedule)


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer ends the process instead")
def test_weights_larger_than_memory_are_rejected() -> None:
    enormous = np.broadcast_to(np.float32(1), (1 << 24, 1 << 24))
    with pytest.raises(MemoryError):
        kernels.Dense(enormous)
