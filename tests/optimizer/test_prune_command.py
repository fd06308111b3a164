from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from optimizer.__main__ import main
from optimizer.plan import Plan
from optimizer.pruning import comparison


def arguments(folder: Path, *more: str) -> list[str]:
    return ["prune", f"{folder}/in.onnx", f"{folder}/out.onnx", *more]


def test_prune(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--ratio", "0.3", "--cost", "macs", "--step", "1", "--fixed", "--data", f"{folder}/data.npz"]
    files = ["--json", f"{folder}/found.json", "--plan", f"{folder}/plan.json"]
    assert main(arguments(folder, *options, *files)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "y is an output of the model" in out
    assert "Output y on the samples: SQNR" in out
    pruned = onnx.load(folder / "out.onnx")
    onnx.checker.check_model(pruned, full_check=True)
    found = json.loads((folder / "found.json").read_text())
    assert (found["importance"], found["cost"], found["ratio"]) == ("activations", "macs", 0.3)
    assert found["parameters"]["after"] <= 0.7 * found["parameters"]["before"]
    assert found["multiply_adds"]["after"] < found["multiply_adds"]["before"]
    plan = Plan.load(folder / "plan.json")
    assert [len(group.kept) for group in plan.groups] == [group["kept"] for group in found["groups"]]
    assert plan.apply(folder / "in.onnx").SerializeToString() == pruned.SerializeToString()


def test_a_plan_is_applied(folder: Path) -> None:
    assert (
        main(arguments(folder, "--ratio", "0.3", "--cost", "macs", "--step", "1", "--plan", f"{folder}/plan.json")) == 0
    )
    first = (folder / "out.onnx").read_bytes()
    assert main(arguments(folder, "--apply", f"{folder}/plan.json")) == 0
    assert (folder / "out.onnx").read_bytes() == first


@pytest.mark.tvm
def test_measured_times(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "SECS", 0.05)
    options = ["--ratio", "0.3", "--cost", "macs", "--step", "4", "--measure", "--json", f"{folder}/found.json"]
    assert main(arguments(folder, *options)) == 0
    assert "ms, loopwright" in capsys.readouterr().out
    measured = json.loads((folder / "found.json").read_text())["measured"]
    assert [each["runtime"] for each in measured] == ["loopwright", "onnxruntime"]
    assert all(each["before"] > 0 and each["after"] > 0 for each in measured)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "one of the arguments --ratio --latency --share --apply is required"),
        (["--ratio", "0"], "the ratio must be between 0 and 1, got 0"),
        (["--ratio", "1"], "the ratio must be between 0 and 1, got 1"),
        (["--ratio", "nan"], "argument --ratio: 'nan' is not a number"),
        (["--ratio", "0.3", "--latency", "3"], "argument --latency: not allowed with argument --ratio"),
        (["--latency", "-1"], "the latency must be a number of milliseconds above 0, got -1"),
        (["--ratio", "0.3", "--cost", "watts"], "argument --cost: invalid choice: 'watts'"),
        (["--ratio", "0.3", "--data", "nothing.npz"], "cannot read nothing.npz: No such file or directory"),
        (["--apply", "nothing.json"], "cannot read nothing.json: No such file or directory"),
        (["--ratio", "0.3", "--plan", "/proc/plan.json"], "cannot write /proc/plan.json"),
    ],
)
def test_bad_options(folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments(folder, *more))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (folder / "out.onnx").exists()


def test_a_damaged_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "plan.json").write_text('{"format": 1}')
    with pytest.raises(SystemExit) as stopped:
        main(arguments(folder, "--apply", f"{folder}/plan.json"))
    assert stopped.value.code == 2
    assert "plan.json is not a plan: a plan must have exactly the entries" in capsys.readouterr().err
