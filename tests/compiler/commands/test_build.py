"""``build``: its output, its files and its errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import compiler
from compiler.__main__ import main
from compiler.program.random_inputs import random_inputs
from compiler.workloads.target import usable_cores
from tests.compiler.commands.conftest import NODE, SHAPES, Built

pytestmark = pytest.mark.tvm
Complaint = Callable[..., str]


def test_the_output(built: Built) -> None:
    words = f"python -m autotune.search --model {built.onnx} --input-shape x:4,16 --input-shape scale:4,1 --threads 1"
    assert f"\n1 of 1 tunable layers run their default schedule; tune them with: {words}\n" in built.output
    assert "\nRecords: none (there is no records.sqlite here)\n" in built.output
    assert "\nLayers on our kernels: 1; generated functions: " in built.output
    assert f"\nSaved: {built.saved} (" in built.output


def test_the_files(built: Built) -> None:
    content = json.loads(built.json.read_text())
    assert content["untuned"] == content["tunable"] == content["layers"]
    assert len(content["layers"]) == 1
    assert content["generated"], "no kernel computes the product and the sum"
    assert content["seconds"] > 0
    assert content["peak_bytes"] > content["output_bytes"] > 0
    assert content["target"]["num_cores"] == 1
    assert content["inputs"][0] == {"name": "x", "dtype": "float32", "shape": [4, 16]}
    assert [layer.name for layer in compiler.load(built.saved).layers] == content["layers"]


def test_generated_functions_are_those_that_a_profile_shows(built: Built) -> None:
    model = compiler.build(built.onnx, {"x": (4, 16), "scale": (4, 1)}, threads=1)
    rows = model.profile(random_inputs(model.inputs), runs=1)
    assert set(model.generated) == {row.layer for row in rows if row.backend == "tvm"}
    assert NODE in {row.layer for row in rows}


def test_records_are_used_and_named(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    from compiler.workloads.database import Records
    from compiler.workloads.records import Measurement, Record

    (layer,) = compiler.load(built.saved).layers
    (schedule,) = compiler.load(built.saved).schedules()
    assert layer.workload is not None
    assert schedule is not None
    with Records("records.sqlite") as records:
        target = compiler.Target.from_host(num_cores=1)
        records.add(Record(layer.workload, target, schedule, Measurement((1e-6,)), "test", 0))
    assert main(["build", str(built.onnx), "-o", "tuned.lw", *SHAPES, "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert "\nRecords: records.sqlite\n" in printed
    assert "tune them with" not in printed


def test_a_saved_model_that_is_broken(built: Built, complaint: Complaint) -> None:
    broken = Path("broken.lw")
    shutil.copytree(built.saved, broken)
    with (broken / "weights.bin").open("r+b") as file:
        file.write(b"\x01\x02")
    assert complaint("run", broken) == "broken.lw/weights.bin is missing or was changed: its digest differs"
    (broken / "manifest.json").write_text("{")
    assert complaint("profile", broken).startswith("broken.lw/manifest.json is broken")


@pytest.mark.parametrize(
    "option",
    [("--threads", "2"), ("--input-shape", "x:4,16"), ("--records", "r"), ("--no-fast-algorithms",)],
    ids=" ".join,
)
def test_a_saved_model_is_built_already(option: tuple[str, ...], built: Built, complaint: Complaint) -> None:
    if option[0] == "--threads" and usable_cores() < 2:
        pytest.skip("one core")
    printed = complaint("run", built.saved, *option)
    assert printed.startswith(f"{option[0]}: {built.saved} is built already, for ")
