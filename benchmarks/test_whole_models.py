"""Whole models compared with other runtimes. ``--benchmark`` measures; without it the answers of two are checked."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from benchmarks import models, selection
from benchmarks.whole_models.implementations import PEERS, Implementations, frozen, implementations
from benchmarks.whole_models.measure import LIGHT_MODELS
from compiler.measure import isolated

OURS = "default"


def skip_without(model: str) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime, which the answers are compared with, is not installed")
    if reason := models.missing(model):
        pytest.skip(reason)


@cache
def prepared(model: str, threads: int) -> Implementations:
    """All implementations with the model loaded and the answers compared. A wrong answer of ours is an error."""
    skip_without(model)
    proto = frozen(model)
    inputs = models.random_inputs(proto, models.MODELS[model].input_shapes)
    return implementations(proto, inputs, threads, records=None)


@pytest.mark.tvm
@pytest.mark.parametrize("implementation", [OURS, *PEERS[1:]])
@pytest.mark.parametrize("model", LIGHT_MODELS)
def test_model_answer(model: str, implementation: str, threads: int) -> None:
    found = prepared(model, threads)
    if reason := found.skipped.get(implementation):
        pytest.skip(reason)
    assert implementation in found.runs, found.wrong[implementation]


@pytest.mark.measures
def test_model_speed(
    whole_model: str, threads: int, model_results: list[dict[str, Any]], pytestconfig: pytest.Config
) -> None:
    """Measures and reports. Nothing is asserted about time."""
    skip_without(whole_model)
    option = pytestconfig.option
    records, duration = selection.records(option), option.bench_seconds
    arguments = [whole_model, "--threads", str(threads), "--duration", str(duration)]
    arguments += ["--records", str(records)] if records else ["--default-schedules"]
    model_results.append(isolated.run("benchmarks.whole_models", arguments, isolated.time_limit(duration)))
