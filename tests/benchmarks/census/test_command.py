"""The census on small models: those that were fetched, and files with a known outcome in place of fetched ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import compiler
from benchmarks.census import check, command, report
from benchmarks.models import census
from benchmarks.models.archives import Archive
from compiler.measure import isolated
from compiler.runtimes import OURS
from tests.graph_passes.models import model

pytestmark = pytest.mark.tvm

NET = model("g (float[2,8] x) => (float[2,4] y) <float[8,4] w> { a = MatMul (x, w) y = Softplus (a) }")


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[onnx.ModelProto], str]:
    """Returns a function that puts a model into an otherwise empty census and returns its name."""
    monkeypatch.setattr(census, "CENSUS_FOLDER", tmp_path)
    monkeypatch.setattr(census, "ARCHIVES", {"some": Archive("some==1.0", "0" * 64, 1, "MIT")})
    entry = census.CensusModel("one", "a model", "some", "one.onnx", (census.Input("x", (2, 8)),))
    monkeypatch.setattr(census, "CENSUS", {"one": entry})

    def put(original: onnx.ModelProto) -> str:
        onnx.save(original, entry.path)
        return "one"

    return put


@pytest.mark.parametrize("name", [name for name, entry in census.CENSUS.items() if entry.small])
def test_a_small_model_agrees(name: str) -> None:
    if reason := census.missing(name):
        pytest.skip(reason)
    found = [check.passes(name), check.build(name, threads=1), check.build(name, threads=2)]
    assert all(part["outcome"] in (check.AGREES, check.REJECTED) for part in found), found
    assert found[0]["outcome"] == check.AGREES, found[0]


def test_a_right_model(one: Callable[[onnx.ModelProto], str]) -> None:
    name = one(NET)
    assert check.passes(name)["outcome"] == check.AGREES
    found = check.build(name, 1)
    assert (found["outcome"], found["why"], found["kernels"]) == (check.AGREES, "", 1)
    assert found["off"] < 0.1


def outcome(monkeypatch: pytest.MonkeyPatch, name: str, build: Callable[..., Any]) -> dict[str, Any]:
    monkeypatch.setattr("compiler.build", build)
    return check.build(name, 1)


class Compiled:
    """A compiled model with a bug."""

    layers = ()

    def __init__(self, run: Callable[[Any], Any]) -> None:
        self.run = run


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("build", "expected", "why"),
    [
        (raising(ValueError("X is not supported")), check.REJECTED, "X is not supported"),
        (raising(ValueError("two\nlines")), check.FAILED, "ValueError: two"),
        (raising(ValueError("")), check.FAILED, "ValueError: no message"),
        (raising(KeyError("x")), check.FAILED, "KeyError: 'x'"),
        (lambda *_, **__: Compiled(raising(ValueError("late"))), check.FAILED, "when it runs: ValueError: late"),
        (
            lambda *_, **__: Compiled(lambda _: {"y": np.zeros((2, 4), np.float32)}),
            check.WRONG,
            "y differs by 1 of its",
        ),
        (lambda *_, **__: Compiled(lambda _: {}), check.WRONG, "y differs by inf of its scale (0.0001 allowed)"),
    ],
)
def test_outcomes(
    one: Callable[[onnx.ModelProto], str],
    monkeypatch: pytest.MonkeyPatch,
    build: Callable[..., Any],
    expected: str,
    why: str,
) -> None:
    found = outcome(monkeypatch, one(NET), build)
    assert found["outcome"] == expected
    assert found["why"].startswith(why)


def test_a_wrong_pass(one: Callable[[onnx.ModelProto], str], monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.compiler.check.test_check import Scales

    monkeypatch.setattr(check, "passes_of_build", lambda: ["freeze_shapes", Scales("MatMul"), "fold_constants"])
    found = check.passes(one(NET))
    assert found["outcome"] == check.WRONG
    assert found["worst"] == "scales"
    assert found["why"].startswith("after scales: y differs by ")


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each check is in a separate process; one that crashes is a result."""
    calls = []

    def run(module: str, arguments: list[str], _limit: float) -> dict[str, Any]:
        calls.append((module, *arguments))
        if "build" in arguments and arguments[-1] == "2":
            raise RuntimeError("-m benchmarks.census was ended by signal 11")
        return {
            "outcome": "agrees",
            "why": "",
            "off": 0.25,
            "spread": 1e-6,
            "allowed": 1e-4,
            "seconds": 1.5,
            "kernels": 3,
        }

    monkeypatch.setattr(isolated, "run", run)
    monkeypatch.setattr(census, "missing", lambda name: None if name in ("mnist", "ppocr-cls") else "absent")
    assert command.run([], command.Measuring([1, 2], None), Path("results.json")) == 1
    assert len(calls) == 6
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["ppocr-cls", "1.0e-06", "1.0e-04", "0.25", "1", "agrees", "0.25", "3", "1.5"]
    assert "ppocr-cls, threads 2: failed: -m benchmarks.census was ended by signal 11" in lines
    assert lines[-1] == "2 models; builds: 2 agrees, 2 failed"
    assert [result["model"] for result in json.loads(Path("results.json").read_text())] == ["ppocr-cls", "mnist"]
    assert command.run(["mnist"], command.Measuring([1], None), None) == 0
    with pytest.raises(ValueError, match="absent"):
        command.run(["basic-pitch"], command.Measuring([1], None), None)


