"""The benchmark of recurrent layers measures what it says, and checks the answers first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import kernels
from benchmarks.recurrent import command, layers, measure, report
from compiler.workloads.workload import Workload
from tests.graph_passes import oracle

SMALL = Workload("gru", (2, 3, 2, 4, 5))


def test_copies_have_different_weights_and_exceed_the_caches() -> None:
    large = Workload("lstm", (1, 1, 1, 512, 512))
    copies = layers.copies_beyond_caches(large)
    assert copies * 4 * np.prod(large.input_shapes["weight"]) > max(kernels.cache_bytes())
    model = layers.model(SMALL, copies=3)
    weights = [tensor.raw_data for tensor in model.graph.initializer if tensor.name.startswith("w")]
    assert len(set(weights)) == 3
    y, h = oracle.run(model, {"x": np.ones((3, 2, 4), np.float32)})
    assert y.shape == SMALL.output_shape
    assert h.shape == (2, 2, 5)


@pytest.mark.tvm
@pytest.mark.parametrize("cold", [False, True])
def test_a_layer_is_measured_in_both_runtimes(cold: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_MOST_COPIES", 4)
    result = measure.measure_layer(SMALL, threads=1, cold=cold, duration=0.0)
    assert result["copies"] == (4 if cold else 1)
    assert set(result["secs"]) == set(measure.RUNTIMES)
    text = "\n".join(report.lines([json.loads(json.dumps(result))]))
    assert "gru 3 steps of 2x4, 2x5 units" in text
    assert ("memory" if cold else "caches") in text


@pytest.mark.tvm
def test_the_command_writes_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_module: str, arguments: list[str], _limit_secs: float) -> object:
        monkeypatch.setattr(command.affinity, "pin", lambda _threads: [0])
        monkeypatch.setattr(command, "workloads", lambda _cells, _directions, _cold: [SMALL])
        assert command.main([*arguments, "--json", str(tmp_path / "part.json")]) == 0
        return json.loads((tmp_path / "part.json").read_text())

    monkeypatch.setattr(command.isolated, "run", run)
    arguments = ["--cells", "gru", "--threads", "1", "--duration", "0.01", "--json", str(tmp_path / "all.json")]
    assert command.main(arguments) == 0
    assert "times as fast" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "all.json").read_text())) == 1


def test_an_unknown_cell_is_a_wrong_argument() -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--cells", "qrnn"])
    assert ended.value.code == 2
