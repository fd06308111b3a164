"""The walk-through in CONTRIBUTING.md is complete: ``rms_norm`` needs no other edit than those that it lists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import compiler
from autotune import search
from benchmarks.layers.own import OwnLayer
from compiler.workloads.reference import make_inputs
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from tests.compiler.models import built, graph

ROOT = Path(__file__).resolve().parents[1]
NAME = "rms_norm"
SOURCES = ("autotune", "benchmarks", "compiler", "graph_passes", "kernels")


def listed_files() -> set[str]:
    (section,) = re.findall(r"## Add an operator\n(.*?)\n## ", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    (block,) = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    return {line.split()[0] for line in block.splitlines()}


def test_the_listed_files_exist() -> None:
    assert {name for name in listed_files() if not (ROOT / name).is_file()} == set()


def test_no_other_source_file_names_the_operator() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in SOURCES
        for suffix in ("py", "cc", "h")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
        if re.search(r"rms_norm(?!alization)|RMS_NORM|RmsNorm", path.read_text())
    }
    assert found == {name for name in listed_files() if not name.startswith("tests/")}


def test_the_operator_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--op", NAME, "--shape", "6x32", "--trials", "2", "--strategy", "random", "--json", "found.json"]
    assert search.main(arguments) == 0
    (result,) = json.loads(Path("found.json").read_text())["results"]
    assert (result["backend"], result["failures"]) == ("kernel", 0)


def test_the_operator_is_benchmarked() -> None:
    workload = Workload(NAME, (6, 32))
    inputs = make_inputs(workload)
    layer = OwnLayer(workload, inputs, inputs["x"].copy(), Target.from_host(num_cores=1))
    assert layer.time(number=2, repeat=1)[0] > 0


@pytest.mark.tvm
def test_the_operator_is_lowered_profiled_saved_and_loaded(tmp_path: Path) -> None:
    statement = "@ = RMSNormalization <epsilon = 0.01> (x, g)"
    found = built(
        graph("float[2,3,8] x", "float[8] g", {"y": statement}, opset=23)
    )  # compares answers, saves and loads
    assert [layer.op for layer in found.layers] == [NAME]
    found.save(tmp_path / "model.lw")
    inputs = {"x": make_inputs(Workload(NAME, (6, 8)))["x"].reshape(2, 3, 8)}
    rows = compiler.load(tmp_path / "model.lw").profile(inputs, runs=2)
    (row,) = (row for row in rows if row.backend == "kernel")
    assert row.op.startswith(NAME)
    assert row.roofline is not None
