from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from optimizer.__main__ import main


def arguments(folder: Path, *more: str) -> list[str]:
    return [
        "quantize",
        *(str(folder / name) for name in ("in.onnx", "out.onnx")),
        "--data",
        f"{folder}/data.npz",
        *more,
    ]


def test_quantize(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(folder, "--json", f"{folder}/found.json", "--method", "min-max", "--threads", "1")) == 0
    out, err = capsys.readouterr()
    assert "Layers in 8-bit integers: 5; in floating point: 0" in out
    assert "Saved:" in out
    assert err == ""
    onnx.checker.check_model(str(folder / "out.onnx"))
    found = json.loads((folder / "found.json").read_text())
    assert len(found["quantized"]) == 5
    assert found["method"] == "min-max"
    assert found["outputs"][0]["sqnr_db"] > 15


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "best"], "invalid choice: 'best'"),
        (["--threads", "0"], "'0' is not a whole number of 1 or more"),
        (["--exclude", "nothing"], "the model has no node 'nothing'"),
        (["--json", "/proc/found.json"], "cannot write /proc/found.json"),
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


def test_data_that_does_not_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(folder / "data.npz", z=np.ones(3))
    with pytest.raises(SystemExit) as stopped:
        main(arguments(folder))
    assert stopped.value.code == 2
    assert "the samples lack x; the model has x" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4"])
def test_data_that_is_not_an_archive(folder: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (folder / "data.npz").write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        main(arguments(folder))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "data.npz is not an .npz file" in error
    assert error.count("\n") == 1
