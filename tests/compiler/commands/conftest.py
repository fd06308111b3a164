"""A small model, and the result of building it once for all tests of commands."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.__main__ import main

NODE = "<script>alert('dense & co')</script>"
ROWS, WIDTH, CLASSES = 4, 16, 9
SHAPES = ("--input-shape", f"x:{ROWS},{WIDTH}", "--input-shape", f"scale={ROWS}x1")


def weights() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((WIDTH, CLASSES), np.float32), rng.standard_normal(CLASSES, np.float32)


def network() -> onnx.ModelProto:
    """relu(x · w + b) by a kernel, its product with ``scale`` and the sum of the rows by generated code."""
    w, b = weights()
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["h"], NODE),
            helper.make_node("Relu", ["h"], ["layer/relu:0"]),
            helper.make_node("Mul", ["layer/relu:0", "scale"], ["scaled"]),
            helper.make_node("ReduceSum", ["scaled", "axes"], ["scores"], keepdims=0),
        ],
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", None]) for name in ("x", "scale")],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [CLASSES]),
            helper.make_tensor_value_info("layer/relu:0", TensorProto.FLOAT, ["rows", CLASSES]),
        ],
        [
            numpy_helper.from_array(w, "w"),
            numpy_helper.from_array(b, "b"),
            numpy_helper.from_array(np.array([0], np.int64), "axes"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def expected(x: np.ndarray, scale: np.ndarray) -> dict[str, np.ndarray]:
    w, b = (array.astype(np.float64) for array in weights())
    hidden = np.maximum(x.astype(np.float64) @ w + b, 0)
    return {"scores": (hidden * scale).sum(0), "layer/relu:0": hidden}


@dataclass(frozen=True)
class Built:
    """The result of ``build``.

    Attributes:
        onnx, saved: the model as a file and as a folder.
        json: the file of results.
        output: the text that the command printed.
    """

    onnx: Path
    saved: Path
    json: Path
    output: str


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    onnx.save(network(), path)
    return path


@pytest.fixture(scope="session")
def built(model_file: Path) -> Built:
    result = Built(model_file, model_file.with_suffix(".lw"), model_file.with_suffix(".json"), "")
    argv = ["build", str(model_file), "-o", str(result.saved), *SHAPES, "--threads", "1", "--json", str(result.json)]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(argv) == 0
    return Built(result.onnx, result.saved, result.json, printed.getvalue())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs each test in its own folder, which has no records."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]):
    """Returns a function that runs an invalid command line and returns its one line of error."""

    def complaint(*argv: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(list(map(str, argv)))
        assert stopped.value.code == 2
        printed = capsys.readouterr()
        prefix = f"python -m compiler {argv[0]}: error: "
        assert printed.err.startswith(prefix)
        assert printed.err.count("\n") == 1
        return printed.err.removeprefix(prefix).rstrip("\n")

    return complaint
