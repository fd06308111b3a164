"""Default schedules follow from a machine model: every model leads to legal ones, whose answers are right.

Answers are compared with float64, within bounds that are derived from the roundings.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.workload import Workload
from kernels import MachineModel, _native
from tests.kernels import test_attention as attention
from tests.kernels import test_conv2d as conv2d
from tests.kernels import test_dense as dense
from tests.kernels.machine_models import VECTOR_ISAS, edited, with_lines

KERNELS = [(isa, dtype) for isa in VECTOR_ISAS for dtype in kernels.available_dtypes(isa)]
# Names of lines, and the fields that are costs.
COSTS = {
    "bandwidth": slice(2, None),
    "fork_join": slice(1, None),
    "barrier": slice(1, None),
    "winograd": slice(2, None),
    "strassen_sum": slice(1, None),
    "cell": slice(1, None),
    "call": slice(1, None),
    "tile": slice(3, None),
}
LEAST = {"bandwidth": 1e-3, "tile": 1e-6}


@st.composite
def machines(draw: st.DrawFn) -> MachineModel:
    """Draws machines with unusual caches, and with costs that differ from the usual ones by any factor up to 1e6."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    spread = draw(st.sampled_from([0.0, 0.5, 3.0, 6.0]))
    zero = draw(st.booleans())
    size = st.one_of(st.integers(1024, 1 << 22), st.sampled_from([1024, 10**12]))
    caches = [draw(size), draw(size), draw(st.one_of(st.just(0), size))]

    def edit(fields: list[str]) -> list[str]:
        kind = fields[0]
        if kind == "caches":
            return ["caches", *map(str, caches)]
        if kind == "kernels":
            return [*fields[:4], str(rng.choice([0, 64, 4096, 1 << 20]))]
        if kind not in COSTS:
            return fields
        least = LEAST.get(kind, 0.0)
        costs = [
            0.0
            if zero and least == 0 and rng.random() < 0.2
            else max(least, float(field) * 10 ** rng.uniform(-spread, spread))
            for field in fields[COSTS[kind]]
        ]
        return [*fields[: len(fields) - len(costs)], *(f"{min(cost, 1e12):.6g}" for cost in costs)]

    return edited(edit, draw(st.sampled_from([1, 2, 5])))


def assert_right(y: np.ndarray, workload: Workload, inputs: Mapping[str, np.ndarray], algorithm: str) -> None:
    error = np.abs(y.astype(np.float64) - reference(workload, inputs))
    assert (error <= tolerance(workload, inputs, algorithm)).all(), f"{workload}, {algorithm}"


def tiles(isa: str, dtype: str) -> list[tuple[int, int]]:
    return [*kernels.register_tiles(isa, dtype), *kernels.narrow_tiles(isa, dtype)]


@pytest.mark.parametrize(("isa", "dtype"), KERNELS)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_dense_layers(isa: str, dtype: str, data: st.DataObject) -> None:
    machine, threads = data.draw(machines()), data.draw(st.sampled_from([1, 2, 3, 4, 6]))
    workload = dataclasses.replace(data.draw(dense.workloads()), dtype=dtype)
    m, n, k = workload.dims
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    arguments = (inputs["weight"], inputs.get("bias"), workload.activation, isa, threads)
    options = {"machine": machine, "slopes": inputs.get("slopes")}
    op = kernels.Dense(*arguments, **options)
    assert_right(op(inputs["x"], residual=inputs.get("residual")), workload, inputs, "direct")

    for fast in (False, True):
        schedule = kernels.default_dense_schedule(m, n, k, isa, threads, dtype, fast, machine)
        assert (schedule["mr"], schedule["nr"]) in tiles(isa, dtype)
        assert schedule["threads"] in kernels.thread_splits(threads)
        algorithm = schedule["algorithm"]
        assert fast or algorithm == "direct"
        op = kernels.Dense(*arguments, schedule=schedule, **options)  # checks that the schedule is legal
        assert_right(op(inputs["x"], residual=inputs.get("residual")), workload, inputs, algorithm)


