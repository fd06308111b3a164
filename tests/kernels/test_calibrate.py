"""``python -m kernels.calibrate``: its fits, its command line, and what a measured model must obey on any CPU."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import MachineModel, _native, available_dtypes, available_isas, calibrate, register_tiles
from kernels.machine_model import LEVELS
from tests.kernels.machine_models import LANES, VECTOR_ISAS


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 12))
def test_least_squares_are_those_of_scipy(seed: int, unknowns: int, equations: int) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(seed)
    matrix, values = rng.standard_normal((equations, unknowns)), rng.standard_normal(equations)
    x = calibrate.nonnegative_least_squares(matrix, values)
    _, least = optimize.nnls(matrix, values)
    assert (x >= 0).all()
    assert np.linalg.norm(matrix @ x - values) == pytest.approx(least, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_least_squares_are_optimal(seed: int, unknowns: int) -> None:
    """The conditions of Karush, Kuhn and Tucker: no unknown above 0 has a gradient, none at 0 a negative one."""
    rng = np.random.default_rng(seed)
    matrix, values = rng.standard_normal((8, unknowns)), rng.standard_normal(8)
    x = calibrate.nonnegative_least_squares(matrix, values)
    gradient = matrix.T @ (matrix @ x - values)
    assert (x >= 0).all()
    assert np.abs(gradient[x > 0]).max(initial=0) < 1e-9
    assert gradient[x == 0].min(initial=0) > -1e-9


COSTS = st.floats(0.01, 100)


@settings(deadline=None)
@given(COSTS, COSTS, st.tuples(COSTS, COSTS, COSTS))
def test_a_fit_recovers_exact_costs(start: float, first: float, increases: tuple[float, float, float]) -> None:
    steps = first + np.cumsum([0.0, *increases])
    points = [(level, k, start + k * steps[level]) for level in range(len(LEVELS)) for k in (32, 128, 256)]
    fitted, errors = calibrate.fit_tile(points)
    np.testing.assert_allclose(fitted, [start, *steps], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(errors, 0, atol=1e-9)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_a_fit_of_noise_keeps_the_order_of_the_levels(seed: int) -> None:
    """A level further away never costs less, and nothing is negative, whatever was measured."""
    rng = np.random.default_rng(seed)
    points = [(level, k, float(rng.uniform(1, 1000))) for level in range(len(LEVELS)) for k in (4, 64, 256)]
    fitted, errors = calibrate.fit_tile(points)
    assert (fitted >= 0).all()
    assert (np.diff(fitted[1:]) >= 0).all()
    assert np.isfinite(errors).all()


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CACHE_HOME")}
    return subprocess.run(
        [sys.executable, "-m", "kernels.calibrate", *map(str, arguments)],
        env={**kept, "PYTHONPATH": str(Path(calibrate.__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )


def test_the_command_measures_this_cpu(tmp_path: Path) -> None:
    """The limits hold at any load: the clock is measured next to each tile, and other programs only add time."""
    path = tmp_path / "new folder" / "model.csv"
    process = command("--output", path)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert [file.name for file in path.parent.iterdir()] == ["model.csv"]
    text = path.read_text()
    model = MachineModel.read(path)
    assert process.stdout.splitlines()[-1].startswith(f"{model.id}, measured in ")
    assert process.stdout.splitlines()[-1].endswith(f"written to {path}")
    assert model.text == text, "a measured text has all costs, rounded as it is written"
    assert model.measured
    assert (model.cpu, model.cores) == (_native.cpu_key(), _native.usable_cores())
    assert 0.1 < model.ghz < 10
    for threads in range(1, model.cores + 1):
        assert (model.fork_join_secs(threads) > 0) == (model.barrier_secs(threads) > 0) == (threads > 1)
        for level in range(len(LEVELS)):
            assert 0 < model.bandwidth_gbs(level, threads) < 1e5
    kernels = [line.split(",")[1:3] for line in text.splitlines() if line.startswith("kernels,")]
    assert kernels == [[isa, dtype] for isa in VECTOR_ISAS for dtype in available_dtypes(isa)]
    for isa, dtype in kernels:
        assert f"{isa} {dtype}: " in process.stdout
        for rows, columns in register_tiles(isa, dtype):
            for narrower in (0, _native.lanes(isa, dtype) // 2):
                cycles = [model.tile_cycles(isa, dtype, rows, columns - narrower, 64, level) for level in range(4)]
                assert all(0 < value < math.inf for value in cycles)
                assert cycles == sorted(cycles)
                longer = model.tile_cycles(isa, dtype, rows, columns - narrower, 128)
                assert cycles[1] < longer <= 2 * cycles[1], "start + k * step"


def test_a_cpu_without_vectors_has_no_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "available_isas", lambda: ("reference",))
    model = calibrate.calibrate(1)
    assert model.measured
    assert model.cores == 1
    assert model.bandwidth_gbs(0) > 0
    # Kernels that were not measured are interpolated.
    costs = [line for line in model.text.splitlines() if line.startswith("tile,")]
    assert costs == [line for line in MachineModel.interpolated(1).text.splitlines() if line.startswith("tile,")]


def test_work_of_others_is_not_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "available_isas", lambda: ("reference",))
    secs = iter([100.0, 1e6])
    monkeypatch.setattr(calibrate, "_others_cpu_secs", lambda: next(secs))
    lines: list[str] = []
    calibrate.calibrate(1, lines.append)
    assert lines[-1].startswith("NOT QUIET: others kept ")


def test_cpu_time_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum of proc(5) without idle and iowait, less that of this process."""
    ticks = os.sysconf("SC_CLK_TCK")
    stat = tmp_path / "stat"
    monkeypatch.setattr(calibrate, "_STAT", stat)
    monkeypatch.setattr("time.process_time", lambda: 2.0)
    stat.write_text(f"cpu  {ticks} {ticks} {ticks} 77 88 {ticks} {ticks} {5 * ticks} 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    assert calibrate._others_cpu_secs() == pytest.approx(10 - 2)
    stat.unlink()
    assert calibrate._others_cpu_secs() == 0


@pytest.mark.parametrize("arguments", [["--out", "x"], ["file"], ["--output"], ["--threads", "2"]])
def test_wrong_arguments_exit_2(arguments: list[str]) -> None:
    process = command(*arguments)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("python -m kernels.calibrate: error: ")
    assert process.stderr.count("\n") == 1


def test_version() -> None:
    process = command("--version")
    assert (process.returncode, process.stdout) == (0, f"loopwright {metadata.version('loopwright')}\n")


def test_an_interrupted_measurement_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> MachineModel:
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrate, "calibrate", interrupted)
    assert calibrate.main(["--output", str(tmp_path / "model.csv")]) == 130
    assert capsys.readouterr().err == "Interrupted; nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_no_cache_folder_exits_2() -> None:
    process = command()
    assert process.returncode == 2
    assert "there is no cache folder without HOME or XDG_CACHE_HOME; choose a file with --output" in process.stderr


