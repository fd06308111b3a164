from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from optimizer import Candidate, Training, distill, search
from optimizer.__main__ import main
from optimizer.search import _chosen, _marked
from optimizer.session import Session
from tests.optimizer.classes import convolutions, images

FAST = Training(4, 32, 0.02)


@pytest.fixture(scope="module")
def trained() -> onnx.ModelProto:
    return distill(convolutions(), [], images(300, 0), training=Training(8, 32, 0.02), threads=1).model


def candidate(accuracy: float, latency: float) -> Candidate:
    return Candidate("original", 1.0, "float32", None, onnx.ModelProto(), 1, accuracy, latency)


def test_candidates_that_no_other_is_better_than() -> None:
    found = _marked([candidate(0.9, 3), candidate(0.8, 2), candidate(0.8, 2.5), candidate(0.7, 2), candidate(0.95, 4)])
    assert [each.best for each in found] == [True, True, False, False, True]


def test_the_choice() -> None:
    some = [candidate(0.9, 3e-3), candidate(0.895, 2e-3), candidate(0.8, 1e-3)]
    assert _chosen(some, 2.5, None) is some[1]
    assert _chosen(some, 9, None) is some[0]
    assert _chosen(some, None, 0) is some[0]
    assert _chosen(some, None, 0.5) is some[1]
    assert _chosen(some, None, 20) is some[2]
    assert _chosen(some, 0.5, None) is None


def test_a_search(trained: onnx.ModelProto) -> None:
    """The candidates' accuracies are those of their models, and the choice is within the limit."""
    validation = images(100, 5)
    found = search(trained, images(200, 1), None, 5.0, validation, FAST, shares=(0.9,), step=1, by=("macs",))
    original, *others = found.candidates
    assert original.plan is None
    assert [each.precision for each in found.candidates] == ["float32", "int8"] * (len(found.candidates) // 2)
    assert len(others) == (3 if not found.unreached else 1)
    for each in found.candidates:
        (output,) = (output.name for output in each.model.graph.output)
        session = Session(each.model)
        right = [
            session({"x": x[None]})[output].argmax() == label
            for x, label in zip(validation["x"], validation["labels"], strict=True)
        ]
        assert each.accuracy == pytest.approx(np.mean(right), abs=0.011)
        assert each.latency > 0
    assert found.chosen is not None
    assert found.chosen.accuracy >= original.accuracy - 0.05 - 1e-9
    assert found.chosen in found.candidates


@pytest.mark.tvm
def test_a_search_of_widths_and_precisions(trained: onnx.ModelProto) -> None:
    """The default way: each candidate has the precisions that it names, and answers as accurately as it says."""
    validation = images(100, 5)
    found = search(trained, images(200, 1), None, 50.0, validation, FAST, shares=(0.9,), step=4)
    for each in found.candidates:
        operators = {node.op_type for node in each.model.graph.node}
        assert ("QuantizeLinear" in operators) == (each.precision != "float32")
        assert bool(each.in_float) == (each.precision == "mixed")
        names = {node.name for node in each.model.graph.node}
        assert set(each.in_float) <= names
        session = Session(each.model)
        answers = np.concatenate([next(iter(session({"x": x[None]}).values())) for x in validation["x"]])
        assert each.accuracy == pytest.approx((answers.argmax(1) == validation["labels"]).mean(), abs=0.011)
    assert {each.by for each in found.candidates} <= {"original", "joint"}
    assert len(found.candidates) == 3 or found.unreached


def test_batches_of_several() -> None:
    """A model that takes 4 samples at once has whole batches to train on and to validate."""
    found = search(convolutions("4"), images(100, 1), None, 90.0, None, FAST, shares=(0.999,), by=("macs",))
    assert found.candidates[0].accuracy >= 0


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "two limits": ({"latency": 1.0, "max_drop": 1.0}, "give either a latency or a largest drop"),
    "no limit": ({}, "give either a latency or a largest drop"),
    "drop": ({"max_drop": -1.0}, "the largest drop must be from 0 to 100 percentage points, got -1"),
    "way": ({"max_drop": 1.0, "by": ("luck",)}, "choose by one or more of: joint, kernels, .*; got luck"),
    "shares": ({"max_drop": 1.0, "shares": (1.5,)}, "shares of the latency must be between 0 and 1"),
    "changes": ({"max_drop": 1.0, "augment": "turn"}, "unknown change of images 'turn'"),
    "labels": ({"max_drop": 1.0, "data": {"x": images(9, 0)["x"]}}, "a search needs data with labels"),
}


@pytest.mark.parametrize(("changed", "message"), BAD.values(), ids=BAD.keys())
def test_bad_arguments(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(**{"model": convolutions(), "data": images(20, 0), **changed})


def test_the_command(trained: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(trained, tmp_path / "in.onnx")
    np.savez(tmp_path / "data.npz", allow_pickle=False, **images(120, 1))
    paths = [str(tmp_path / name) for name in ("in.onnx", "out.onnx")]
    options = ["--data", f"{tmp_path}/data.npz", "--max-drop", "100", "--shares", "0.9", "--epochs", "1", "--step", "1"]
    files = ["--json", f"{tmp_path}/found.json", "--report", f"{tmp_path}/report"]
    assert main(["search", *paths, *options, "--by", "macs", *files]) == 0
    out, err = capsys.readouterr()
    assert "chosen" in out
    assert err == ""
    onnx.checker.check_model(str(tmp_path / "out.onnx"))
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["candidates"][found["chosen"]]["latency"] == min(each["latency"] for each in found["candidates"])
    assert (tmp_path / "report" / "candidates.png").read_bytes()[1:4] == b"PNG"
    with pytest.raises(SystemExit) as stopped:
        main(["search", *paths, "--data", f"{tmp_path}/data.npz", "--latency", "1", "--shares", "2"])
    assert stopped.value.code == 2
    assert "shares of the latency must be between 0 and 1" in capsys.readouterr().err
