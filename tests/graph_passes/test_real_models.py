"""Real networks through the default passes: the remaining nodes, and the same outputs as the published model."""

from __future__ import annotations

import onnx
import pytest

import graph_passes
from benchmarks import models
from tests.graph_passes import oracle

# Together these have every kind of layer. Each takes about one second.
NAMES = ("resnet50", "densenet121", "inception-v2", "shufflenet", "squeezenet", "direction-classifier", "mnist-cnn")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    if reason := models.missing(request.param):
        pytest.skip(reason)
    return request.param


def test_a_real_network(name: str) -> None:
    published, shapes = models.load(name), models.MODELS[name].input_shapes
    optimized = graph_passes.optimize(published, shapes).model
    onnx.checker.check_model(optimized, full_check=True)
    oracle.assert_same(published, optimized, models.random_inputs(published, shapes, seed=1))
    assert not norms_behind_convolutions(optimized)
    assert len(optimized.graph.node) < len([n for n in published.graph.node if n.op_type != "Constant"])
    again = graph_passes.optimize(optimized, shapes).model
    assert [node.op_type for node in again.graph.node] == [node.op_type for node in optimized.graph.node]


def norms_behind_convolutions(model: onnx.ModelProto) -> list[str]:
    """Returns the BatchNormalization nodes that follow a convolution, in the graph or in a layer function."""
    found = []
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        convolved = {name for node in nodes if "Conv" in node.op_type for name in node.output}
        found += [n.name for n in nodes if n.op_type == "BatchNormalization" and n.input[0] in convolved]
    return found


def test_norms_behind_convolutions_are_seen() -> None:
    assert len(norms_behind_convolutions(models.load("resnet50"))) == 53
