"""Compiled models at run time: inputs, outputs, threads, schedules, profiles, memory."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import compiler
from compiler.program.profile import ProfileRow
from compiler.workloads.database import Records
from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target, usable_cores
from compiler.workloads.workload import Workload
from tests.compiler.models import graph, model, perceptron
from tests.graph_passes import oracle

pytestmark = pytest.mark.tvm

THREADS = min(2, usable_cores())


@pytest.fixture(scope="module")
def original() -> onnx.ModelProto:
    """A convolution with work for two threads, a pool, a dense layer, and generated code between and after them."""
    return graph(
        "float[1,8,24,24] x",
        "float[32,8,3,3] w, float[32] b, float[32,10] v, int64[2] shape",
        {"y": "c = Conv <pads = [1,1,1,1]> (x, w, b) s = Softplus (c) p = GlobalAveragePool (s) f = Reshape (p, shape)"
              " d = MatMul (f, v) @ = Softplus (d)"},
        shape=np.array([1, 32]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def inputs(original: onnx.ModelProto) -> dict[str, np.ndarray]:
    return oracle.random_inputs(original, seed=1)


@pytest.fixture(scope="module")
def built(original: onnx.ModelProto) -> compiler.CompiledModel:
    return compiler.build(original, threads=THREADS)


@pytest.fixture(scope="module")
def tiny() -> compiler.CompiledModel:
    return compiler.build(
        model(
            "g (float[2,3] a, int64[2] i) => (float[2,3] y, int64[2] j) <float[3,3] w, int64[2] one>"
            "{ y = MatMul (a, w) j = Add (i, one) }"
        ),
        threads=1,
    )


# Inputs


A, B = np.zeros((2, 3), np.float32), np.zeros(2, np.int64)
TAKES = "the model takes a: float32[2, 3], i: int64[2]"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, f"inputs: a, i missing; {TAKES}"),
        ({"a": A}, ValueError, f"inputs: i missing; {TAKES}"),
        ({"a": A, "i": B, "z": A, 3: A}, ValueError, f"inputs: 3, z unknown; {TAKES}"),
        ({"a": A, "i": B, "z": A}, ValueError, f"inputs: z unknown; {TAKES}"),
        ({"a": A, "I": B}, ValueError, f"inputs: i missing; I unknown; {TAKES}"),
        ({"a": A.tolist(), "i": B}, TypeError, "input a must be a numpy array, got list"),
        ({"a": None, "i": B}, TypeError, "input a must be a numpy array, got NoneType"),
        ({"a": A.astype(np.float64), "i": B}, TypeError, "input a must be float32, got float64"),
        ({"a": A.astype(">f4"), "i": B}, TypeError, "input a must be float32, got >f4"),
        ({"a": A, "i": B.astype(np.int32)}, TypeError, "input i must be int64, got int32"),
        ({"a": A[None], "i": B}, ValueError, "input a must have shape (2, 3), got (1, 2, 3)"),
        ({"a": A[0], "i": B}, ValueError, "input a must have shape (2, 3), got (3,)"),
        ({"a": A.T, "i": B}, ValueError, "input a must have shape (2, 3), got (3, 2)"),
        ({"a": A, "i": B[:0]}, ValueError, "input i must have shape (2,), got (0,)"),
        ([A, B], TypeError, "inputs must be a dict of arrays by name, got list"),
        (A, TypeError, "inputs must be a dict of arrays by name, got ndarray"),
    ],
)
def test_wrong_inputs(tiny: compiler.CompiledModel, given: Any, error: type[Exception], message: str) -> None:
    for call in (tiny.run, tiny.profile):
        with pytest.raises(error) as raised:
            call(given)
        assert str(raised.value) == message


def layouts(x: np.ndarray) -> dict[str, np.ndarray]:
    """Returns copies of the array with other layouts and alignments."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    bytes_ = np.zeros(x.nbytes + 128, np.uint8)
    start = -bytes_.ctypes.data % 64
    found = {"strided": wide[..., ::2], "columns first": np.asfortranarray(x), "reversed": x[::-1].copy()[::-1]}
    found |= {"read-only": read_only, "read-only view": np.broadcast_to(x, x.shape)}
    for shift in (0, 1, 4, 32):
        place = bytes_.copy()[: x.nbytes + 128]
        start = -place.ctypes.data % 64 + shift
        there = place[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
        there[...] = x
        found[f"{shift} bytes after the start of a cache line"] = there
    return found


def test_inputs_of_every_layout(built: compiler.CompiledModel, inputs: dict[str, np.ndarray]) -> None:
    expected = built.run(inputs)["y"]
    for layout, x in layouts(inputs["x"]).items():
        before = x.copy()
        np.testing.assert_array_equal(built.run({"x": x})["y"], expected, err_msg=layout)
        np.testing.assert_array_equal(x, before, err_msg=f"{layout}: the input has changed")


# Outputs


def test_outputs_outlive_later_runs(built: compiler.CompiledModel, inputs: dict[str, np.ndarray]) -> None:
    first = built.run(inputs)["y"]
    kept = first.copy()
    second = built.run({"x": -inputs["x"]})["y"]
    assert not np.array_equal(second, first)
    np.testing.assert_array_equal(first, kept)
    first[...] = np.nan
    np.testing.assert_array_equal(built.run(inputs)["y"], kept)


def test_threads_of_python_share_a_model(built: compiler.CompiledModel) -> None:
    """Every output is bitwise equal to that of a single thread."""
    rng = np.random.default_rng(0)
    given = [{"x": rng.standard_normal(built.inputs[0].shape, np.float32)} for _ in range(8)]
    alone = [built.run(x)["y"] for x in given]
    assert all(np.array_equal(built.run(x)["y"], y) for x, y in zip(given, alone, strict=True))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: built.run(given[i % 8])["y"], range(200)))
    for i, answer in enumerate(answers):
        np.testing.assert_array_equal(answer, alone[i % 8])


