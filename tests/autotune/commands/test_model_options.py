"""The options of a model's search. ``test_arguments`` has the invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.commands.arguments import TRIALS_PER_WORKLOAD, parser
from autotune.commands.model_options import model_options
from kernels import Topology
from tests.autotune.tiny_model import CLASSIFIER, CONVOLUTION, WORKLOADS, save_tiny_model


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_model_is_searched_on_the_default_threads_and_for_each_of_its_workloads(empty_directory: Path) -> None:
    path = save_tiny_model(empty_directory)
    options = model_options(parser().parse_args(["--model", str(path)]))
    assert options.workloads == list(WORKLOADS)
    assert options.target.num_cores == Topology.read().default_threads
    assert options.trials == TRIALS_PER_WORKLOAD * len({CONVOLUTION, CLASSIFIER})
    assert (options.graph, options.fast_algorithms, options.strategy) == (False, True, "rl")
    argv = ["--model", str(path), "--trials", "7", "--threads", "1", "--no-fast-algorithms"]
    options = model_options(parser().parse_args(argv))
    assert (options.trials, options.target.num_cores, options.fast_algorithms) == (7, 1, False)


def test_names_of_inputs_may_be_odd(empty_directory: Path) -> None:
    path = save_tiny_model(empty_directory, height="h")
    options = model_options(parser().parse_args(["--model", str(path), "--input-shape", "x:1,16,4,8"]))
    assert options.input_shapes == {"x": (1, 16, 4, 8)}
    assert options.workloads[0].sizes["h"] == 4
    with pytest.raises(ValueError, match="gpu_0/x=y"):  # not an input of this model, but a valid name
        model_options(parser().parse_args(["--model", str(path), "--input-shape", "gpu_0/x=y=2x16"]))
