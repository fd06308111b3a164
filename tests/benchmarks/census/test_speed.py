"""The times of a small model, and the page and the picture that show them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchmarks.census import command, page, profiles, report, speed
from benchmarks.census.comparison import FLOAT, SEGMENTS, groups
from benchmarks.models import census
from benchmarks.models.archives import Archive
from compiler.runtimes import OURS
from tests.graph_passes.models import model

NET = model("g (float[2,8] x) => (float[2,4] y) <float[8,4] w> { a = MatMul (x, w) y = Softplus (a) }")


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(census, "CENSUS_FOLDER", tmp_path)
    monkeypatch.setattr(census, "ARCHIVES", {"some": Archive("some==1.0", "0" * 64, 1, "MIT")})
    entry = census.CensusModel("one", "a model", "some", "one.onnx", (census.Input("x", (2, 8)),))
    monkeypatch.setattr(census, "CENSUS", {"one": entry})
    onnx.save(NET, entry.path)
    return "one"


def measured(ours: float, peers: dict[str, float], share: float = 0.0) -> dict[str, Any]:
    starts = {"load_secs": 0.5, "first_secs": 0.01, "rest_bytes": 2**20, "peak_bytes": 2**21}
    return {
        "cpu": "a CPU",
        "isa": "avx2",
        "secs": {name: [[secs, secs], [secs, secs]] for name, secs in {OURS: ours, **peers}.items()},
        "versions": dict.fromkeys(peers, "1.0"),
        "build_secs": 1.5,
        "segments_share": share,
        "left_out": {name: "fails" for name in ("onnxruntime", "openvino") if name not in peers},
        "starts": dict.fromkeys((OURS, *peers), starts),
        "file_bytes": {"onnx": 2**20, OURS: 2**21},
    }


def result(name: str, times: dict[str, Any]) -> dict[str, Any]:
    good = {"outcome": "agrees", "why": "", "off": 0.1}
    return {"model": name, "passes": good, "builds": {"1": good}, "times": {"1": times}}


@pytest.mark.tvm
def test_times_of_a_model(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def run(_module: str, arguments: list[str], _limit: float) -> dict[str, float]:
        runtime, file = arguments[arguments.index("--runtime") + 1], Path(arguments[-1])
        started.append(runtime)
        return speed.start(net, runtime, file, threads=1)

    monkeypatch.setattr(speed.isolated, "run", run)
    monkeypatch.setattr(speed, "PEERS", ("onnxruntime", "ncnn-absent"))
    found = speed.times(net, 1, 0.01, None)
    assert set(found["secs"]) == {OURS, "onnxruntime"} == set(started)
    assert "ncnn-absent" in found["left_out"]
    assert all(len(rounds) == speed.ROUNDS and min(map(min, rounds)) > 0 for rounds in found["secs"].values())
    assert all(start["load_secs"] > 0 and start["first_secs"] > 0 for start in found["starts"].values())
    assert min(found["file_bytes"].values()) > 0
    json.dumps(found)


@pytest.mark.tvm
def test_profiles_of_a_model(net: str) -> None:
    lines = "\n".join(profiles.lines(net, 1, None))
    assert "dense" in lines
    assert "MatMul" in lines or "Gemm" in lines


def test_groups_and_their_order() -> None:
    results = [
        result("slow", measured(2.0, {"onnxruntime": 1.0, "openvino": 3.0})),
        result("fast", measured(1.0, {"onnxruntime": 2.0})),
        result("theirs", measured(1.0, {"onnxruntime": 1.0}, share=0.9)),
        result("alone", measured(1.0, {})),
    ]
    by_group = groups(results)[1]
    assert {name: times.ratio and times.ratio.value for name, times in by_group[FLOAT].items()} == {
        "slow": 0.5,
        "fast": 2.0,
        "alone": None,
    }
    assert list(by_group[SEGMENTS]) == ["theirs"]
    lines = list(report.lines(results))
    assert any(line.startswith(f"{FLOAT}: 2, geometric mean 1.000, least 0.500") for line in lines)


def test_the_page(tmp_path: Path) -> None:
    failed = {"outcome": "failed", "why": "ended by signal 11"}
    results = [result("net", measured(1.0, {"onnxruntime": 2.0})), result("broken", failed)]
    text, picture = page.write(results, tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    lines = text.read_text().splitlines()
    assert "| net | 1000.00 | 2000.00 | fails | 2.00 | 2.00 to 2.00 |" in lines
    assert "- broken, times, 1 threads: failed: ended by signal 11" in lines
    assert report.bad(results)


def test_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no model was measured"):
        page.write([], tmp_path)


def test_an_unknown_isa(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--isa", "sse9"])
    assert "avx2" in capsys.readouterr().err
