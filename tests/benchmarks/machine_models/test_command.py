from __future__ import annotations

from pathlib import Path

import pytest

import kernels
from benchmarks.machine_models.command import Difference, main, model_of, summary
from compiler.measure.comparison import Ratio


def test_models_are_found_by_name_and_in_files(tmp_path: Path) -> None:
    assert not model_of("interpolated").measured
    for model in kernels.MachineModel.built_in():
        assert model_of(model.id) == model
    (tmp_path / "model.csv").write_text(kernels.MachineModel.interpolated(3).text)
    assert model_of(str(tmp_path / "model.csv")).cores == 3


def test_an_unknown_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        raise SystemExit(main(["--model", "no-such-model"]))
    assert stopped.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "unknown machine model 'no-such-model'; choose from interpolated" in error


def test_the_summary_counts_equal_schedules_as_equal_speed() -> None:
    found = [
        Difference("dense", "a", 1, None),
        Difference("dense", "b", 1, Ratio(0.81, 0.8, 0.82)),
        Difference("dense", "a", 2, None),
    ]
    assert list(summary(found)) == [
        "1 thread: loss 10.0% over 2 layers, 1 of them with another schedule; least 0.810 (b)",
        "2 threads: loss 0.0% over 1 layers, 0 of them with another schedule; least 1.000 (a)",
    ]