@pytest.mark.parametrize(("isa", "dtype"), KERNELS)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_convolutions(isa: str, dtype: str, data: st.DataObject) -> None:
    machine, threads = data.draw(machines()), data.draw(st.sampled_from([1, 2, 3, 4, 6]))
    workload = dataclasses.replace(data.draw(conv2d.workloads()), dtype=dtype)
    s = workload.sizes
    n, h, w, c = workload.input_shapes["x"]
    geometry = (
        (s["stride_h"], s["stride_w"]),
        (s["pad_top"], s["pad_left"], s["pad_bottom"], s["pad_right"]),
        (s["dilation_h"], s["dilation_w"]),
        s["groups"],
    )
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    schedule = kernels.default_conv2d_schedule(
        (n, h, w, c),
        inputs["weight"].shape,
        *geometry,
        isa=isa,
        threads=threads,
        dtype=dtype,
        fast=data.draw(st.booleans()),
        machine=machine,
    )
    assert (schedule["mr"], schedule["nr"]) in tiles(isa, dtype)
    assert schedule["threads"] in kernels.thread_splits(threads)
    for fixed in (schedule, None):
        bias, slopes = inputs.get("bias"), inputs.get("slopes")
        options = (workload.activation, isa, threads, fixed, machine, slopes)
        op = kernels.Conv2d(inputs["weight"], bias, *geometry, *options)
        chosen = op.schedule(n, h, w)
        assert fixed is None or chosen == fixed
        assert_right(op(inputs["x"], residual=inputs.get("residual")), workload, inputs, chosen["algorithm"])


