"""The census in TVM's importer on small models: those that were fetched, and files with a known outcome."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchmarks.models import census
from benchmarks.models.archives import Archive
from benchmarks.tvm_import import check, command, report
from compiler.measure import isolated
from compiler.program import tvm_pair
from tests.graph_passes.models import model

pytestmark = pytest.mark.tvm

LOOP = """g (float[N, 4] x) => (float[N, 4] y) <float[4, 4] w> {
    three = Constant <value_int = 3> ()
    yes = Constant <value = bool {1}> ()
    y = Loop <body = b (int64 i, bool c, float[N, 4] s) => (bool d, float[N, 4] t) {
        d = Identity (c)  p = MatMul (s, w)  t = Tanh (p) }> (three, yes, x)
}"""


@pytest.fixture(autouse=True)
def with_tvm() -> None:
    try:
        tvm_pair.check()
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[onnx.ModelProto], str]:
    """Returns a function that puts a model into an otherwise empty census and returns its name."""
    monkeypatch.setattr(census, "CENSUS_FOLDER", tmp_path)
    monkeypatch.setattr(census, "ARCHIVES", {"some": Archive("some==1.0", "0" * 64, 1, "MIT")})
    entry = census.CensusModel("one", "a model", "some", "one.onnx", (census.Input("x", (2, 4)),))
    monkeypatch.setattr(census, "CENSUS", {"one": entry})

    def put(original: onnx.ModelProto) -> str:
        onnx.save(original, entry.path)
        return "one"

    return put


@pytest.mark.parametrize("name", [name for name, entry in census.CENSUS.items() if entry.small])
def test_a_small_model_is_imported(name: str) -> None:
    if reason := census.missing(name):
        pytest.skip(reason)
    found = check.imported(name, check.FOR_TVM)
    assert found["imported"], found
    assert found["agrees"], found


def test_a_loop_is_imported_and_runs_after_the_passes_for_tvm(one: Callable[[onnx.ModelProto], str]) -> None:
    name = one(model(LOOP))
    published, default, rewritten = (check.imported(name, form) for form in check.FORMS)
    assert (published["imported"], published["operator"], published["agrees"]) == (False, "Loop", None)
    assert (default["imported"], default["operator"], default["agrees"]) == (False, "Loop", True)
    assert (rewritten["imported"], rewritten["agrees"]) == (True, True)
    assert rewritten["nodes"] == 6
    ran = check.run(name)
    assert ran["runs"], ran


def test_a_model_that_tvm_rejects(one: Callable[[onnx.ModelProto], str]) -> None:
    name = one(model("g (float[2, 4] x) => (float y) { t = Transpose (x)  s = MatMul (x, t)  y = Det (s) }"))
    found = check.imported(name, check.PUBLISHED)
    assert (found["imported"], found["operator"]) == (False, "Det")
    assert found["why"].startswith("OpNotImplemented: The following operators are not supported")


def test_a_wrong_rewriting(one: Callable[[onnx.ModelProto], str], monkeypatch: pytest.MonkeyPatch) -> None:
    name = one(model("g (float[2, 4] x) => (float[2, 4] y) { y = Tanh (x) }"))
    other = model("g (float[2, 4] x) => (float[2, 4] y) { y = Sigmoid (x) }")
    monkeypatch.setattr(check, "rewritten", lambda *_: other)
    found = check.imported(name, check.FOR_TVM)
    assert (found["imported"], found["agrees"]) == (True, False)
    assert found["why"].startswith("y differs by ")
    assert report.bad([{"model": name, check.FOR_TVM: found}])


def test_a_rejected_shape(one: Callable[[onnx.ModelProto], str]) -> None:
    name = one(model("g (float[3, 4] x) => (float[3, 4] y) { y = Tanh (x) }"))
    found = check.imported(name, check.FOR_TVM)
    assert (found["imported"], found["operator"]) == (False, "passes")
    assert "does not fit" in found["why"]


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each check is in a separate process; one that crashes is a result."""

    def run(module: str, arguments: list[str], _limit: float) -> dict[str, Any]:
        assert module == "benchmarks.tvm_import"
        name, _, stage = arguments
        if stage == "run":
            return {"runs": True, "why": "", "off": 0.5, "seconds": 2.0}
        if (name, stage) == ("mnist", "published"):
            return {"imported": False, "agrees": None, "operator": "Loop", "why": "OpNotImplemented: Loop"}
        if (name, stage) == ("mnist", "for_tvm"):
            raise RuntimeError("-m benchmarks.tvm_import was ended by signal 11")
        agrees = None if stage == "published" else True
        found = {"imported": True, "agrees": agrees, "operator": "", "why": "", "nodes": 9, "seconds": 1.5}
        return found | {"off": 0.25 if agrees else None}

    monkeypatch.setattr(isolated, "run", run)
    monkeypatch.setattr(census, "missing", lambda name: None if name in ("mnist", "ppocr-cls") else "absent")
    assert command.run([], [*check.FORMS, "run"], Path("results.json")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["ppocr-cls", "yes", "yes", "yes", "agrees", "0.25", "9", "1.5", "right"]
    assert lines[2].split() == ["mnist", "Loop", "yes", "?", "right"]
    assert "mnist: published: Loop: OpNotImplemented: Loop" in lines
    assert "mnist: for_tvm: ?: -m benchmarks.tvm_import was ended by signal 11" in lines
    assert "2 models; TVM imports 1 as published, 2 after the default passes, 1 for TVM" in lines
    assert lines[-1] == "2 of 2 are built and give the right answers in TVM"
    assert [result["model"] for result in json.loads(Path("results.json").read_text())] == ["ppocr-cls", "mnist"]
    with pytest.raises(ValueError, match="absent"):
        command.run(["basic-pitch"], ["published"], None)


def test_forms_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--forms", "published,best"])
    assert ended.value.code == 2
    assert "there is no form 'best'; choose from: published, default, for_tvm" in capsys.readouterr().err
