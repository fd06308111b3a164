"""``compiler.measure.loadgen``: its logs, the search of Server, and LoadGen itself where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.measure import loadgen
from compiler.measure.throughput import Stream

LOG = """:::MLLOG {"key": "loadgen_version", "value": "6.0.17"}
something else
:::MLLOG {"key": "result_validity", "value": "VALID"}
:::MLLOG {"key": "result_samples_per_second", "value": 848.568}
"""


def test_figures_have_loadgens_own_keys() -> None:
    assert loadgen.figures(LOG) == {"result_validity": "VALID", "result_samples_per_second": 848.568}
    with pytest.raises(RuntimeError, match=r"^LoadGen wrote no result$"):
        loadgen.figures("")


@pytest.mark.parametrize("limit", [0.1, 37.0, 74.0, 99.9, 140.0, 1e6])
def test_the_search_finds_the_largest_valid_rate(limit: float) -> None:
    def trial(rate: float) -> loadgen.Trial:
        state = "VALID" if rate <= limit else "INVALID"
        return loadgen.Trial("Server", rate, {"result_validity": state, "result_completed_samples_per_sec": rate})

    trials = loadgen.largest_valid(100.0, trial)
    best = loadgen.best(trials)
    assert len(trials) == loadgen.TRIALS
    assert best.valid == (limit > 1)
    assert loadgen.is_bounded(trials) == (limit < 1e6)
    assert not best.valid or best.metric <= limit
    assert not 1 < limit < 1e6 or best.metric > limit * 0.95


@pytest.mark.parametrize("scenario", loadgen.SCENARIOS)
def test_loadgen_runs(scenario: str, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen", reason="needs the extra 'loadgen'")
    counted: list[int] = []
    found = loadgen.run(scenario, [Stream(lambda: counted.append(1))] * 2, 0.05, 1000.0, 10.0, tmp_path)
    assert found.metric > 0
    assert found.figures["result_validity"] in ("VALID", "INVALID")
    assert len(counted) >= found.figures["result_query_count"]


def test_an_error_of_a_sample_is_raised(tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen", reason="needs the extra 'loadgen'")

    def fail() -> None:
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        loadgen.run("SingleStream", [Stream(fail)], 0.01, 1.0, 1.0, tmp_path)