def test_a_rejected_model_is_not_bad() -> None:
    good = {"outcome": "agrees", "why": ""}
    assert not report.bad([{"passes": good, "builds": {1: {"outcome": "rejected", "why": "X"}}}])
    assert report.bad([{"passes": good, "builds": {1: {"outcome": "wrong", "why": "X"}}}])
    assert report.bad([{"passes": {"outcome": "wrong", "why": "X"}, "builds": {1: good}}])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--page", "file/docs"], "cannot create the folder file/docs: "),
        (["--page", "docs"], "cannot write docs/census.md: "),
        (["--answers", "--page", "docs"], "argument --page: a page has times, so it takes neither --answers nor"),
        (["--profile", "--page", "docs"], "argument --page: a page has times, so it takes neither --answers nor"),
        (["--profile", "--json", "results.json"], "argument --json: not allowed with argument --profile"),
        (["--json", "no/results.json"], "cannot write no/results.json: "),
        (["--isa", "avx512"], "this CPU has no avx512; it has: avx2, reference"),
    ],
)
def test_wrong_arguments_exit_2_before_anything_is_measured(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kernels.available_isas", lambda: ("avx2", "reference"))
    Path("file").write_text("")
    Path("docs/census.md").mkdir(parents=True)  # in the place of a file
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"python -m benchmarks.census: error: {message}")
    assert printed.err.count("\n") == 1


def test_only_the_given_models_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[list[str]] = []
    monkeypatch.setattr(command, "fetch", lambda models: wanted.append([model.name for model in models]) or 0)
    monkeypatch.setattr(command, "run", lambda *_: 0)
    assert command.main(["basic-pitch", "--fetch", "--answers"]) == 0
    assert command.main(["--fetch", "--answers"]) == 0
    assert command.main(["--answers"]) == 0
    assert wanted == [["basic-pitch"], list(census.CENSUS)]
    with pytest.raises(SystemExit, match="2"):
        command.main(["nope", "--fetch"])


def test_the_reason_of_a_runtime_that_is_left_out_is_printed_once() -> None:
    good = {"outcome": "agrees", "why": "", "off": 0.25}
    times = {
        "secs": {OURS: [[1.0]]},
        "left_out": {"openvino": "openvino cannot run here: pip install openvino"},
        "segments_share": 0.0,
    }
    results = [{"model": m, "passes": good, "builds": {1: good}, "times": {1: times, 2: times}} for m in ("a", "b")]
    lines = list(report.lines(results))
    assert "Left out: openvino (a, b): openvino cannot run here: pip install openvino" in lines
    assert sum(line.startswith("Left out") for line in lines) == 1


def test_answers_are_checked_on_the_isa(one: Callable[[onnx.ModelProto], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The ISA reaches the process of a build, and the build."""
    calls = []

    def run(_module: str, arguments: list[str], _limit: float) -> dict[str, Any]:
        calls.append(arguments)
        return {"outcome": "agrees", "why": "", "off": 0.25, "spread": 1e-6, "allowed": 1e-4}

    monkeypatch.setattr(isolated, "run", run)
    name = one(NET)
    assert command.run([name], command.Measuring([1], None, "avx2"), None) == 0
    assert calls[-1] == [name, "--stage", "build", "--threads", "1", "--isa", "avx2"]
    targets, build = [], compiler.build

    def watched(*args: Any, **named: Any) -> Any:
        targets.append(named["target"])
        return build(*args, **named)

    monkeypatch.setattr("compiler.build", watched)
    assert check.build(name, 1, "reference")["outcome"] == check.AGREES
    assert check.build(name, 1)["outcome"] == check.AGREES
    assert targets == ["reference", "host"]
