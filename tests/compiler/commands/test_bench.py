"""``bench``: the runtimes that it compares, its output and its files. No test checks a time."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from compiler.__main__ import main
from compiler.commands.comparison import is_quantized
from compiler.runtimes import RUNTIMES, Runtime, RuntimeUnavailable
from compiler.runtimes.base import Model
from tests.compiler.commands.conftest import SHAPES, Built, expected

pytestmark = pytest.mark.tvm
Complaint = Callable[..., str]
ROOT = Path(__file__).resolve().parents[3]


class Baseline:
    """A runtime that answers by float64 arithmetic times a factor, or fails."""

    PACKAGES = ("numpy",)

    def __init__(self, factor: float = 1, unavailable: str = "", failure: str = "") -> None:
        self.factor, self.unavailable, self.failure = factor, unavailable, failure
        self.loaded: list[onnx.ModelProto] = []

    def load(self, model: Model, threads: int | None, operators: Sequence[Path] = ()) -> Runtime:
        if self.unavailable:
            raise RuntimeUnavailable(self.unavailable)
        assert (threads, *operators) == (1,)
        assert isinstance(model, onnx.ModelProto)
        self.loaded.append(model)
        return Runtime("good" if self.factor == 1 else "wrong", np.__version__, (), (), self.run)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.failure:
            raise RuntimeError(self.failure)
        return {name: (self.factor * y).astype(np.float32) for name, y in expected(**inputs).items()}


def bench(model: Path, *argv: str) -> int:
    return main(["bench", str(model), *SHAPES, "--threads", "1", "--duration", "0.01", "--no-pin", *argv])


def test_one_runtime_answers_and_two_do_not(
    built: Built, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = Baseline()
    monkeypatch.setitem(RUNTIMES, "good", good)
    monkeypatch.setitem(RUNTIMES, "absent", Baseline(unavailable="absent cannot run here:\n pip install absent"))
    monkeypatch.setitem(RUNTIMES, "broken", Baseline(failure="no!"))
    assert bench(built.onnx, "--peers", "absent,good,broken", "--json", "r.json") == 0
    printed = capsys.readouterr().out
    assert "\nNot pinned\n" in printed
    assert "\nLeft out: absent cannot run here: pip install absent\n" in printed
    assert "\nLeft out: broken fails on this model: no!\n" in printed
    assert ["loopwright", "good"] in [line.split() for line in printed.splitlines()]
    content = json.loads(Path("r.json").read_text())
    assert list(content["left_out"]) == ["absent", "broken"]
    assert content["cores"] is None
    ours, other = content["results"]
    assert (ours["name"], ours["version"]) == ("loopwright", importlib.metadata.version("loopwright"))
    assert ours["speedup"] is None
    assert ours["difference"] is None
    assert (other["name"], other["version"]) == ("good", np.__version__)
    assert 0 <= other["difference"] < 1e-5
    assert other["speedup"]["value"] == other["latencies"]["median"] / ours["latencies"]["median"]
    keys = {"count", "duration", "median", "average", "min", "p90", "p99", "throughput"}
    assert set(ours["latencies"]) == keys
    (published,) = good.loaded
    assert [node.op_type for node in published.graph.node] == ["Gemm", "Relu", "Mul", "ReduceSum"]
    assert [dim.dim_value for dim in published.graph.input[0].type.tensor_type.shape.dim] == [4, 16]


def test_other_answers_are_a_failure(
    built: Built, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RUNTIMES, "wrong", Baseline(factor=1.1))
    assert bench(built.onnx, "--peers", "wrong") == 1
    assert capsys.readouterr().err.startswith("wrong and loopwright differ by 0.091 of an output's scale")


@pytest.mark.parametrize(
    ("op", "quantized"), [("Conv", False), ("DequantizeLinear", False), ("QuantizeLinear", True), ("QLinearConv", True)]
)
def test_models_that_round_values_themselves(op: str, quantized: bool) -> None:
    graph = onnx.helper.make_graph([onnx.helper.make_node(op, ["x"], ["y"])], "g", [], [])
    assert is_quantized(onnx.helper.make_model(graph)) is quantized


def test_ours_alone(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bench", str(built.saved), "--duration", "0.01", "--no-pin", "--json", "r.json"]
    assert main(argv) == 0
    assert "Speedup" not in capsys.readouterr().out
    (ours,) = json.loads(Path("r.json").read_text())["results"]
    assert ours["latencies"]["count"] >= 20


def test_onnxruntime(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert bench(built.onnx, "--peers", "onnxruntime") == 0
    assert importlib.metadata.version("onnxruntime") in capsys.readouterr().out


def test_wrong_arguments(built: Built, complaint: Complaint) -> None:
    printed = complaint("bench", built.onnx, "--peers", "onnxruntime,tensorrt")
    assert printed.startswith("argument --peers: there is no peer 'tensorrt'; choose from: onnxruntime, openvino")
    assert "peers cannot read the saved model" in complaint("bench", built.saved, "--peers", "onnxruntime")
    for duration in ("0", "-1", "nan", "inf", "long"):
        assert "is not a number of seconds" in complaint("bench", built.onnx, "--duration", duration)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes")
def test_the_process_is_pinned_to_as_many_cores_as_threads(built: Built) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "compiler", "bench", built.saved, "--duration", "0.01", "--json", "r.json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    (core,) = json.loads(Path("r.json").read_text())["cores"]
    assert f"\nPinned to core {core}\n" in answer.stdout
    assert "\x1b" not in answer.stdout + answer.stderr
