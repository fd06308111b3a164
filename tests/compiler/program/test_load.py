"""A saved model on other numbers of threads than it was built for, and on given cores."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.program import load, saved_model
from compiler.program.segment import Segment
from compiler.workloads.target import Target, usable_cores
from compiler.workloads.threads import threads_for
from tests.compiler.models import graph
from tests.compiler.program.manifests import write_manifest

pytestmark = pytest.mark.tvm

COUNTS = sorted({1, min(2, usable_cores())})
CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module", params=COUNTS)
def built(request: pytest.FixtureRequest) -> compiler.CompiledModel:
    """A large layer, which several threads share, a small one and generated code. All schedules are recorded."""
    found = compiler.build(
        graph(
            "float[1,64,48,48] x",
            "float[64,64,3,3] w, float[64] b, float[64,4] v",
            {
                "y": "c = Conv <pads = [1,1,1,1]> (x, w, b) r = Relu (c) p = GlobalAveragePool (r) "
                "f = Flatten (p) d = MatMul (f, v) @ = Softplus (d)",
                "z": "@ = Sin (c)",
            },
        ),
        threads=request.param,
    )
    return found.with_schedules({place: schedule for place, schedule in enumerate(found.schedules()) if schedule})


@pytest.fixture(scope="module")
def saved(built: compiler.CompiledModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model.lw"
    built.save(path)
    return path


@pytest.fixture(scope="module")
def x() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((1, 64, 48, 48), np.float32)}


def loaded(*arguments: Any, **options: Any) -> compiler.CompiledModel:
    found = compiler.load(*arguments, **options)
    assert isinstance(found, compiler.CompiledModel)
    return found


@pytest.mark.parametrize("threads", COUNTS)
def test_any_number_of_threads(
    built: compiler.CompiledModel, saved: Path, x: dict[str, np.ndarray], threads: int
) -> None:
    found = loaded(saved, threads)
    assert found.target.num_cores == threads
    assert found.placement.startswith(f"{threads} thread")
    assert repr(found) == f"CompiledModel({len(found.layers)} layers, {found.target.isa}, {found.placement})"
    for layer, before in zip(found.layers, built.layers, strict=True):
        assert layer.threads == threads_for(layer.workload, found.target)
        same = layer.threads == before.threads
        assert layer.schedule == (before.schedule if same else None), "a schedule is for one number of threads"
    for name, answer in found.run(x).items():
        np.testing.assert_allclose(answer, built.run(x)[name], rtol=0, atol=1e-4)


def test_the_default_is_as_built(built: compiler.CompiledModel, saved: Path) -> None:
    found = loaded(saved)
    assert found.target == built.target
    assert [layer.schedule for layer in found.layers] == [layer.schedule for layer in built.layers]
    assert found.cores is None


def test_a_process_with_fewer_cores(saved: Path, x: dict[str, np.ndarray]) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CPUS[:1])
    try:
        found = loaded(saved)
        assert found.placement == "1 thread: 1 physical core of 1 node"
        assert set(found.run(x)) == {"y", "z"}
        with pytest.raises(
            ValueError, match=r"^threads must be between 1 and 1 \(the cores this process may use\), got 2$"
        ):
            compiler.load(saved, threads=2)
    finally:
        os.sched_setaffinity(0, before)


def test_a_number_that_no_machine_has(saved: Path, tmp_path: Path, x: dict[str, np.ndarray]) -> None:
    copy = Path(shutil.copytree(saved, tmp_path / "copy.lw"))
    write_manifest(copy, lambda manifest: manifest.update(threads=5000))
    found = loaded(copy)
    assert found.target == Target.from_host(found.target.isa)
    assert set(found.run(x)) == {"y", "z"}


@pytest.mark.parametrize("threads", [None, 1])
def test_given_cores(saved: Path, x: dict[str, np.ndarray], threads: int | None) -> None:
    found = loaded(saved, threads, cores=CPUS[::-1])
    assert found.cores == tuple(CPUS[::-1])
    assert found.target.num_cores == (threads or min(len(CPUS), usable_cores()))
    assert found.placement.endswith("as given")
    assert found.with_layers({}).cores == found.with_segments_on(1).cores == found.cores
    assert set(found.run(x)) == {"y", "z"}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"threads": 0}, r"^threads must be between 1 and \d+ \(the cores this process may use\), got 0$"),
        ({"threads": -3}, r"^threads must be between 1 and \d+ \(the cores this process may use\), got -3$"),
        ({"threads": 100_000}, r"^threads must be between 1 and \d+ \(the cores this process may use\), got 100000$"),
        ({"cores": []}, r"^cores must be distinct ones of those that this process may use, [0-9, ]+; got \[\]$"),
        (
            {"cores": [99_999]},
            r"^cores must be distinct ones of those that this process may use, [0-9, ]+; got \[99999\]$",
        ),
        ({"cores": [CPUS[0]] * 2}, r"^cores must be distinct ones"),
    ],
)
def test_wrong_arguments(saved: Path, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compiler.load(saved, **options)


@pytest.mark.parametrize("file_format", [4, 5, 6, 7])
@pytest.mark.parametrize("threads", [None, *COUNTS])
def test_earlier_formats(
    saved: Path, tmp_path: Path, x: dict[str, np.ndarray], file_format: int, threads: int | None
) -> None:
    def older(manifest: dict[str, Any]) -> None:
        manifest["format"] = file_format
        for name, first in {"segments": 5, "sizes": 6, "ieee": 7, "tuned": 7}.items():
            if file_format < first:
                del manifest[name]

    copy = Path(shutil.copytree(saved, tmp_path / "copy.lw"))
    write_manifest(copy, older)
    found = loaded(copy, threads)
    assert found.ieee == (file_format < 7)
    assert set(found.run(x)) == {"y", "z"}


@pytest.mark.parametrize(("own", "threads", "expected"), [(None, 1, None), (1, 2, 1), (2, 2, 2), (4, 2, 2)])
def test_segments_use_no_more_threads_than_the_model(
    own: int | None, threads: int, expected: int | None, tmp_path: Path
) -> None:
    segment = Segment(b"", ("x",), (), frozenset(), {"Relu": 1}, ())
    (tmp_path / "segment0.onnx").write_bytes(b"")
    entry = saved_model._segment_fields(dataclasses.replace(segment, threads=own))
    (found,) = saved_model.segments(tmp_path, {"segments": [entry]}, threads)
    assert found.threads == expected


def test_ranges_of_sizes(tmp_path: Path) -> None:
    model = graph("float[n,256] x", "float[256,256] w", {"y": "@ = MatMul (x, w)"})
    compiler.build(model, {"x": (range(1, 400), 256)}, threads=1).save(tmp_path / "ranged.lw")
    threads = max(COUNTS)
    found = compiler.load(tmp_path / "ranged.lw", threads, cores=CPUS[:threads])
    assert isinstance(found, compiler.RangedModel)
    assert (found.target.num_cores, found.cores) == (threads, tuple(CPUS[:threads]))
    assert found.at({"n": 399}).cores == found.cores
    assert repr(found).startswith("RangedModel(n from 1 to 399")
    x = np.random.default_rng(0).standard_normal((399, 256), np.float32)
    want = load.load(tmp_path / "ranged.lw", 1).run({"x": x})["y"]
    np.testing.assert_allclose(found.run({"x": x})["y"], want, rtol=0, atol=1e-3)


def test_a_model_that_replaced_another(tmp_path: Path) -> None:
    """The dynamic linker keeps libraries by their path, also those of the model that was there before."""
    x = np.full((2, 50), 0.5, np.float32)
    kept = []
    for name, function in (("Cos", np.cos), ("Exp", np.exp), ("Sin", np.sin)):
        compiler.build(graph("float[2,50] x", "", {"y": f"n = Neg (x) @ = {name} (n)"})).save(tmp_path / "model.lw")
        kept.append((compiler.load(tmp_path / "model.lw"), function))
        for found, expected in kept:
            np.testing.assert_allclose(found.run({"x": x})["y"], expected(-x), rtol=1e-5)
