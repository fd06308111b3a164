"""Curves that a prediction is compared with are read from files of ``curves``, or rejected in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.scaling.known import PAST, known


def test_a_file_of_curves(tmp_path: Path) -> None:
    file = tmp_path / "curves.json"
    results = [
        {"name": "m", "threads": n, "secs": {"default": secs, "openvino": 1.0}} for n, secs in ((1, 0.4), (2, 0.25))
    ]
    file.write_text(json.dumps([*results, {"name": "other", "threads": 4, "secs": {"default": 1.0}}]))
    found = known(str(file), "m")
    assert found.secs == {1: 0.4, 2: 0.25}
    assert found.speedups == pytest.approx({1: 1.0, 2: 1.6})
    assert found.fork_join is None
    for model in ("other", "absent"):
        with pytest.raises(ValueError, match=f"has no curve of {model} with one thread"):
            known(str(file), model)


@pytest.mark.parametrize("text", ["", "{", "3", "[3]", '{"a": 1}', '[{"name": "m"}]', '[{"name": "m", "secs": 3}]'])
def test_other_files_are_rejected(text: str, tmp_path: Path) -> None:
    file = tmp_path / "curves.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="is not a file of"):
        known(str(file), "m")


def test_the_past_curve_is_of_one_model() -> None:
    assert known("past", PAST.model) is PAST
    assert PAST.speedups[16] == pytest.approx(3.94, abs=0.005)
    with pytest.raises(ValueError, match="not of m"):
        known("past", "m")
