"""The options of the benchmarks: the collected tests with and without ``--benchmark``, and invalid options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compiler.workloads.target import usable_cores

ROOT = Path(__file__).parents[2]


def collect(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", str(ROOT / "benchmarks"), "--collect-only", "-q", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_without_the_option_nothing_is_timed() -> None:
    listed = collect().stdout
    assert "test_our_answer[conv3x3-resnet50-5a-3x3]" in listed
    assert "test_answer_of_peer[conv3x3-resnet50-5a-3x3-oneDNN]" in listed
    assert "test_model_answer[1t-mnist-cnn-default]" in listed
    assert "speed" not in listed


def test_with_it_a_sample_is() -> None:
    listed = collect("--benchmark", "--bench-threads", "1").stdout
    assert "test_speed[1t-dense-square-512]" in listed
    assert "test_speed[1t-conv3x3-resnet50-2a-3x3]" in listed
    assert "test_model_speed[1t-resnet50]" in listed
    assert "test_model_speed[1t-mnist-cnn]" in listed
    assert "answer" not in listed
    assert "2t" not in listed
    assert "batch8" not in listed
    assert "dense-awkward-thin" not in listed
    assert "efficientnet-lite0]" not in listed
    assert listed.startswith("measures ")


def test_everything_on_request() -> None:
    listed = collect("--benchmark", "--bench-threads", "1", "--bench-all").stdout
    assert "test_speed[1t-dense-awkward-thin]" in listed
    assert "test_model_speed[1t-efficientnet-lite0]" in listed
    assert "a fixed sample" not in listed


def test_groups_and_batches_can_be_chosen() -> None:
    listed = collect("--benchmark", "--bench-group", "first,attention", "--bench-batch", "8").stdout
    rows = {line.partition("t-")[2].rstrip("]") for line in listed.splitlines() if "::test_speed" in line}
    assert rows == {
        *("first-resnet50-stem-batch8", "first-mobilenetv2-stem-batch8", "first-efficientnet-lite0-stem-batch8"),
        *("attention-bert-base-heads-batch8", "attention-minilm-heads-batch8"),
    }


def test_models_can_be_chosen() -> None:
    listed = collect("--benchmark", "--bench-threads", "1", "--bench-models", "minilm,vgg19").stdout
    rows = [line.partition("test_model_speed")[2] for line in listed.splitlines() if "test_model_speed" in line]
    assert rows == ["[1t-minilm]", "[1t-vgg19]"]


@pytest.mark.parametrize("counts", ["0", "one,2"])
def test_wrong_thread_counts(counts: str) -> None:
    process = collect("--benchmark", "--bench-threads", counts)
    assert process.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"must be numbers between 1 and {usable_cores()} such as 1,2; got '{counts}'" in process.stderr


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--bench-group", "dense,no-such", "must be some of dense, few-bits, conv1x1, "),
        ("--bench-batch", "2", "must be some of 1, 8; got '2'"),
        ("--bench-models", "resnet50,alexnot", "must be some of resnet50, "),
        ("--bench-seconds", "0", "'0' is not a number of seconds above 0"),
        ("--bench-trials", "-1", "'-1' is not a whole number of 0 or more"),
        ("--bench-records", "missing.sqlite", "missing.sqlite; --bench-trials N makes it"),
        ("--bench-results", "/proc/results", "cannot create the folder /proc/results: "),
    ],
)
def test_wrong_choices(option: str, value: str, message: str) -> None:
    process = collect("--benchmark", option, value)
    assert process.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in process.stderr
