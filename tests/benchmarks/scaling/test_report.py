"""The tables of the scaling benchmark, and its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.scaling import chart, report
from benchmarks.scaling.known import Known
from benchmarks.scaling.predict import Costs, predict
from benchmarks.scaling.simulated import Call

COSTS = Costs("those of a test", lambda threads: 1e-6 * (threads - 1), lambda threads: 10.0 * threads)
ONE = [Call("n1", "conv2d", 40e-6), Call("n2", "softmax", 10e-6)]
TWO = [Call("n1", "conv2d", 0.0, ((20e-6, 21e-6),), {"L2": 1000}), Call("n2", "softmax", 0.0, ((9e-6, 3e-6),))]


def curve(threads: int, **secs: float) -> dict[str, Any]:
    about = {"cpu": "C", "isa": "avx2", "versions": {"openvino": "1"}, "skipped": {}, "cores_busy_with_others": 0.0}
    return {"name": "m", "threads": threads, "secs": secs, **about}


def test_predictions_name_their_costs_and_the_error() -> None:
    predictions = [predict(ONE, calls, threads, COSTS) for threads, calls in ((1, ONE), (2, TWO))]
    lines = list(report.prediction_lines(predictions, COSTS, Known("a machine", "m", {1: 1.0, 2: 0.64})))
    assert lines[0] == "costs: those of a test"
    assert lines[1] == "fork and join of a region, µs by threads: 1: 0.0, 2: 1.0"
    # 30 µs of the longest shares and 2 µs of forks and joins, of 50 µs
    assert lines[3].splitlines()[-1].split() == ["2", "1.06", "2", "0.03", "0.00", "0.00", "0.03", "1.56", "1.56"]
    assert lines[4].startswith("compared with a machine: largest error 0%")
    assert lines[4].endswith("is trusted")


def test_layers_that_miss_a_target_are_marked() -> None:
    *table, last = "\n".join(report.layer_lines(ONE, TWO, 2, COSTS)).splitlines()
    assert not table[2].endswith("!")
    assert table[3].endswith("!")
    assert last.startswith("2 threads: 1 of 2 calls with work at most 1.05")


def test_curves_have_speedups() -> None:
    results = [curve(1, default=0.004, openvino=0.006), curve(2, default=0.002, openvino=0.004)]
    lines = "\n".join(report.curve_lines(results)).splitlines()
    assert lines[-2].split() == ["m", "ours", "4.000", "2.000", "2.00"]
    assert lines[-1].split() == ["m", "openvino", "6.000", "4.000", "1.50"]
    assert report.speedups({2: 1.0}) == {}


def test_a_disturbed_run_that_misses_its_target_says_so() -> None:
    def run(name: str, most: float | None, one: float, two: float) -> dict[str, Any]:
        secs = {"1": one, "2": two}
        kinds = {f"{kind}_secs": secs for kind in ("mean", "median", "p99")}
        return {"disturbance": name, "most": most, "cores_busy_with_others": 0.5, **kinds}

    runs = [run("none", None, 0.01, 0.005), run("always busy", 1.1, 0.01, 0.012), run("at times", 0.8, 0.01, 0.007)]
    lines = list(report.disturbed_lines({"name": "m", "threads": 2, "cpu": "C", "isa": "avx2", "runs": runs}))
    assert lines[1].startswith("NOT QUIET")
    table = lines[2].splitlines()
    assert table[-3].endswith("0.50")
    assert table[-2].endswith("1.20  1.1 missed")
    assert table[-1].endswith("0.70         0.8")


def test_a_picture(tmp_path: Path) -> None:
    panels = {"m": {"predicted": {1: 1.0, 4: 3.5, 16: 11.0}, "openvino": {1: 1.0, 2: 1.8}}, "n": {"default": {1: 1.0}}}
    chart.draw(panels, ["a machine"], tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
