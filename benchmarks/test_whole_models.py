"""Whole models against other runtimes. ``--benchmark`` measures; without it answers of two small ones are checked."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks import models
from benchmarks.whole_models.implementations import PEERS, Contenders, contenders, frozen
from benchmarks.whole_models.whole_model import LIGHT_MODELS
from compiler.measure import isolated

OURS = "default"


def skip_without(model: str) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime, which the answers are compared with, is not installed")
    if reason := models.missing(model):
        pytest.skip(reason)


@cache
def prepared(model: str, threads: int) -> Contenders:
    """Everyone with the model loaded and the answer compared; where it is wrong, ours raises, and a peer is told of."""
    skip_without(model)
    proto = frozen(model)
    inputs = models.random_inputs(proto, models.MODELS[model].input_shapes)
    return contenders(proto, inputs, threads, records=Path("no records"))


@pytest.mark.tvm
@pytest.mark.parametrize("contender", [OURS, *PEERS[1:]])
@pytest.mark.parametrize("model", LIGHT_MODELS)
def test_model_answer(model: str, contender: str, threads: int) -> None:
    found = prepared(model, threads)
    if reason := found.skipped.get(contender):
        pytest.skip(reason)
    assert contender in found.runs, found.wrong[contender]


@pytest.mark.measures
def test_model_speed(
    whole_model: str, threads: int, model_results: list[dict[str, Any]], pytestconfig: pytest.Config
) -> None:
    """Measures and reports; nothing is asserted about time."""
    skip_without(whole_model)
    option = pytestconfig.option
    records, duration = option.bench_records or option.bench_results / "records.sqlite", option.bench_seconds
    arguments = [whole_model, "--threads", str(threads), "--duration", str(duration), "--records", str(records)]
    model_results.append(isolated.run("benchmarks.whole_models.whole_model", arguments, isolated.time_limit(duration)))
