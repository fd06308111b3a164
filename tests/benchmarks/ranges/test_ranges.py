"""The benchmark of ranges measures what it says, and checks the answers first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.ranges import command, measure, report


def small_model(_name: str) -> onnx.ModelProto:
    """Takes the inputs of MiniLM, and returns the sum of rows of a table."""
    table = np.random.default_rng(0).standard_normal((20000, 4), np.float32)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in measure.INPUTS]
    nodes = [
        helper.make_node("Add", ["input_ids", "token_type_ids"], ["ids"]),
        helper.make_node("Mul", ["ids", "attention_mask"], ["masked"]),
        helper.make_node("Gather", ["table", "masked"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axes"], ["y"], keepdims=0),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    constants = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axes")]
    graph = helper.make_graph(nodes, "small", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.tvm
def test_the_command_writes_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_module: str, arguments: Sequence[str], _limit_secs: float) -> Any:
        monkeypatch.setattr(command.affinity, "pin", lambda _threads: [0])
        monkeypatch.setattr(measure, "load", small_model)
        assert command.main([*arguments, "--json", str(tmp_path / "part.json")]) == 0
        return json.loads((tmp_path / "part.json").read_text())

    monkeypatch.setattr(command.isolated, "run", run)
    arguments = ["--sizes", "1x1,3x50", "--threads", "1", "--duration", "0.01", "--json", str(tmp_path / "all.json")]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "3x50" in printed
    assert "first run, ms more" in printed
    results = json.loads((tmp_path / "all.json").read_text())
    assert [result["size"] for result in results] == [[1, 1], [3, 50]]
    assert "\n".join(report.lines(results)) in printed


@pytest.mark.tvm
def test_different_answers_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "load", small_model)
    monkeypatch.setattr(measure, "_TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"^at 2x3 the answers of y differ by "):
        measure.measured([(2, 3)], threads=1, duration=0.0)


@pytest.mark.parametrize("sizes", ["9x1", "1x513", "0x1", "1", "1x0"])
def test_a_wrong_size_is_a_wrong_argument(sizes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        command.main(["--sizes", sizes])
    assert error.value.code == 2
    assert "is not a size from 1x1 to 8x512" in capsys.readouterr().err
