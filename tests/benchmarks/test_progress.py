"""What ``pytest benchmarks --benchmark`` prints while it measures, in a process of pytest whose output is a pipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.layers.sample import sample
from benchmarks.peers import PEERS

ROOT = Path(__file__).parents[2]
# Tests with the options and hooks of the benchmarks, whose results are invented: the second layer fails, the third one
# is skipped.
CONFTEST = "from benchmarks.conftest import *\n"
MEASURING = """
import pytest
from tests.benchmarks.layers.test_comparison import result
from tests.benchmarks.whole_models.test_comparison import result as model_result

@pytest.mark.measures
def test_speed(layer, threads, results):
    group, shape = layer
    print("captured")
    if shape.name == "resnet50-3a-3x3":
        raise RuntimeError("the process ended\\nby a signal")
    if shape.name == "resnet50-4a-3x3":
        pytest.skip("no such instruction")
    one = result({"default": [0.001] * 3, "oneDNN": [0.002] * 3}, threads, group=group.name)
    results.append(one | {"shape": shape.name, "workload": shape.workload.to_json()})

@pytest.mark.measures
def test_model_speed(whole_model, threads, model_results):
    model_results.append(model_result({"default": 0.004, "onnxruntime": 0.006}, whole_model, threads))
"""
OTHER = "def test_other():\n    pass\n"
ARGUMENTS = ("--benchmark", "--bench-group", "conv3x3", "--bench-threads", "1", "--bench-models", "mnist-cnn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_measuring.py").write_text(MEASURING)
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """Returns the exit code and the lines before the failures and the report."""
    options = ["--rootdir", str(folder)]
    command = [sys.executable, "-m", "pytest", str(folder), *options, *ARGUMENTS, *arguments]
    process = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=folder)
    lines = process.stdout.splitlines()
    ends = [number for number, line in enumerate(lines) if line.startswith("=") and "session starts" not in line]
    return process.returncode, lines[: ends[0]] if ends else lines


def starts(lines: list[str]) -> list[str]:
    """Returns the first word of each line, without empty lines."""
    return [line.split()[0] for line in lines if line.strip()]


EXPECTED = [
    *("conv3x3:", "GFLOP/s", "shape", "resnet50-2a-3x3", "resnet50-3a-3x3,", "resnet50-4a-3x3,", "resnet50-5a-3x3"),
    *("Whole", "model", "mnist-cnn"),
]


@pytest.mark.parametrize("arguments", [(), ("-qq", "-s", "-p", "no:xdist")])
def test_the_plan_and_each_row_are_printed(folder: Path, arguments: tuple[str, ...]) -> None:
    code, lines = run(folder, *arguments)
    assert code == pytest.ExitCode.TESTS_FAILED
    printed = [line for line in lines if "captured" not in line]
    (begin,) = (number for number, line in enumerate(printed) if line.startswith("measures "))
    assert printed[begin].startswith(
        "measures 4 layers of 1 group and 1 whole model on 1 thread, with default schedules"
    )
    rows = printed[printed.index("", begin) :]
    assert starts(rows) == EXPECTED
    assert "resnet50-3a-3x3, 1 thread, FAILED: RuntimeError: the process ended" in rows
    assert "resnet50-4a-3x3, 1 thread, skipped: no such instruction" in rows
    assert not any("\x1b" in line for line in lines)


def test_names_of_tests_on_request(folder: Path) -> None:
    _, lines = run(folder, "-v")
    assert set(EXPECTED) <= set(starts(lines))
    assert any("test_speed[1t-conv3x3-resnet50-2a-3x3]" in line for line in lines)


def test_a_reason_to_skip_is_printed_once(folder: Path) -> None:
    (folder / "test_measuring.py").write_text(MEASURING.replace('shape.name == "resnet50-4a-3x3"', "True"))
    _, lines = run(folder)
    assert sum("no such instruction" in line for line in lines) == 1


def test_other_tests_are_reported_as_always(folder: Path) -> None:
    (folder / "test_a_first.py").write_text(OTHER)
    _, lines = run(folder)
    assert any(line.startswith("test_a_first.py .") for line in lines)
    assert set(EXPECTED) <= set(starts(lines))


def test_without_a_terminal(folder: Path) -> None:
    code, _ = run(folder, "-p", "no:terminal")
    assert code == pytest.ExitCode.TESTS_FAILED


@pytest.mark.skipif(PEERS["oneDNN"].missing() is not None, reason="oneDNN is not installed")
def test_rows_do_not_wait_for_the_end(tmp_path: Path) -> None:
    """The first row of a real measurement is in the pipe before the report is written."""
    chosen = [shape.name for shape in sample("strided")][:2]  # of which each takes three seconds
    command = [sys.executable, "-m", "pytest", str(ROOT / "benchmarks"), "-o", f"cache_dir={tmp_path}", "--benchmark"]
    command += ["--bench-group", "strided", "--bench-threads", "1", "--bench-results", str(tmp_path / "results")]
    command += ["-k", f"test_speed and ({' or '.join(chosen)})"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(chosen[0]):
                assert not list((tmp_path / "results").iterdir())
                break
        rest = process.stdout.read()
    assert process.returncode == 0
    assert [line.split()[0] for line in rest.splitlines() if line.startswith(tuple(chosen[1:]))][:1] == chosen[1:]
    assert (tmp_path / "results" / "strided.json").is_file()
