"""``--operators``: a model with an operator of a user is built, run, profiled and measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compiler.__main__ import main
from tests.user_operators.libraries import EXAMPLE, expected, library, network

pytestmark = pytest.mark.tvm


def test_every_command_takes_the_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    operators = ["--operators", str(library(EXAMPLE, tmp_path)), "--threads", "1"]
    made, x = network(), np.random.default_rng(1).standard_normal((2, 8)).astype(np.float32)
    Path("model.onnx").write_bytes(made.SerializeToString())
    np.save("x.npy", x)
    assert main(["build", "model.onnx", "-o", "model.lw", *operators]) == 0
    assert "Layers on our kernels: 1; operators of users: 1;" in capsys.readouterr().out
    assert main(["run", "model.lw", *operators, "--input", "x.npy", "--output", "y.npz"]) == 0
    np.testing.assert_allclose(np.load("y.npz")["y"], expected(made, x), rtol=1e-4, atol=1e-6)
    assert main(["profile", "model.lw", *operators, "--runs", "2", "--html", "p.html"]) == 0
    assert "operators of users" in Path("p.html").read_text()
    bench = ["bench", "model.onnx", *operators, "--no-pin", "--duration", "0.01", "--peers", "onnxruntime"]
    assert main([*bench, "--json", "bench.json"]) == 0
    (reason,) = json.loads(Path("bench.json").read_text())["left_out"].values()
    assert "com.example:SoftThreshold" in reason
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main(["run", "model.lw", "--input", "x.npy"])
    assert "the operator com.example::SoftThreshold, which no given library has" in capsys.readouterr().err
