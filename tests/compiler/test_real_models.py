"""Compiled real networks compute the same outputs as ONNX Runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from hypothesis import settings

import compiler
from benchmarks import models
from tests.graph_passes import oracle

pytestmark = pytest.mark.tvm

# Networks that have every kind of layer and compile in seconds. --hypothesis-profile=thorough runs all networks.
FEW = ("resnet50", "shufflenet", "squeezenet", "direction-classifier", "mnist-cnn")
# Relative to the output's largest magnitude. Winograd's transforms round more than a plain sum.
DIRECT, WINOGRAD = 2e-5, 1e-4


def largest_error(found: compiler.CompiledModel, inputs: Mapping[str, np.ndarray], expected: list[np.ndarray]) -> float:
    answers = found.run(inputs)
    errors = [
        np.abs(answers[spec.name].astype(np.float64) - want).max() / np.abs(want).max()
        for spec, want in zip(found.outputs, expected, strict=True)
    ]
    return float(max(errors))


@pytest.mark.parametrize("name", [name for name, model in models.MODELS.items() if model.small])
def test_a_real_network(name: str) -> None:
    """Without and with Winograd's algorithm, on one thread and on two."""
    if name not in FEW and settings.default is not settings.get_profile("thorough"):
        pytest.skip("compilation takes ten seconds; run with --hypothesis-profile=thorough")
    if reason := models.missing(name):
        pytest.skip(reason)
    published: onnx.ModelProto = models.load(name)
    shapes = models.MODELS[name].input_shapes
    inputs = models.random_inputs(published, shapes, seed=1)
    expected = oracle.run(published, inputs)
    found = compiler.build(published, shapes, threads=2, fast_algorithms=False)
    assert largest_error(found, inputs, expected) <= DIRECT
    alone = found.with_layers(
        {place: dataclasses.replace(layer, threads=1) for place, layer in enumerate(found.layers)}
    )
    assert largest_error(alone, inputs, expected) <= DIRECT
    fast_algorithms = {
        place: dataclasses.replace(layer, attributes={**layer.attributes, "fast_algorithms": True})
        for place, layer in enumerate(found.layers)
        if layer.op == "conv2d"
    }
    assert largest_error(found.with_layers(fast_algorithms), inputs, expected) <= WINOGRAD