# Schedules


def test_untuned_layers(built: compiler.CompiledModel) -> None:
    assert [layer.op for layer in built.layers] == ["conv2d", "avg_pool2d", "dense"]
    assert [layer.op for layer in built.untuned] == ["conv2d", "dense"]
    schedules = built.schedules()
    assert schedules[1] is None
    assert all(schedules[place] for place in (0, 2))


def test_other_schedules_compute_the_same(built: compiler.CompiledModel, inputs: dict[str, np.ndarray]) -> None:
    expected = built.run(inputs)["y"]
    default = built.schedules()
    pinned = built.with_schedules({place: schedule for place, schedule in enumerate(default) if schedule})
    assert pinned.schedules() == default
    assert not pinned.untuned
    assert len(built.untuned) == 2, "the first model has changed"
    np.testing.assert_array_equal(pinned.run(inputs)["y"], expected)
    other = changed(default[2])
    rescheduled = built.with_schedules({2: other})
    assert rescheduled.schedules() == [*default[:2], other]
    np.testing.assert_allclose(rescheduled.run(inputs)["y"], expected, rtol=1e-5)
    assert rescheduled.module is built.module
    assert rescheduled.with_schedules({2: None}).schedules() == default


def changed(schedule: Schedule | None) -> Schedule:
    """Returns another legal schedule of the dense layer, with another width of the register tile."""
    assert schedule is not None
    return Schedule("kernel", {**schedule.values, "nr": 16 if schedule.values["nr"] != 16 else 32})


