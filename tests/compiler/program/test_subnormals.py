"""Subnormal numbers: zeros in programs, on all their threads, unless ``ieee=True``; the caller's mode never changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import compiler
import kernels
from compiler.program import native
from compiler.workloads.target import usable_cores
from tests.compiler.models import graph, model
from tests.compiler.program.manifests import write_manifest

pytestmark = pytest.mark.tvm

SMALL = float(np.float32(1e-39))  # subnormal
TINY = float(np.finfo(np.float32).tiny)
THREADS = min(2, usable_cores())
ROWS = 40_000  # enough for two threads


def halves() -> onnx.ModelProto:
    """Generated code; ``y`` is subnormal for small normal inputs."""
    return graph(f"float[{ROWS}] x", "float h", {"y": "@ = Mul (x, h)"}, h=np.float32(0.5))


def keeps_subnormals() -> bool:
    keep = native.function("keep_subnormals")
    kept = bool(keep(True))
    keep(kept)
    return kept


def outputs(built: Any, value: float) -> np.ndarray:
    return built.run({"x": np.full(ROWS, value, np.float32)})["y"]


@pytest.mark.parametrize("threads", sorted({1, THREADS}))
@pytest.mark.parametrize("ieee", [False, True])
def test_operands_and_results_of_generated_code(ieee: bool, threads: int) -> None:
    built = compiler.build(halves(), threads=threads, ieee=ieee)
    assert built.ieee == ieee
    for value in (SMALL, -SMALL, TINY, -TINY):
        want = np.full(ROWS, value, np.float32) * np.float32(0.5) if ieee else np.zeros(ROWS, np.float32)
        np.testing.assert_array_equal(outputs(built, value), want)
    np.testing.assert_array_equal(outputs(built, 4 * TINY), np.full(ROWS, 2 * TINY, np.float32))
    assert keeps_subnormals()


@pytest.mark.parametrize("ieee", [False, True])
def test_kernels_on_all_threads(ieee: bool) -> None:
    """Rows of a matrix product are divided among the threads."""
    dense = graph("float[512,64] x", "float[64,64] w", {"y": "@ = MatMul (x, w)"}, w=np.eye(64))
    built = compiler.build(dense, threads=THREADS, ieee=ieee)
    assert len(built.layers) == 1
    x = np.full((512, 64), SMALL, np.float32)
    for _ in range(20):  # the caller also runs shares that a thread is late for
        np.testing.assert_array_equal(built.run({"x": x})["y"], x if ieee else np.zeros_like(x))


def test_the_mode_of_the_caller_is_set_and_restored() -> None:
    """A caller that flushes subnormals still gets them from ``ieee=True``, and keeps its mode."""
    exact = compiler.build(halves(), threads=1, ieee=True)
    keep = native.function("keep_subnormals")
    before = keep(False)
    try:
        answer = outputs(exact, TINY)
        flushes = not keeps_subnormals()
    finally:
        keep(before)
    assert flushes
    np.testing.assert_array_equal(answer.view(np.int32), np.full(ROWS, 1 << 22))  # bits: no comparison of floats


def test_an_error_restores_the_mode() -> None:
    built = compiler.build(model("g (float[4,3] x, int64[2] i) => (float[2,3] y) { y = Gather (x, i) }"), threads=1)
    with pytest.raises(ValueError, match="index 9 is out of range"):
        built.run({"x": np.zeros((4, 3), np.float32), "i": np.array([0, 9])})
    assert keeps_subnormals()


@pytest.mark.parametrize("ieee", [False, True])
def test_saved_models_say_which(ieee: bool, tmp_path: Path) -> None:
    built = compiler.build(halves(), threads=1, ieee=ieee)
    built.save(tmp_path / "m.lw")
    loaded = compiler.load(tmp_path / "m.lw")
    assert loaded.ieee == ieee
    np.testing.assert_array_equal(outputs(loaded, TINY), outputs(built, TINY))


def test_earlier_formats_keep_subnormals(tmp_path: Path) -> None:
    compiler.build(halves(), threads=1).save(tmp_path / "m.lw")
    write_manifest(tmp_path / "m.lw", lambda manifest: manifest.update(format=6, ieee=None))
    loaded = compiler.load(tmp_path / "m.lw")
    assert loaded.ieee
    assert outputs(loaded, TINY)[0] == TINY / 2


def test_an_entry_of_another_type_is_an_error(tmp_path: Path) -> None:
    compiler.build(halves(), threads=1).save(tmp_path / "m.lw")
    write_manifest(tmp_path / "m.lw", lambda manifest: manifest.update(ieee="no"))
    with pytest.raises(ValueError, match=r"^manifest\.json is not valid: ieee is 'no'$"):
        compiler.load(tmp_path / "m.lw")


@pytest.mark.parametrize("ieee", [False, True])
def test_ranges_of_sizes(ieee: bool, tmp_path: Path) -> None:
    source = model("g (float[N] x) => (float[N] y) <float h = {0.5}> { y = Mul (x, h) }")
    built = compiler.build(source, {"x": (range(1, 9),)}, threads=1, ieee=ieee)
    built.save(tmp_path / "m.lw")
    found = compiler.load(tmp_path / "m.lw")
    want = TINY / 2 if ieee else 0
    assert isinstance(found, compiler.RangedModel)
    for each in (built, built.at({"N": 3}), found, found.at({"N": 3})):
        assert each.ieee == ieee
        assert each.run({"x": np.full(3, TINY, np.float32)})["y"].tolist() == [want] * 3


@pytest.mark.parametrize("ieee", [False, True])
def test_other_layers_and_schedules_stay_in_the_mode(ieee: bool) -> None:
    dense = graph("float[4,8] x", "float[8,8] w", {"y": "@ = MatMul (x, w)"}, w=np.eye(8))
    built = compiler.build(dense, threads=1, ieee=ieee)
    changed = built.with_schedules({0: built.schedules()[0]})
    x = np.full((4, 8), SMALL, np.float32)
    assert changed.ieee == ieee
    np.testing.assert_array_equal(changed.run({"x": x})["y"], x if ieee else np.zeros_like(x))


@pytest.mark.parametrize("ieee", [False, True])
def test_segments_of_onnx_runtime(ieee: bool) -> None:
    pytest.importorskip("onnxruntime")
    source = model(
        f"g (float[{ROWS}] x) => (float[{ROWS}] y) <float h = {{0.5}}>"
        "{ a = Mul (x, h) s = SequenceConstruct (a) n = SequenceLength (s) b = CastLike (n, h) c = Div (x, b)"
        "  d = SequenceInsert (s, c) y0 = ConcatFromSequence <axis = 0> (d) e = Unique <sorted = 0> (y0)"
        "  z = ReduceMax <keepdims = 0> (e) y = Add (a, z) }"
    )
    built = compiler.build(source, threads=THREADS, ieee=ieee)
    assert built.segments
    answer = outputs(built, TINY / 2)
    want = TINY / 4 + TINY / 2 if ieee else 0
    np.testing.assert_array_equal(answer, np.full(ROWS, want, np.float32))
    assert keeps_subnormals()


def test_kernels_alone_compute_in_the_mode_of_the_caller() -> None:
    dense = kernels.Dense(np.eye(64, dtype=np.float32), threads=THREADS)
    x = np.full((512, 64), SMALL, np.float32)
    np.testing.assert_array_equal(dense(x), x)
    keep = native.function("keep_subnormals")
    before = keep(False)
    try:
        answer = dense(x)
    finally:
        keep(before)
    np.testing.assert_array_equal(answer, np.zeros_like(x))
    np.testing.assert_array_equal(dense(x), x)  # the pool's threads follow again
