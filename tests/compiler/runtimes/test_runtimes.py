"""Each peer that is installed against float64 arithmetic, and all of them on a published model."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graph_passes
from benchmarks import models
from compiler import runtimes as peers
from compiler.measure.answers import agree
from compiler.runtimes import PEERS, PeerUnavailable
from compiler.runtimes.inputs import random_inputs

EPSILON = float(np.finfo(np.float32).eps)
NAMES = [pytest.param(name, marks=pytest.mark.tvm) if name == "tvm" else name for name in PEERS]


def skip_where_missing(name: str) -> None:
    missing = set(PEERS[name].PACKAGES) - {distribution.name for distribution in importlib.metadata.distributions()}
    if missing:
        pytest.skip(f"not installed: {', '.join(sorted(missing))}")


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"filter": (8, 3, 3, 3), "filter_bias": (8,), "weight": (5, 8), "bias": (5,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def small_model() -> onnx.ModelProto:
    """Two outputs, named in an order of their own; names as other frameworks write them."""
    nodes = [
        helper.make_node("Conv", ["gpu_0/x", "filter", "filter_bias"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["features/relu:0"]),
        helper.make_node("GlobalAveragePool", ["features/relu:0"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "weight", "bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("gpu_0/x", TensorProto.FLOAT, (1, 3, 9, 7))],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 5)),
            helper.make_tensor_value_info("features/relu:0", TensorProto.FLOAT, (1, 8, 9, 7)),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights().items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def expected(x: np.ndarray) -> dict[str, np.ndarray]:
    w = {name: array.astype(np.float64) for name, array in weights().items()}
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    convolved = np.einsum("ncyxhw,ochw->noyx", windows, w["filter"]) + w["filter_bias"][:, None, None]
    features = np.maximum(convolved, 0)
    return {"logits": features.mean(axis=(2, 3)) @ w["weight"].T + w["bias"], "features/relu:0": features}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_peer_computes_what_the_model_says(name: str, threads: int) -> None:
    skip_where_missing(name)
    model = small_model()
    runner = peers.prepare(name, model, threads)
    inputs = random_inputs(model)
    answers = runner.run(inputs)
    # Sums of 27 terms, by Winograd's algorithm in some, which is an order of magnitude less exact than plain sums.
    assert agree(answers, expected(inputs["gpu_0/x"])) < 100 * EPSILON
    assert {answer.dtype for answer in answers.values()} == {np.dtype(np.float32)}
    kept = {output: answer.copy() for output, answer in answers.items()}
    others = random_inputs(model, seed=1)
    assert agree(runner.run(others), expected(others["gpu_0/x"])) < 100 * EPSILON
    assert agree(answers, kept) == 0, "the next run has written over the answers"
    assert (runner.name, runner.version) == (name, importlib.metadata.version(PEERS[name].PACKAGES[0]))


@pytest.mark.parametrize("name", NAMES)
def test_peers_answer_as_onnxruntime_does(name: str) -> None:
    for needed in ("onnxruntime", name):
        skip_where_missing(needed)
    if reason := models.missing("mnist-cnn"):
        pytest.skip(reason)
    shapes = models.MODELS["mnist-cnn"].input_shapes
    frozen = graph_passes.optimize(models.load("mnist-cnn"), shapes, passes=("freeze_shapes",)).model
    inputs = random_inputs(frozen)
    theirs = peers.prepare("onnxruntime", frozen, 1).run(inputs)
    assert agree(peers.prepare(name, frozen, 1).run(inputs), theirs) < 1000 * EPSILON


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_function_calls(name: str) -> None:
    skip_where_missing(name)
    optimized = graph_passes.optimize(small_model()).model
    assert optimized.functions
    inputs = random_inputs(optimized)
    answers = peers.prepare(name, optimized, 1).run(inputs)
    assert agree(answers, expected(inputs["gpu_0/x"])) < 100 * EPSILON


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_a_peer_cannot_take_is_refused_in_one_line(name: str) -> None:
    skip_where_missing(name)
    model = small_model()
    model.graph.node[1].op_type = "Rectify"
    with pytest.raises(PeerUnavailable, match=r"(cannot|has no).*") as refusal:
        peers.prepare(name, model, 1)
    assert "\n" not in str(refusal.value)


def test_a_peer_that_is_not_installed_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PEERS["ncnn"], "PACKAGES", ("not-a-package", "nor-this"))
    with pytest.raises(PeerUnavailable, match="ncnn cannot run here: pip install not-a-package nor-this"):
        peers.prepare("ncnn", small_model(), 1)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no peer 'tensorrt'; choose from: onnxruntime, openvino, ncnn, tvm"):
        peers.prepare("tensorrt", small_model(), 1)
    with pytest.raises(ValueError, match="threads must be at least 1"):
        peers.prepare("onnxruntime", small_model(), 0)