def test_other_threads_compute_the_same(built: compiler.CompiledModel, inputs: dict[str, np.ndarray]) -> None:
    alone = built.with_layers({0: dataclasses.replace(built.layers[0], threads=1)})
    assert [layer.threads for layer in alone.layers[:1]] == [1]
    np.testing.assert_allclose(alone.run(inputs)["y"], built.run(inputs)["y"], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({2: Schedule("kernel", {"mr": 5000})}, ValueError, "layer 2"),
        ({2: Schedule("kernel", {"no such decision": 1})}, ValueError, "layer 2"),
        ({0: Schedule("kernel", {"algorithm": "magic"})}, ValueError, "layer 0"),
        ({3: None}, IndexError, "no layer 3"),
    ],
)
def test_illegal_schedules(
    built: compiler.CompiledModel, changes: dict[int, Schedule | None], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        built.with_schedules(changes)
    assert "\n" not in str(raised.value)


def test_schedules_from_a_function(original: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> None:
    looked_up: list[tuple[Workload, Target]] = []

    def known(workload: Workload, target: Target) -> Schedule | None:
        looked_up.append((workload, target))
        return None

    default = compiler.build(original, threads=THREADS, schedules=known)
    assert [workload.op for workload, _ in looked_up] == ["conv2d", "dense"]
    assert [target.num_cores for _, target in looked_up] == [THREADS, 1], "small layers run on one thread"
    other = changed(default.schedules()[2])

    def one(workload: Workload, _target: Target) -> Schedule | None:
        return other if workload.op == "dense" else Schedule("tvm", {"trace": "of another backend"})

    found = compiler.build(original, threads=THREADS, schedules=one)
    assert found.schedules()[2] == other
    assert [layer.op for layer in found.untuned] == ["conv2d"]
    np.testing.assert_allclose(found.run(inputs)["y"], default.run(inputs)["y"], rtol=1e-5)

    def illegal(workload: Workload, _target: Target) -> Schedule | None:
        return Schedule("kernel", {"mr": 5000}) if workload.op == "dense" else None

    with pytest.raises(ValueError, match=r"^layer 2.*$"):
        compiler.build(original, threads=THREADS, schedules=illegal)


def test_schedules_from_a_file(
    original: onnx.ModelProto, built: compiler.CompiledModel, inputs: dict[str, np.ndarray], tmp_path: Path
) -> None:
    dense = built.layers[2]
    assert dense.workload is not None
    default, target = built.schedules()[2], dataclasses.replace(built.target, num_cores=1)
    assert default is not None
    other = changed(default)
    path = tmp_path / "records.sqlite"
    with Records(path) as records:
        for schedule, secs in ((default, 2e-6), (other, 1e-6)):
            records.add(Record(dense.workload, target, schedule, Measurement((secs,)), strategy="random", seed=0))
    found = compiler.build(original, threads=THREADS, schedules=path)
    assert found.schedules()[2] == other
    assert [layer.op for layer in found.untuned] == ["conv2d"]
    np.testing.assert_allclose(found.run(inputs)["y"], built.run(inputs)["y"], rtol=1e-5)
    with pytest.raises(FileNotFoundError, match=r"^no file of records at '.*none.sqlite'$"):
        compiler.build(original, threads=1, schedules=tmp_path / "none.sqlite")


# Profiles


def test_a_profile_covers_every_layer(built: compiler.CompiledModel, inputs: dict[str, np.ndarray]) -> None:
    rows = built.profile(inputs, runs=3)
    kernels = [row for row in rows if row.backend == "kernel"]
    assert [row.layer for row in kernels] == [layer.name for layer in built.layers]
    assert [row.schedule for row in kernels] == built.schedules()
    assert {row.backend for row in rows} == {"kernel", "tvm", "vm"}
    assert all(row.seconds > 0 for row in rows)
    for row in rows:
        assert (row.roofline is None) == (row.backend != "kernel")
        assert row.roofline is None or row.roofline > 0
        assert row.gflops is None or row.gflops > 0
    assert kernels[0].gflops is not None
    assert kernels[2].gflops is not None
    assert ProfileRow.to_json(kernels[0])["schedule"] == kernels[0].schedule.to_json()  # type: ignore[union-attr]


# Memory

LEAK = """
import resource, sys
import numpy as np
import compiler

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

model = compiler.load(sys.argv[1])
inputs = {spec.name: np.ones(spec.shape, spec.dtype) for spec in model.inputs}
for _ in range(200):
    model.run(inputs)
before = resident()
for _ in range(10_000):
    model.run(inputs)
print(resident() - before)
"""


def test_runs_leave_nothing_behind(tmp_path: Path) -> None:
    """If every run leaked its 480 bytes of outputs, 4.8 MB would remain."""
    compiler.build(perceptron(rows=24), threads=1).save(tmp_path / "tiny.lw")
    command = [sys.executable, "-c", LEAK, tmp_path / "tiny.lw"]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown < 1_000_000
