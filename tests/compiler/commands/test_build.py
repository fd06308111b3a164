"""``build``: its output, its files and its errors."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import compiler
import kernels
from compiler.__main__ import main
from compiler.program.random_inputs import random_inputs
from compiler.program.tensor_spec import TensorSpec
from compiler.workloads.target import usable_cores
from tests.compiler.commands.conftest import NODE, SHAPES, Built
from tests.compiler.lowering.test_quantized import groups_of_two_channels

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

    found = compiler.load(built.saved)
    assert isinstance(found, compiler.CompiledModel)
    (layer,) = found.layers
    (schedule,) = found.schedules()
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
    [
        ("--input-shape", "x:4,16"),
        ("--batch", "2"),
        ("--records", "r"),
        ("--no-fast-algorithms",),
        ("--strict",),
        ("--precision", "auto"),
    ],
    ids=" ".join,
)
def test_a_saved_model_is_built_already(option: tuple[str, ...], built: Built, complaint: Complaint) -> None:
    printed = complaint("run", built.saved, *option)
    assert printed.startswith(f"{option[0]}: {built.saved} is built already, for ")


@pytest.mark.parametrize("command", [("run",), ("bench", "--duration", "0.01", "--no-pin"), ("profile", "--runs", "1")])
@pytest.mark.parametrize("threads", sorted({1, min(2, usable_cores())}))
def test_a_saved_model_on_any_number_of_threads(
    command: tuple[str, ...], threads: int, built: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = command
    assert main([name, str(built.saved), "--threads", str(threads), *options]) == 0, capsys.readouterr().err
    line = capsys.readouterr().out.splitlines()[1]
    assert re.search(rf", {threads} threads?: {threads} (physical|performance|efficiency) cores? of 1 node", line)


@pytest.mark.parametrize("threads", ["0", "-1", str(usable_cores() + 1)])
def test_a_saved_model_on_too_many_threads(threads: str, built: Built, complaint: Complaint) -> None:
    line = complaint("run", built.saved, "--threads", threads)
    assert "is not a whole number" in line or f"threads must be between 1 and {usable_cores()}" in line


@pytest.fixture
def data() -> Path:
    arrays = random_inputs([TensorSpec("x", "float32", (4, 16)), TensorSpec("scale", "float32", (4, 1))], seed=5)
    np.savez("data.npz", allow_pickle=False, **arrays)
    return Path("data.npz")


@pytest.mark.parametrize("given", [True, False], ids=["data", "random"])
def test_a_check_that_passes(built: Built, data: Path, capsys: pytest.CaptureFixture[str], given: bool) -> None:
    command = ["build", str(built.onnx), "-o", "checked.lw", *SHAPES, "--threads", "1", "--json", "checked.json"]
    assert main([*command, "--check", *([str(data)] if given else [])]) == 0
    printed = capsys.readouterr().out
    assert len(re.findall(r"^Checked: output .+ differs by \S+ of its scale \(0\.0001 allowed\)$", printed, re.M)) == 2
    assert ("Random inputs (seed 0): x, scale" in printed) != given
    content = json.loads(Path("checked.json").read_text())["checked"]
    assert [entry["name"] for entry in content] == ["scores", "layer/relu:0"]
    assert all(entry["error"] <= entry["allowed"] for entry in content)
    assert json.loads(built.json.read_text())["checked"] is None


def test_a_check_that_fails(built: Built, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from compiler.lowering import lower as lowering

    right = lowering.lower

    def wrong(*arguments: Any) -> lowering.Lowered:
        found = right(*arguments)
        for node in found.model.graph.node:
            if node.op_type == "Mul":
                node.op_type = "Div"
        return found

    monkeypatch.setattr(lowering, "lower", wrong)
    command = ["build", str(built.onnx), "-o", "checked.lw", *SHAPES, "--threads", "1", "--check"]
    assert main(command) == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert printed.startswith("python -m compiler build: the check failed: output scores differs by ")
    assert "compiled program: Mul " in printed
    assert not Path("checked.lw").exists()


def test_data_that_does_not_fit(built: Built, data: Path, complaint: Complaint) -> None:
    def wrong(path: Path) -> str:
        return complaint("build", built.onnx, "-o", "out.lw", *SHAPES, "--check", path)

    assert wrong(Path("absent.npz")) == "cannot read absent.npz: No such file or directory"
    Path("text.npz").write_text("text")
    assert wrong(Path("text.npz")).startswith("text.npz is not an .npz file of inputs: ")
    np.save("one.npy", np.zeros(3))
    assert wrong(Path("one.npy")).startswith("one.npy is not an .npz file of inputs: ")
    np.savez("narrow.npz", x=np.zeros((4, 15), np.float32), scale=np.zeros((4, 1), np.float32))
    assert wrong(Path("narrow.npz")) == "narrow.npz: input x must have shape (4, 16), got (4, 15)"
    np.savez("double.npz", x=np.zeros((4, 16)), scale=np.zeros((4, 1), np.float32))
    assert wrong(Path("double.npz")) == "double.npz: input x must be float32, got float64"
    np.savez("objects.npz", x=np.array([None]))
    assert wrong(Path("objects.npz")).startswith("objects.npz is not an .npz file of inputs: ")
    damaged = data.read_bytes()[:-40]
    Path("damaged.npz").write_bytes(damaged)
    assert wrong(Path("damaged.npz")).startswith("damaged.npz is not an .npz file of inputs: ")


@pytest.mark.parametrize("flags", [(), ("--ieee",)])
def test_subnormal_numbers(flags: tuple[str, ...], model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The build and the runs of its folder say that they are kept; ``--ieee`` fits only such a folder."""
    kept = bool(flags)
    arguments = ["build", str(model_file), *SHAPES, "--threads", "1", "-o", "out.lw", "--json", "build.json", *flags]
    assert main(arguments) == 0
    assert ("subnormal numbers are kept" in capsys.readouterr().out) == kept
    assert json.loads(Path("build.json").read_text())["ieee"] == kept
    assert compiler.load("out.lw").ieee == kept
    assert main(["run", "out.lw", "--json", "run.json"]) == 0
    assert ("subnormal numbers are kept" in capsys.readouterr().out) == kept
    assert json.loads(Path("run.json").read_text())["ieee"] == kept
    if kept:
        assert main(["run", "out.lw", "--ieee"]) == 0
    else:
        with pytest.raises(SystemExit):
            main(["run", "out.lw", "--ieee"])
        assert "--ieee: out.lw is built already" in capsys.readouterr().err


