from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from optimizer.__main__ import main
from tests.optimizer.classes import perceptron, points


@pytest.fixture
def files(tmp_path: Path) -> Path:
    onnx.save(perceptron(), tmp_path / "in.onnx")
    onnx.save(perceptron(seed=3), tmp_path / "teacher.onnx")
    np.savez(tmp_path / "data.npz", allow_pickle=False, **points(64, 0))
    (tmp_path / "validation").mkdir()
    for name, array in points(32, 1).items():
        np.save(tmp_path / "validation" / f"{name}.npy", array)
    return tmp_path


def arguments(folder: Path, *more: str) -> list[str]:
    paths = (str(folder / name) for name in ("in.onnx", "out.onnx"))
    return ["distill", *paths, "--data", f"{folder}/data.npz", "--epochs", "2", *more]


def test_distill(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = [
        "--teacher",
        f"{files}/teacher.onnx",
        "--validation",
        f"{files}/validation",
        "--json",
        f"{files}/found.json",
    ]
    assert main(arguments(files, *more, "--report", f"{files}/report", "--threads", "1")) == 0
    out, err = capsys.readouterr()
    assert "Student: " in out
    assert "Saved: " in out
    assert err == ""
    onnx.checker.check_model(str(files / "out.onnx"))
    found = json.loads((files / "found.json").read_text())
    assert len(found["epochs"]) == 2
    assert found["accuracy"]["after"] is not None
    assert (files / "report" / "curves.png").read_bytes()[1:4] == b"PNG"
    assert (files / "report" / "curves.csv").read_text().startswith("epoch,teachers,labels,accuracy")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--loss", "l2"], "invalid choice: 'l2'"),
        (["--learning-rate", "fast"], "'fast' is not a number"),
        (["--learning-rate", "0"], "the learning rate must be above 0"),
        (["--teacher", "nothing.onnx"], "nothing.onnx"),
        (["--augment", "turn"], "unknown change of images 'turn'"),
        (["--validation", "."], "has no .npy file"),
    ],
)
def test_bad_options(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, more: list[str], message: str
) -> None:
    (files / "empty").mkdir()
    monkeypatch.chdir(files / "empty")
    with pytest.raises(SystemExit) as stopped:
        main(arguments(files, *more))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (files / "out.onnx").exists()
