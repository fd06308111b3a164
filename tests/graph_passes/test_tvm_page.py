"""The code of docs/tvm.md runs as it is shown, on a model with a convolution and a recurrence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graph_passes
from benchmarks.tvm_import import command
from compiler.program import tvm_pair
from graph_passes import __main__ as graph_passes_command
from tests.graph_passes.models import model, operators

pytestmark = pytest.mark.tvm

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tvm.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def published() -> None:
    """Writes model.onnx: a convolution whose rows are the steps of a GRU, with a dynamic batch."""
    original = model(
        """g (float[N, 3, 32, 32] x) => (float[D, N, 8] last)
        <float[2, 3, 4, 4] w, float[1, 24, 16] gates, float[1, 24, 8] state, int64[3] shape>
        {
            c = Conv <strides = [4, 4]> (x, w)
            r = Relu (c)
            steps = Transpose <perm = [2, 0, 1, 3]> (r)
            flat = Reshape (steps, shape)
            y, last = GRU <hidden_size = 8> (flat, gates, state)
        }""",
        shape=np.array([8, -1, 16]),
    )
    onnx.save(original, "model.onnx")


def test_the_code_of_the_page_runs() -> None:
    try:
        tvm_pair.load()
    except ImportError as error:
        pytest.skip(str(error))
    names: dict[str, Any] = {}
    for code in blocks("python"):
        exec(code, names)  # noqa: S102 - our own page
    assert "GRU" not in operators(names["optimized"].model)
    assert names["answer"].numpy().shape == (1, 1, 8)
    assert onnx.load("for_tvm.onnx").graph.output[0].name == "last"


def test_the_command_of_the_page_runs() -> None:
    (line,) = re.findall(r"^python -m graph_passes (.*)$", PAGE, re.MULTILINE)
    assert graph_passes_command.main(line.split()) == 0
    assert "GRU" not in operators(onnx.load("for_tvm.onnx"))


def test_the_passes_of_the_table_are_those_that_run() -> None:
    described = set(re.findall(r"\(graph_passes\.md#(\w+)\)", PAGE)) | {"fold_batch_norm", "optimize_strides"}
    assert described == {a_pass.name for a_pass in graph_passes.FOR_TVM}


def test_the_other_commands_of_the_page_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert "python -m benchmarks.tvm_import --run" in PAGE
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    assert "--run" in capsys.readouterr().out