def test_a_path_that_cannot_be_written_exits_2_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "model.csv", tmp_path, Path("/proc/model.csv")):
        process = command("--output", path)
        assert (process.returncode, process.stdout) == (2, "")
        assert process.stderr.startswith(f"python -m kernels.calibrate: error: cannot write {path}: ")
        assert process.stderr.count("\n") == 1
    process = command(XDG_CACHE_HOME=str(tmp_path / "file"))
    assert process.returncode == 2
    file = f"{tmp_path}/file/loopwright/machines/{_native.cpu_key()}-"
    assert process.stderr.startswith(f"python -m kernels.calibrate: error: cannot write {file}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_measurements_reject_what_would_read_out_of_bounds() -> None:
    usual = {"rows": 1, "halves": 2, "k": 64, "level": 0, "prefetch_bytes": 0, "series": 8}
    wrong = {
        "rows": (0, 29),
        "halves": (0, 17),
        "k": (0, 1 << 17),
        "level": (-1, 4),
        "prefetch_bytes": (-1,),
        "series": (0,),
    }
    for isa in available_isas():
        for name, values in wrong.items():
            for value in values:
                with pytest.raises(ValueError):  # noqa: PT011
                    _native.tile_secs(isa, "float32", **{**usual, name: value})
    if VECTOR_ISAS:
        rows, columns = max(register_tiles(VECTOR_ISAS[0]), key=lambda tile: tile[1])
        halves = 2 * columns // LANES[VECTOR_ISAS[0]]
        for level in (2, 3):
            with pytest.raises(ValueError, match="exceed the memory"):
                _native.tile_secs(VECTOR_ISAS[0], "float32", rows, halves, 1 << 16, level, 0, 64)
    for attempt in (
        lambda: _native.transform_secs("reference", 0, 1),
        lambda: _native.strassen_sum_secs("reference"),
        lambda: _native.cell_secs("reference"),
    ):
        with pytest.raises(ValueError, match="the reference kernels are not measured"):
            attempt()
    for threads in (0, 1025):
        for measure in (_native.fork_join_secs, _native.barrier_secs):
            with pytest.raises(ValueError, match="threads must be between 1 and"):
                measure(threads)