@pytest.mark.parametrize("isa", VECTOR_ISAS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_attention(isa: str, data: st.DataObject) -> None:
    machine, shape = data.draw(machines()), data.draw(attention.SHAPES)
    q, k, v = attention.make_inputs(shape, data.draw(st.integers(0, 999)))
    threads = data.draw(st.integers(1, 4))
    op = kernels.Attention(shape.heads, shape.head_dim, isa=isa, threads=threads, machine=machine)
    schedule = op.schedule(shape.batch, shape.queries, shape.keys)
    for name in ("scores", "values"):
        assert (schedule[f"{name}_mr"], schedule[f"{name}_nr"]) in kernels.register_tiles(isa)
    assert 1 <= schedule["rows"] <= shape.queries
    attention.assert_right(op(q, k, v), q, k, v)


@pytest.mark.parametrize(("isa", "dtype"), KERNELS)
@pytest.mark.parametrize("cheap", [1, 2, 3])
def test_the_cheapest_tiles_are_chosen(isa: str, dtype: str, cheap: int) -> None:
    """A model in which all tiles but those of one width take 100 times as long."""

    def edit(fields: list[str]) -> list[str]:
        if fields[0] != "tile" or (int(fields[2]) + 1) // 2 == cheap:
            return fields
        return [*fields[:3], *(f"{100 * float(field):.5g}" for field in fields[3:])]

    machine, nr = edited(edit), cheap * _native.lanes(isa, dtype)
    assert kernels.default_dense_schedule(300, 480, 256, isa, dtype=dtype, machine=machine)["nr"] == nr
    schedule = kernels.default_conv2d_schedule(
        (1, 28, 28, 64), (480, 64, 3, 3), padding=1, isa=isa, dtype=dtype, fast=False, machine=machine
    )
    assert schedule["nr"] == nr
    if dtype == "float32":
        op = kernels.Attention(2, 480, isa=isa, machine=machine)
        assert op.schedule(1, 300, 480)["scores_nr"] == nr


@pytest.mark.parametrize("isa", VECTOR_ISAS)
def test_costs_of_transforms_decide_about_winograd(isa: str) -> None:
    layer = ((1, 28, 28, 64), (64, 64, 3, 3))

    def algorithm(machine: MachineModel) -> str:
        return kernels.default_conv2d_schedule(*layer, padding=1, isa=isa, machine=machine)["algorithm"]

    def transforms(*factors: float) -> MachineModel:
        def edit(fields: list[str]) -> list[str]:
            if fields[0] != "winograd":
                return fields
            return [*fields[:2], *(f"{factors[int(fields[1])] * float(field):.5g}" for field in fields[2:])]

        return edited(edit)

    assert algorithm(transforms(1e4, 1e4, 1e4)) == "direct"
    assert algorithm(transforms(1e-4, 1e4, 1e4)) == "winograd2"
    assert algorithm(transforms(1e4, 1e4, 1e-4)) == "winograd4"


@pytest.mark.parametrize(("isa", "dtype"), KERNELS)
def test_predicted_cycles_of_convolutions(isa: str, dtype: str) -> None:
    weight, options = (64, 64, 3, 3), {"padding": 1, "isa": isa, "dtype": dtype}

    def cycles(images: int, fast: bool = True) -> float:
        return kernels.default_convolution_cycles((images, 28, 28, 64), weight, fast=fast, **options)

    assert 0 < cycles(1) <= cycles(1, fast=False)
    assert cycles(1) < cycles(2) < 3 * cycles(1)
    with pytest.raises(ValueError, match="pointwise and depthwise convolutions are not predicted"):
        kernels.default_convolution_cycles((1, 28, 28, 64), (64, 64, 1, 1), isa=isa, dtype=dtype)


@pytest.mark.parametrize("isa", VECTOR_ISAS)
def test_costs_of_sums_decide_about_strassen(isa: str) -> None:
    size = (1024, 1024, 1024)
    cheap, expensive = (with_lines({"strassen_sum": cost}) for cost in ("0.001", "10000"))
    assert kernels.default_dense_schedule(*size, isa, fast=True, machine=cheap)["algorithm"] == "strassen"
    assert kernels.default_dense_schedule(*size, isa, fast=True, machine=expensive)["algorithm"] == "direct"


@pytest.mark.parametrize("isa", VECTOR_ISAS)
def test_blocks_follow_from_the_caches(isa: str) -> None:
    small, large = (with_lines({"caches": f"32768,{l2},0"}) for l2 in (1 << 17, 1 << 22))
    blocks = [kernels.default_dense_schedule(500, 640, 20000, isa, machine=machine)["kc"] for machine in (small, large)]
    assert blocks[0] < blocks[1]


def small_caches(fields: list[str]) -> list[str]:
    return ["caches", "32768", "262144", "0"] if fields[0] == "caches" else fields


def test_the_prefetch_distance_is_that_of_the_model() -> None:
    for isa, dtype in KERNELS:
        for distance in (0, 640):
            machine = edited(lambda f, d=distance: [*f[:4], str(d)] if f[0] == "kernels" else small_caches(f))
            far = kernels.default_dense_schedule(1, 640, 640, isa, dtype=dtype, machine=machine)
            assert (far["prefetch"], far["prefetch_next"]) == (distance, distance == 0)
            near = kernels.default_dense_schedule(1, 64, 64, isa, dtype=dtype, machine=machine)
            assert (near["prefetch"], near["prefetch_next"]) == (0, False)


@pytest.mark.parametrize("cores", [1, 2, 64])
def test_a_model_of_another_cpu_is_completed(cores: int) -> None:
    """It has no costs of this CPU's instruction sets."""
    text = MachineModel.interpolated(cores).text
    machine = MachineModel.parse(text[: text.index("kernels,")].replace("cpu,", "cpu,Other-"))
    for isa, dtype in KERNELS:
        schedule = kernels.default_dense_schedule(100, 100, 100, isa, 2, dtype, machine=machine)
        assert schedule == kernels.default_dense_schedule(
            100, 100, 100, isa, 2, dtype, machine=MachineModel.interpolated(cores)
        )


@pytest.mark.parametrize("isa", kernels.available_isas())
def test_wrong_sizes_are_rejected(isa: str) -> None:
    for size in ((0, 8, 8), (8, 0, 8), (8, 8, -1)):
        with pytest.raises(ValueError, match="m, n and k must be at least 1"):
            kernels.default_dense_schedule(*size, isa)
    for images, weight, message in (
        ((0, 8, 8, 4), (4, 4, 3, 3), "x must have at least one image, got 0"),
        ((1, 2, 8, 4), (4, 4, 3, 3), "x must have images of at least 3x3"),
        ((1, 8, 8, 5), (4, 4, 3, 3), "images must have 4 channels for this weight, got 5"),
        ((1, 8, 8, 4), (0, 4, 3, 3), "weight must not be empty"),
    ):
        with pytest.raises(ValueError, match=message):
            kernels.default_conv2d_schedule(images, weight, isa=isa)
    with pytest.raises(ValueError, match="threads must be between 1 and"):
        kernels.default_dense_schedule(1, 1, 1, isa, 0)
    op = kernels.Conv2d(np.zeros((4, 4, 3, 3), np.float32), isa=isa)
    with pytest.raises(ValueError, match="x must have at least one image, got 0"):
        op.schedule(0, 8, 8)
    layer = kernels.Dense(np.zeros((4, 4), np.float32), isa=isa)
    with pytest.raises(ValueError, match="m must be at least 1, got 0"):
        layer.schedule(0)


@pytest.mark.parametrize("threads", [1, 2, 3, 5, 6, 16, 60])
def test_splits_of_threads(threads: int) -> None:
    splits = kernels.thread_splits(threads)
    assert len(set(splits)) == len(splits)
    assert {(threads, 1), (1, threads), (1, 1)} <= set(splits)
    assert all(m * n <= threads for m, n in splits)
    for m in range(1, threads + 1):  # any other split has no more parts than one of these, in both directions
        assert any(more_m >= m and more_n >= threads // m for more_m, more_n in splits)


def test_no_splits_of_no_threads() -> None:
    with pytest.raises(ValueError, match="threads must be between 1 and 1024, got 0"):
        kernels.thread_splits(0)


@pytest.mark.parametrize("isa", VECTOR_ISAS)
def test_costs_of_threads_decide_how_many_there_are(isa: str) -> None:
    def used(cost: str) -> set[int]:
        machine = with_lines({"fork_join": ",".join(["0", *[cost] * 7])}, 8)
        schedules = [
            kernels.default_dense_schedule(256, 256, 256, isa, 8, fast=True, machine=machine),
            *(
                kernels.default_conv2d_schedule(
                    (1, 28, 28, 64),
                    (64, 64 // groups, 3, 3),
                    padding=1,
                    groups=groups,
                    isa=isa,
                    threads=8,
                    fast=fast,
                    machine=machine,
                )
                for groups, fast in ((1, False), (1, True), (64, False))
            ),
        ]
        return {prod(schedule["threads"]) for schedule in schedules}

    assert used("1e12") == {1}
    assert used("0") == {8}


@pytest.mark.parametrize("isa", VECTOR_ISAS)
def test_passes_do_not_copy_the_rows_of_large_windows_again(isa: str) -> None:
    """Passes of a few rows would each copy all rows between the first and the last one of a window."""
    dilation = 64
    schedule = kernels.default_conv2d_schedule(
        (1, 1000, 40, 16), (16, 16, 3, 1), padding=(dilation, 0, dilation, 0), dilation=(dilation, 1), isa=isa
    )
    assert schedule["rows"] >= 2 * dilation


@pytest.mark.parametrize("isa", VECTOR_ISAS)
def test_threads_that_share_weights_load_them(isa: str) -> None:
    """Sixteen parts of the rows would each load all weights, and 1.75 times as many for Strassen's algorithm."""
    schedule = kernels.default_dense_schedule(128, 384, 384, isa, 16, fast=True, machine=MachineModel.interpolated(16))
    assert schedule["threads"][1] > 1
