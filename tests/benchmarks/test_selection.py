"""What the options select."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import selection
from benchmarks.layers.groups import GROUPS
from benchmarks.layers.sample import SAMPLE
from benchmarks.whole_models.measure import SAMPLED_MODELS, WHOLE_MODELS


def options(**given: object) -> Namespace:
    defaults = {
        "bench_group": ["dense", "first"],
        "bench_batch": [1],
        "bench_all": False,
        "bench_models": None,
        "bench_trials": 0,
        "bench_records": None,
        "bench_results": Path("results"),
    }
    return Namespace(**{**defaults, **given})


def names(option: Namespace) -> list[str]:
    return [shape.name for _, shape in selection.layers(option)]


def test_a_sample_by_default_and_all_layers_on_request() -> None:
    assert sorted(names(options())) == sorted([*SAMPLE["dense"], *SAMPLE["first"]])
    everything = [shape.name for group in ("dense", "first") for shape in GROUPS[group].shapes(1)]
    assert names(options(bench_all=True)) == everything
    assert names(options()) == names(options())


def test_the_heaviest_layers_of_a_batch_are_all_measured() -> None:
    heaviest = [shape.name for shape in GROUPS["first"].shapes(8)]
    assert names(options(bench_group=["first"], bench_batch=[8])) == heaviest
    assert names(options(bench_group=["first"], bench_batch=[1, 8])) == [*SAMPLE["first"], *heaviest]


def test_models() -> None:
    assert selection.whole_models(options()) == list(SAMPLED_MODELS)
    assert selection.whole_models(options(bench_all=True)) == list(WHOLE_MODELS)
    assert selection.whole_models(options(bench_all=True, bench_models=["minilm"])) == ["minilm"]


def test_stored_schedules_are_measured_on_request_only(tmp_path: Path) -> None:
    (tmp_path / "records.sqlite").touch()
    assert selection.records(options(bench_results=tmp_path)) is None
    given = tmp_path / "records.sqlite"
    assert selection.records(options(bench_records=given)) == given
    with pytest.raises(ValueError, match=r"--bench-records: there is no file .*missing; --bench-trials N makes it"):
        selection.records(options(bench_records=tmp_path / "missing"))


def test_a_search_writes_a_file_of_records(tmp_path: Path) -> None:
    assert selection.records(options(bench_trials=2, bench_results=tmp_path)) == tmp_path / "records.sqlite"
    assert selection.records(options(bench_trials=2, bench_records=tmp_path / "other")) == tmp_path / "other"
