"""``bench --api`` and ``--scenario``: output, files and wrong combinations. No test checks a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler.__main__ import main
from compiler.measure import affinity
from tests.compiler.commands.conftest import SHAPES, Built

pytestmark = pytest.mark.tvm


@pytest.mark.parametrize("argv", [("sync",), ("async",), ("async", "--streams", "1")])
def test_both_modes_and_their_file(argv: tuple[str, ...], built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    assert _bench(built.onnx, "--api", *argv, "--peers", "onnxruntime,ncnn", "--json", "r.json") == 0
    printed = capsys.readouterr().out
    content = json.loads(Path("r.json").read_text())
    ours, *others = content["results"]
    assert ours["name"] == "loopwright"
    assert ours["gain"] is None
    assert ours["fps"] == pytest.approx(4 * ours["count"] / ours["duration"])  # four rows in both inputs
    assert content["api"] == argv[0]
    assert content["streams"] == ours["requests"] == 1
    for other in others:
        assert other["gain"]["value"] == pytest.approx(ours["rate"] / other["rate"])
    assert "FPS: 4 × Count / Duration" in printed
    if argv[0] == "async":
        assert "ncnn is not measured with several requests at once" in content["left_out"]["ncnn"]


@pytest.mark.skipif(affinity.physical() < 2, reason="needs two cores")
def test_two_streams(built: Built) -> None:
    argv = ["--threads", "2", "--api", "async", "--duration", "0.01", "--peers", "onnxruntime", "--json", "r.json"]
    assert main(["bench", str(built.onnx), *SHAPES, *argv]) == 0
    content = json.loads(Path("r.json").read_text())
    assert (content["streams"], content["threads_per_stream"], len(content["cores"])) == (2, 1, 2)
    assert [each["requests"] for each in content["results"]] == [2, 2]


@pytest.mark.parametrize("scenario", [("SingleStream",), ("Offline",), ("Server", "--latency-bound", "1000")])
def test_loadgen(scenario: tuple[str, ...], built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mlperf_loadgen", reason="needs the extra 'loadgen'")
    argv = ("--scenario", *scenario, "--peers", "none", "--json", "r.json", "--logs", "logs")
    assert _bench(built.onnx, *argv) == 0
    (ours,) = json.loads(Path("r.json").read_text())["results"]
    assert ours["value"] > 0
    assert f": {scenario[0]}: " in capsys.readouterr().out
    assert Path("logs/loopwright-0/mlperf_log_summary.txt").is_file()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--api async --scenario Offline", "leave out --api"),
        ("--api sync --streams 2", "argument --streams: only with"),
        ("--api async --streams 2", "2 streams need as many threads, and there are 1"),
        ("--api async --streams 0", "not a whole number of 1 or more"),
        ("--scenario Server", "argument --latency-bound: --scenario Server needs it"),
        ("--api sync --latency-bound 3", "argument --latency-bound"),
        ("--logs x", "argument --logs: only with --scenario"),
    ],
)
def test_wrong_combinations(argv: str, message: str, built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _bench(built.onnx, *argv.split())
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def _bench(model: Path, *argv: str) -> int:
    return main(["bench", str(model), *SHAPES, "--threads", "1", "--duration", "0.01", "--no-pin", *argv])
