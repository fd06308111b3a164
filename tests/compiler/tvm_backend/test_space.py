"""The TVM space: TVM takes the decisions of every schedule, and every program computes correct outputs."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target, usable_cores
from compiler.workloads.workload import ACTIVATIONS, Workload

spaces_tvm = pytest.importorskip(
    "compiler.tvm_backend.space", exc_type=ImportError
)  # with the reason, if TVM is missing
tvm = pytest.importorskip("tvm")
te = pytest.importorskip("tvm.te")
topi = pytest.importorskip("tvm.topi")
codegen = pytest.importorskip("compiler.tvm_backend.codegen")
sketches = pytest.importorskip("compiler.tvm_backend.sketches")

pytestmark = pytest.mark.tvm

EPILOGUES = [(), ("bias",), ("residual",), ("bias", "residual", "relu"), *((a,) for a in ACTIVATIONS)]


def one_core(isa: str | None = None) -> Target:
    return Target.from_host(isa, num_cores=1)


def assert_right(space: Any, schedule: Schedule, seed: int = 0) -> None:
    inputs = make_inputs(space.workload, seed)
    program = space.build(schedule)
    program.load(inputs)
    answer = program.run()
    expected = reference(space.workload, inputs)
    assert answer.shape == expected.shape
    assert answer.dtype == np.float32
    assert np.all(np.abs(answer - expected) <= tolerance(space.workload, inputs)), str(schedule)


@settings(max_examples=12, deadline=None)
@given(
    dims=st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 50)),
    epilogue=st.sampled_from(EPILOGUES),
    isa=st.sampled_from(kernels.available_isas()),
    seed=st.integers(0, 99),
)
def test_every_answer_is_right(dims: tuple[int, int, int], epilogue: tuple[str, ...], isa: str, seed: int) -> None:
    space = spaces_tvm.TvmSpace(Workload("dense", dims, epilogue=epilogue), one_core(isa))
    assert_right(space, space.random(np.random.default_rng(seed)), seed)


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 12)] * 2),
    channels=st.tuples(*[st.integers(1, 20)] * 2),
    kernel=st.tuples(*[st.integers(1, 3)] * 2),
    stride=st.tuples(*[st.integers(1, 2)] * 2),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 1, 2, 5]),
    epilogue=st.sampled_from(EPILOGUES),
    isa=st.sampled_from(kernels.available_isas()),
)
def test_convolutions(
    sizes: tuple[int, int],
    channels: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilation: int,
    groups: int,
    epilogue: tuple[str, ...],
    isa: str,
) -> None:
    c, o = (groups * count for count in channels)
    try:
        workload = Workload.conv2d(2, *sizes, c, o, kernel, stride, pads, dilation, groups, epilogue=epilogue)
    except ValueError:  # the window does not fit the image
        assume(False)
        raise
    space = spaces_tvm.TvmSpace(workload, one_core(isa))
    assert_right(space, space.random(np.random.default_rng(0)))


@pytest.mark.parametrize(
    "workload",
    [
        Workload.conv2d(1, 37, 41, 3, 24, 7, 2, 3, epilogue=("bias", "relu")),
        Workload.conv2d(1, 7, 7, 17, 33, 3, padding=(0, 1, 2, 0), epilogue=("residual",)),
        Workload.conv2d(1, 31, 31, 13, 19, 1, epilogue=("bias", "residual", "relu6")),
        Workload.conv2d(2, 9, 9, 32, 32, 3, padding=1, groups=32, epilogue=("bias",)),
        Workload.conv2d(1, 9, 9, 12, 24, 5, 2, 2, groups=12),
        Workload.conv2d(1, 8, 8, 24, 36, 3, padding=1, groups=3),
    ],
    ids=str,
)
@pytest.mark.parametrize("num_cores", [1, 2])
def test_defaults_of_convolutions(workload: Workload, num_cores: int) -> None:
    if usable_cores() < num_cores:
        pytest.skip("this process has one core")
    space = spaces_tvm.TvmSpace(workload, Target.from_host(num_cores=num_cores))
    assert space.is_legal(space.default())
    assert_right(space, space.default())


@pytest.mark.parametrize("dims", [(17, 1001, 333), (1, 1000, 2048), (1, 1, 1), (64, 1, 7), (31, 13, 1), (197, 48, 20)])
def test_defaults_of_awkward_shapes(dims: tuple[int, int, int]) -> None:
    space = spaces_tvm.TvmSpace(Workload("dense", dims), one_core())
    assert space.is_legal(space.default())
    assert_right(space, space.default())


@pytest.mark.skipif(usable_cores() < 2, reason="this process has one core")
@pytest.mark.parametrize("dims", [(32, 96, 64), (1, 100, 64)])
def test_two_threads(dims: tuple[int, int, int]) -> None:
    space = spaces_tvm.TvmSpace(Workload("dense", dims, epilogue=("bias", "silu")), Target.from_host(num_cores=2))
    assert_right(space, space.default())


def test_the_space_of_a_small_product() -> None:
    space = spaces_tvm.TvmSpace(Workload.dense(4, 32, 6), one_core("reference"))
    choices = {d.name: d.choices for d in space.decisions}
    assert list(choices) == ["tile_m", "tile_n", "tile_k"]
    assert choices["tile_k"] == ((1, 6), (2, 3), (3, 2), (6, 1))
    assert (2, 1, 2) in choices["tile_m"]


def test_tvm_takes_every_choice_as_it_is() -> None:
    space = spaces_tvm.TvmSpace(Workload.dense(4, 32, 6), one_core())
    module = sketches.as_module(spaces_tvm.tensor_programs.prim_func(space.workload, space.target))
    (sketch,) = sketches.generate(module, codegen.tvm_target(space.target), 1, space.target.lanes)
    names = [d.name for d in space.decisions]
    for values in itertools.product(*(d.choices for d in space.decisions)):
        sketch.apply(module, dict(zip(names, values, strict=True)))  # raises if TVM takes another decision


@pytest.mark.parametrize("tile", [(2, 1, 3), (1, 1, 5), (3, 2, 1)])
def test_what_tvm_would_repair_is_neither_legal_nor_built(tile: tuple[int, ...]) -> None:
    workload = Workload.dense(4, 32, 6)
    space = spaces_tvm.TvmSpace(workload, one_core())
    schedule = space.default().replace(tile_m=tile)
    assert not space.is_legal(schedule)
    with pytest.raises(ValueError, match=re.escape(f"tile_m has no choice {tile}")):
        space.build(schedule)
    module = sketches.as_module(spaces_tvm.tensor_programs.prim_func(workload, space.target))
    (sketch,) = sketches.generate(module, codegen.tvm_target(space.target), 1, space.target.lanes)
    with pytest.raises(RuntimeError, match="TVM took tile_m"):
        sketch.apply(module, schedule.values)


def test_tvm_samples_nothing_that_the_choices_lack() -> None:
    module = sketches.as_module(spaces_tvm.tensor_programs.prim_func(Workload.dense(48, 64, 36), one_core()))
    (sketch,) = sketches.generate(module, codegen.tvm_target(one_core()), 1, 16)
    for seed in range(1, 30):
        schedule = spaces_tvm.sketches.s_tir.Schedule(module, seed=seed)
        loops = schedule.get_loops(schedule.get_sblock("dense"))
        for site, loop in zip(sketch.sites, loops, strict=True):
            drawn = [schedule.get(f) for f in schedule.sample_perfect_tile(loop, site.levels, -1)]
            assert tuple(int(f) for f in drawn) in site.tiles()


def test_a_schedule_survives_json() -> None:
    space = spaces_tvm.TvmSpace(Workload.dense(16, 64, 24), one_core())
    rng = np.random.default_rng(0)
    for _ in range(20):
        schedule = space.random(rng)
        read = Schedule.from_json(json.loads(json.dumps(schedule.to_json())))
        assert read == schedule
        assert space.is_legal(read)
        assert space.schedule(space.choices(read)) == schedule


def test_neighbors_differ_in_one_legal_decision() -> None:
    space = spaces_tvm.TvmSpace(Workload.dense(128, 768, 768), one_core())
    default = space.default()
    neighbors = list(space.neighbors(default))
    assert neighbors
    for decision, choice, schedule in neighbors:
        name = space.decisions[decision].name
        assert schedule == default.replace(**{name: space.decisions[decision].choices[choice]})
        assert space.is_legal(schedule)


def test_a_schedule_that_is_not_of_this_space() -> None:
    space = spaces_tvm.TvmSpace(
        Workload.dense(512, 512, 512), one_core("avx2" if "avx2" in kernels.available_isas() else None)
    )
    default = space.default()
    foreign = Schedule("kernel", {"mr": 8})
    assert not space.is_legal(foreign)
    with pytest.raises(ValueError, match="another space"):
        space.build(foreign)
    spilling = default.replace(tile_m=(64, 1, 8), tile_n=(4, 4, 32))
    assert not space.is_legal(spilling)
    with pytest.raises(ValueError, match="not legal"):
        space.build(spilling)


def test_what_32_bit_indices_do_not_reach() -> None:
    with pytest.raises(ValueError, match=r"weight \(65536, 32768\) has more elements"):
        spaces_tvm.TvmSpace(Workload.dense(1, 65536, 32768), one_core())


def test_inputs_that_do_not_fit() -> None:
    space = spaces_tvm.TvmSpace(Workload.dense(4, 20, 6), one_core())
    program = space.build(space.default())
    right = make_inputs(space.workload)
    short, double = np.zeros((20, 7), np.float32), right["weight"].astype(np.float64)
    for wrong, error, message in [
        ({"x": right["x"]}, ValueError, "input weight is missing; got x"),
        (right | {"x": right["x"][:3]}, ValueError, r"input x must have shape \(4, 6\), got \(3, 6\)"),
        (right | {"x": right["x"][0]}, ValueError, r"input x must have shape \(4, 6\), got \(6,\)"),
        (
            right | {"weight": short},
            ValueError,
            r"input weight must have shape \(.*\), got \(20, 7\)",
        ),
        (
            right | {"weight": double},
            TypeError,
            "input weight must be float32, got float64",
        ),
    ]:
        with pytest.raises(error, match=message):
            program.load(wrong)


def test_inputs_need_not_be_contiguous() -> None:
    space = spaces_tvm.TvmSpace(Workload.dense(4, 20, 6), one_core())
    inputs = make_inputs(space.workload)
    program = space.build(space.default())
    program.load({name: np.asfortranarray(value) for name, value in inputs.items()})
    assert np.all(np.abs(program.run() - reference(space.workload, inputs)) <= tolerance(space.workload, inputs))


def test_a_program_can_be_loaded_again() -> None:
    space = spaces_tvm.TvmSpace(Workload.dense(4, 20, 6), one_core())
    program = space.build(space.default())
    for seed in range(2):
        inputs = make_inputs(space.workload, seed)
        program.load(inputs)
        secs = program.time(number=2, repeat=3)
        assert len(secs) == 3
        assert min(secs) > 0
        assert np.all(np.abs(program.run() - reference(space.workload, inputs)) <= tolerance(space.workload, inputs))


def lowered(isa: str | None = None) -> Any:
    """The default program of a matrix product."""
    space = spaces_tvm.TvmSpace(Workload.dense(64, 64, 64), one_core(isa))
    module = sketches.as_module(spaces_tvm.tensor_programs.prim_func(space.workload, space.target))
    (sketch,) = sketches.generate(module, codegen.tvm_target(space.target), 1, space.target.lanes)
    return codegen.compile_schedule(sketch.apply(module, space.default().values), space.target)


def machine_code(isa: str) -> tuple[str, str]:
    """Returns the instructions that compute a matrix product, and those that pack its weights."""
    assembly = lowered(isa).module.inspect_source("asm")
    main, pack = (
        re.search(rf"^{name}_compute_:(.*?)\.Lfunc_end", assembly, re.M | re.S) for name in ("main", "pack_weight")
    )
    assert main
    assert pack
    return main[1], pack[1]


def test_weights_are_packed_before_the_function_that_is_timed() -> None:
    program = lowered()
    function, shape = program.packs["weight"]
    weights = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    x, weight, packed, out = (tvm.runtime.tensor(a) for a in (weights, weights, np.zeros(shape, np.float32), weights))
    program.module[function](weight, packed)
    assert not np.array_equal(packed.numpy().ravel(), weights.ravel())
    np.testing.assert_array_equal(np.sort(packed.numpy(), axis=None), weights.ravel())
    program.module["main"](x, packed, out)
    np.testing.assert_allclose(out.numpy(), weights @ weights.T, rtol=1e-5)


@pytest.mark.parametrize(
    ("isa", "fma", "absent"),
    [
        ("avx512", r"vfmadd\w+ps.*%zmm", "amx|tmm"),
        ("avx2", r"vfmadd\w+ps.*%ymm", "zmm"),
        ("reference", "mulps|mulss", "ymm|vfmadd"),
    ],
)
def test_the_code_is_of_the_isa(isa: str, fma: str, absent: str) -> None:
    if isa not in kernels.available_isas():
        pytest.skip(f"this CPU has no {isa}")
    main, pack = machine_code(isa)
    assert re.search(fma, main)
    assert not re.search(absent, main + pack)


def test_accumulators_stay_in_registers() -> None:
    isa = kernels.available_isas()[0]
    main, _ = machine_code(isa)
    straight = re.split(r"^\.LBB.*:|^\s+j\w+\s.*$", main, flags=re.M)  # straight-line code
    loop = max(straight, key=lambda piece: len(re.findall("vfmadd|mul[ps]s", piece)))
    assert re.search("vfmadd|mul[ps]s", loop)
    assert not re.findall(r"mov[au]?ps\s+%[xyz]mm\d+, .*\(", loop), "the reduction's loop stores a vector"


def placeholder(*shape: int, name: str) -> Any:
    return te.placeholder(shape, "float32", name=name)


def batch_matmul() -> Sequence[Any]:
    a, b, k = placeholder(3, 10, 24, name="a"), placeholder(3, 32, 24, name="b"), te.reduce_axis((0, 24), "k")
    return a, b, te.compute((3, 10, 32), lambda h, m, n: te.sum(a[h, m, k] * b[h, n, k], k), name="product")


def two_layers() -> Sequence[Any]:
    x, a, b = placeholder(6, 32, name="x"), placeholder(48, 32, name="a"), placeholder(16, 48, name="b")
    return x, a, b, topi.nn.dense(topi.nn.relu(topi.nn.dense(x, a)), b)


def sum_of_products() -> Sequence[Any]:
    x, a, b = placeholder(6, 24, name="x"), placeholder(32, 24, name="a"), placeholder(32, 24, name="b")
    return x, a, b, topi.add(topi.nn.dense(x, a), topi.nn.dense(x, b))


def convolution() -> Sequence[Any]:
    x, w = placeholder(1, 6, 6, 8, name="x"), placeholder(3, 3, 8, 16, name="w")
    return x, w, topi.nn.relu(topi.nn.conv2d_nhwc(x, w, 1, 1, 1))


def convolved(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return np.maximum(sum(padded[:, i : i + 6, j : j + 6] @ w[i, j] for i in range(3) for j in range(3)), 0)


def elementwise() -> Sequence[Any]:
    a, b = placeholder(17, 33, name="a"), placeholder(17, 33, name="b")
    return a, b, topi.add(topi.nn.relu(a), b)


def long_sum() -> Sequence[Any]:
    a = placeholder(4, 4096, name="a")
    return a, topi.sum(a, 1)


def softmax() -> Sequence[Any]:
    a = placeholder(8, 100, name="a")
    return a, topi.nn.softmax(a)


@pytest.mark.parametrize(
    ("function", "oracle", "decisions"),
    [
        (batch_matmul, lambda a, b: np.einsum("hmk,hnk->hmn", a, b), {"tile_h", "tile_m", "tile_n", "tile_k"}),
        (two_layers, lambda x, a, b: np.maximum(x @ a.T, 0) @ b.T, {"T_matmul_NT.tile_k", "T_matmul_NT_1.tile_k"}),
        (sum_of_products, lambda x, a, b: x @ a.T + x @ b.T, {"T_matmul_NT.tile_k", "T_matmul_NT_1.tile_k"}),
        (convolution, convolved, {"tile_ff", "tile_rc"}),
        (elementwise, lambda a, b: np.maximum(a, 0) + b, set()),
        (long_sum, lambda a: a.sum(1), {"sketch", "unroll"}),
        (softmax, lambda a: np.exp(a) / np.exp(a).sum(1, keepdims=True), {"sketch", "unroll"}),
    ],
)
def test_any_prim_func_has_a_space(
    function: Callable[[], Sequence[Any]], oracle: Callable[..., np.ndarray], decisions: set[str]
) -> None:
    tensors = function()
    space = spaces_tvm.PrimFuncSpace(te.create_prim_func(list(tensors)), one_core())
    assert decisions <= {d.name for d in space.decisions}
    rng = np.random.default_rng(0)
    inputs = {t.op.name: rng.standard_normal([int(s) for s in t.shape], np.float32) for t in tensors[:-1]}
    expected = oracle(*(value.astype(np.float64) for value in inputs.values()))
    for schedule in {space.default(), space.random(rng), space.random(rng)}:
        assert space.is_legal(schedule)
        program = space.build(schedule)
        program.load(inputs)
        np.testing.assert_allclose(program.run(), expected, rtol=1e-4, atol=1e-4)


def test_sketches_without_a_decision_leave_it_alone() -> None:
    space = spaces_tvm.PrimFuncSpace(te.create_prim_func(list(long_sum())), one_core())
    default = space.default()
    (tile,) = (d for d in space.decisions if d.name.startswith("tile"))
    with_tile = [s for s in range(3) if space.is_legal(default.replace(**{"sketch": s, tile.name: tile.choices[1]}))]
    assert with_tile != [0, 1, 2]
    assert with_tile
    assert all(space.is_legal(default.replace(sketch=s)) for s in range(3))