def test_quantized_layers_in_float32(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two convolutions, one has groups of two channels."""
    file = tmp_path / "groups.onnx"
    onnx.save(groups_of_two_channels(), file)
    arguments = ["build", str(file), "--threads", "1", "-o", str(tmp_path / "out.lw")]
    assert main([*arguments, "--json", str(tmp_path / "build.json")]) == 0
    reason = "quantized, but computed in float32: it has groups of 2 to 2 channels"
    printed = capsys.readouterr().out
    assert "\nLayers in 8-bit integers: 1; quantized layers in float32: 1\n  Conv small: " + reason in printed
    assert json.loads((tmp_path / "build.json").read_text())["in_float"] == [f"Conv small: {reason}"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--strict"])
    assert ended.value.code == 2
    assert f"strict=True: Conv small: {reason}" in capsys.readouterr().err


@pytest.mark.skipif("bfloat16" not in kernels.available_dtypes(), reason="this CPU has no kernels of bfloat16")
def test_layers_in_bfloat16(built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.lw"
    assert main(["build", str(built.onnx), *SHAPES, "--precision", "bfloat16", "--check", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "autotune.search" not in printed, "a search of a model has no layers of bfloat16"
    assert "(0.016 allowed)" in printed
    (layer,) = compiler.load(out).layers
    assert layer.attributes["dtype"] == "bfloat16"
