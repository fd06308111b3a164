"""The spaces of our kernels: what they call legal gives right answers, and defaults are legal everywhere."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import kernels
from autotune.backends import backends, space
from compiler.workloads.reference import NUMPY_DTYPES, make_inputs, reference, tolerance
from compiler.workloads.schedule import Schedule, ScheduleSpace
from compiler.workloads.target import Target, usable_cores
from compiler.workloads.workload import Workload

SIZES = st.integers(1, 40)
PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))
EPILOGUES = [(), ("bias",), ("bias", "residual", "relu"), ("residual", "gelu")]
ISAS = kernels.available_isas()
SCHEDULED = [isa for isa in ISAS if kernels.register_tiles(isa)]


def target(isa: str | None = None, num_cores: int = 1) -> Target:
    return Target.from_host(isa, num_cores)


def dense(draw: st.DrawFn, epilogue: tuple[str, ...]) -> Workload:
    return Workload("dense", (draw(SIZES), draw(st.integers(1, 140)), draw(SIZES)), epilogue=epilogue)


def pointwise(draw: st.DrawFn, epilogue: tuple[str, ...]) -> Workload:
    h, w, c, o = (draw(st.integers(1, 20)) for _ in range(4))
    return Workload.conv2d(draw(st.integers(1, 2)), h, w, c, 3 * o, 1, epilogue=epilogue)


def winograd(draw: st.DrawFn, epilogue: tuple[str, ...]) -> Workload:
    h, w, c, o = (draw(st.integers(1, 20)) for _ in range(4))
    pads = draw(st.tuples(*[st.integers(1, 2)] * 4))
    return Workload.conv2d(draw(st.integers(1, 2)), h, w, c, 3 * o, 3, padding=pads, epilogue=epilogue)


def convolution(draw: st.DrawFn, epilogue: tuple[str, ...]) -> Workload:
    groups = draw(st.integers(1, 3))
    c, o = (groups * draw(st.integers(1, 20)) for _ in range(2))
    h, w = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    try:
        return Workload.conv2d(1, h, w, c, o, draw(PAIRS), draw(PAIRS), pads, draw(PAIRS), groups, epilogue=epilogue)
    except ValueError:
        assume(False)
        raise


def depthwise(draw: st.DrawFn, epilogue: tuple[str, ...]) -> Workload:
    c, kernel, stride = draw(st.integers(2, 70)), draw(st.sampled_from([2, 3, 5])), draw(st.integers(1, 2))
    h, w = draw(st.integers(5, 20)), draw(st.integers(5, 20))
    return Workload.conv2d(1, h, w, c, c, kernel, stride, kernel // 2, groups=c, epilogue=epilogue)


def attention(draw: st.DrawFn, _epilogue: tuple[str, ...]) -> Workload:
    return Workload.attention(draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(SIZES), draw(SIZES), draw(SIZES))


@st.composite
def workloads(draw: st.DrawFn, isa: str | None = None) -> Workload:
    """``isa``: one whose data types are drawn too."""
    make = draw(st.sampled_from([dense, pointwise, winograd, convolution, depthwise, attention]))
    workload = make(draw, draw(st.sampled_from(EPILOGUES)))
    dtype = draw(st.sampled_from(kernels.available_dtypes(isa) if isa and make != attention else ("float32",)))
    return dataclasses.replace(workload, dtype=dtype)


def assert_right(made: ScheduleSpace, schedule: Schedule, seed: int = 0) -> None:
    inputs = make_inputs(made.workload, seed)
    program = made.build(schedule)
    program.load(inputs)
    answer, expected = program.run(), reference(made.workload, inputs)
    assert answer.shape == expected.shape
    assert answer.dtype == NUMPY_DTYPES[made.workload.dtype]
    allowed = tolerance(made.workload, inputs, made.algorithm(schedule))
    assert np.all(np.abs(answer.astype(np.float64) - expected) <= allowed), f"{made.workload}: {schedule}"


@settings(max_examples=80, deadline=None)
@given(data=st.data(), isa=st.sampled_from(ISAS), seed=st.integers(0, 99))
def test_every_answer_is_right(data: st.DataObject, isa: str, seed: int) -> None:
    workload = data.draw(workloads(isa))
    made = space("kernel", workload, target(isa))
    assert_right(made, made.random(np.random.default_rng(seed)), seed)


@settings(max_examples=80, deadline=None)
@given(
    data=st.data(),
    isa=st.sampled_from(SCHEDULED or ["reference"]),
    num_cores=st.sampled_from([1, 2, 4]),
    fast_algorithms=st.booleans(),
)
def test_a_default_is_always_legal(data: st.DataObject, isa: str, num_cores: int, fast_algorithms: bool) -> None:
    workload = data.draw(workloads(isa))
    wanted = Target.from_json({**target(isa).to_json(), "num_cores": num_cores})
    made = space("kernel", workload, wanted, fast_algorithms)
    assert made.is_legal(made.default())
    made.choices(made.default())
    for decision in made.decisions:
        assert len(set(decision.choices)) == len(decision.choices) > 0


@pytest.mark.skipif(usable_cores() < 2, reason="this process has one core")
@pytest.mark.parametrize(
    "workload",
    [
        Workload.dense(33, 100, 64),
        Workload.conv2d(2, 9, 9, 20, 40, 3, padding=1, epilogue=("bias", "residual", "relu")),
        Workload.conv2d(1, 9, 9, 20, 40, 3, stride=2),
        Workload.conv2d(1, 7, 17, 70, 70, 3, padding=1, groups=70, epilogue=("bias", "residual", "relu")),
        Workload.attention(1, 3, 17, 33, 24),
    ],
    ids=str,
)
def test_two_threads(workload: Workload) -> None:
    made = space("kernel", workload, target(num_cores=2))
    for seed in range(5):
        assert_right(made, made.random(np.random.default_rng(seed)))


def legal(made: ScheduleSpace) -> list[Schedule]:
    every = itertools.product(*(range(len(d.choices)) for d in made.decisions))
    return [schedule for schedule in map(made.schedule, every) if made.is_legal(schedule)]


@pytest.mark.parametrize("isa", SCHEDULED)
def test_winograd_is_offered_where_it_applies_and_is_wanted(isa: str) -> None:
    layer = Workload.conv2d(1, 8, 8, 16, 16, 3, padding=1)
    algorithms = {s.values["algorithm"] for s in legal(space("kernel", layer, target(isa)))}
    assert algorithms == {"direct", "winograd2", "winograd4"}
    without = space("kernel", layer, target(isa), fast_algorithms=False)
    assert {s.values["algorithm"] for s in legal(without)} == {"direct"}
    assert without.default().values["algorithm"] == "direct"
    for other in (
        Workload.conv2d(1, 8, 8, 16, 16, 3, stride=2),
        Workload.conv2d(1, 16, 16, 16, 16, 7, stride=2, dilation=2),
        Workload.conv2d(1, 8, 8, 16, 16, 3, groups=2),
        Workload.conv2d(1, 8, 8, 16, 16, 5),
    ):
        assert {s.values["algorithm"] for s in legal(space("kernel", other, target(isa)))} == {"direct"}


@pytest.mark.parametrize("isa", SCHEDULED)
@pytest.mark.parametrize("size", [14, 56])
def test_what_is_searched_without_winograd_is_built_with_it_too(isa: str, size: int) -> None:
    layer = Workload.conv2d(1, size, size, 64, 64, 3, padding=1)
    every = space("kernel", layer, target(isa))
    without = space("kernel", layer, target(isa), fast_algorithms=False)
    for schedule in (without.default(), *legal(without)):
        assert every.is_legal(schedule)
        every.choices(schedule)


@pytest.mark.parametrize("isa", SCHEDULED)
def test_decisions_without_effect_keep_one_choice(isa: str) -> None:
    made = space("kernel", Workload.conv2d(1, 14, 14, 256, 64, 3, padding=1), target(isa))
    kc = next(d for d in made.decisions if d.name == "kc")
    assert kc.choices[0] == 256 * 9
    assert len(kc.choices) > 1
    for schedule in legal(made):
        assert schedule.values["algorithm"] == "direct" or schedule.values["kc"] == kc.choices[0]


@pytest.mark.parametrize("isa", SCHEDULED)
def test_a_register_tile_is_as_high_as_it_is_used(isa: str) -> None:
    """14 columns cut by six are cut into three parts, which five would do as well."""
    made = space("kernel", Workload.conv2d(1, 14, 14, 16, 64, 3, padding=1), target(isa), fast_algorithms=False)
    heights = {schedule.values["mr"] for schedule in legal(made)}
    assert heights & {2, 3, 4, 5}
    assert heights <= {1, 2, 3, 4, 5, 7, 14}


@pytest.mark.parametrize("isa", SCHEDULED)
def test_a_pointwise_convolution_has_the_space_of_a_matrix_product(isa: str) -> None:
    made = space("kernel", Workload.conv2d(2, 7, 7, 64, 96, 1), target(isa))
    product = space("kernel", Workload.dense(2 * 7 * 7, 96, 64), target(isa))
    assert made.decisions == product.decisions
    assert made.default() == product.default()


def test_a_schedule_of_another_space_is_rejected() -> None:
    made = space("kernel", Workload.conv2d(1, 8, 8, 16, 16, 3), target())
    with pytest.raises(ValueError, match="another space"):
        made.build(Schedule("tvm", {}))


def test_a_data_type_that_an_isa_lacks_is_rejected() -> None:
    with pytest.raises(ValueError, match="bfloat16 needs isa avx2 or avx512"):
        space("kernel", Workload.dense(1, 2, 3, "bfloat16"), target("reference"))


def test_a_workload_without_a_space_is_rejected() -> None:
    with pytest.raises(ValueError, match="unknown backend 'gpu'; choose from: kernel, tvm"):
        space("gpu", Workload.dense(1, 2, 3), target())
    assert backends(Workload.dense(1, 2, 3)) == ("kernel", "tvm")
    for workload in (Workload.attention(1, 2, 3, 4, 5), Workload.dense(1, 2, 3, "bfloat16")):
        assert "tvm" not in backends(workload)
        with pytest.raises(ValueError, match=f"no tvm space for {workload.op} in {workload.dtype}"):
            space("tvm", workload, target())


@pytest.mark.parametrize("make", [Workload.dense, lambda m, n, k: Workload.conv2d(1, 1, m, k, n, 1)])
@pytest.mark.skipif("avx512" not in ISAS, reason="the default takes Strassen's algorithm with AVX-512 alone")
def test_strassens_algorithm_is_one_schedule_for_each_split(make: Callable[..., Workload]) -> None:
    workload, host = make(514, 512, 512), target("avx512", min(2, usable_cores()))
    made = space("kernel", workload, host)
    default = made.default()
    assert made.algorithm(default) == "strassen"
    assert_right(made, default)
    assert not made.is_legal(default.replace(pack_a=not default.values["pack_a"]))
    by_sums = default.replace(algorithm="direct")
    assert made.is_legal(by_sums)
    assert_right(made, by_sums)
    for without in (space("kernel", workload, host, fast_algorithms=False), space("kernel", make(514, 511, 512), host)):
        assert without.algorithm(without.default()) == "direct"
        assert all(d.choices == ("direct",) for d in without.decisions if d.name == "algorithm")
