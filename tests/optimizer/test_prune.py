from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import compiler
from benchmarks import models
from graph_passes import optimize
from optimizer import COSTS, Plan, prune
from optimizer.pruning import fitting
from optimizer.pruning.prepared import prepared
from optimizer.session import Session
from tests.graph_passes.models import model
from tests.optimizer.networks import network, samples


@pytest.fixture(autouse=True)
def short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "MEASURE_SECS", 0.02)
    monkeypatch.setattr(fitting, "MEASURE_ROUNDS", 3)


def parameters(proto: onnx.ModelProto) -> int:
    (report,) = optimize(proto, passes=["fold_constants"]).reports
    return report.params_before


@pytest.mark.parametrize("importance", ["magnitude", "activations", "random"])
def test_a_share_of_the_parameters_goes(importance: str) -> None:
    original = network()
    before = original.SerializeToString()
    data = samples(4) if importance == "activations" else None
    plan = prune(original, 0.4, data=data, importance=importance, cost="parameters", step=1)
    pruned = plan.apply(original)
    onnx.checker.check_model(pruned, full_check=True)
    assert original.SerializeToString() == before
    left = parameters(pruned) / parameters(original)
    assert 0.5 < left <= 0.6
    assert plan == prune(original, 0.4, data=data, importance=importance, cost="parameters", step=1)


def test_channels_of_zeros_go_first_and_change_nothing() -> None:
    """Half of the channels of each group have no weights at all, so a removal of them leaves the answers."""
    original = network()
    tensors = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in original.graph.initializer}
    for names, gone in (
        (("w1", "b1", "w2", "scale", "offset", "mean"), slice(0, 8, 2)),
        (("w3", "b3", "w4", "w5"), slice(0, 16, 2)),
    ):
        for name in names:
            tensors[name][gone] = 0
    tensors["w3"][:, ::2] = 0
    tensors["w4"][:, ::2] = 0
    for tensor in original.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(tensors[tensor.name], tensor.name))
    plan = prune(original, 0.5, cost="macs", step=1)
    odd = [(tuple(range(1, 8, 2)), tuple(range(1, 16, 2)))]
    kept = tuple(group.kept for group in plan.groups)
    assert all(set(wanted) <= set(found) for wanted, found in zip(odd[0], kept, strict=True))
    assert sum(map(len, kept)) < 24
    wanted, found = (Session(each)(samples(1))["y"] for each in (original, plan.apply(original)))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_widths_are_multiples() -> None:
    plan = prune(network(), 0.4, cost="macs", step=4, least=0.5)
    assert {len(group.kept) for group in plan.groups} <= {4, 8, 12, 16}


@pytest.mark.parametrize("cost", ["kernels", "onnxruntime"])
def test_measured_costs(cost: str) -> None:
    plan = prune(network(), 0.3, cost=cost, step=4)
    pruned = plan.apply(network())
    assert parameters(pruned) <= 0.7 * parameters(network())


@pytest.mark.parametrize("cost", COSTS)
def test_a_latency_that_the_model_has(cost: str) -> None:
    plan = prune(network(), latency=1e5, cost=cost, step=4)
    assert [len(group.kept) for group in plan.groups] == [8, 16], "nothing has to go"
    assert plan.latency is not None
    assert plan.latency.after == plan.latency.before


def test_a_latency_that_no_widths_reach() -> None:
    line = (
        r"^no widths reach 1e-06 ms: the least is \S+ ms, with every group at its narrowest; the original takes \S+ ms$"
    )
    with pytest.raises(ValueError, match=line):
        prune(network(), latency=1e-6, cost="macs", step=4)


REAL = [
    pytest.param(name, marks=pytest.mark.skipif(bool(models.missing(name)), reason=models.missing(name) or ""))
    for name in ("mobilenetv2", "efficientnet-lite0")
]


@pytest.mark.tvm
@pytest.mark.parametrize("name", REAL)
def test_real_networks(name: str, tmp_path: Path) -> None:
    original = models.load(name)
    plan = prune(original, 0.3, cost="macs")
    plan.save(tmp_path / "plan.json")
    pruned = Plan.load(tmp_path / "plan.json").apply(original)
    onnx.checker.check_model(pruned, full_check=True)
    assert 0.6 < parameters(pruned) / parameters(original) <= 0.7
    inputs = models.random_inputs(pruned, models.MODELS[name].input_shapes)
    (wanted,) = Session(with_zeros(prepared(original), pruned), 1)(inputs).values()
    answers = (Session(pruned, 1)(inputs), compiler.build(pruned, threads=1).run(inputs))
    for (found,) in (answer.values() for answer in answers):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def with_zeros(original: onnx.ModelProto, pruned: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the original with zeros as weights and biases of all channels that are gone, found by their biases.

    In networks of convolutions, sums and ReLUs, such channels are zero everywhere.
    """
    left = {tensor.name: numpy_helper.to_array(tensor) for tensor in pruned.graph.initializer}
    tensors = {tensor.name: tensor for tensor in original.graph.initializer}
    for node in original.graph.node:
        if node.op_type == "Conv":
            gone = ~np.isin(numpy_helper.to_array(tensors[node.input[2]]), left[node.input[2]])
            for name in node.input[1:]:
                array = numpy_helper.to_array(tensors[name]).copy()
                array[gone] = 0
                tensors[name].CopyFrom(numpy_helper.from_array(array, name))
    return original


NOTHING = model("g (float[1,3] x) => (float[1,3] y) { y = Relu (x) }")
LAST = model("g (float[1,3] x) => (float[1,2] y) <float[3,2] w> { y = MatMul (x, w) }")
FREE = model(
    """g (float[N,3,H,H] x) => (float[N,2] y) <float[4,3,1,1] w, float[4,2] v> {
        a = Conv (x, w) b = GlobalMaxPool (a) c = Flatten (b) y = MatMul (c, v)
    }"""
)
QUANTIZED = model(
    """g (float[1,3] x) => (float[1,3] y) <float s, uint8 z> {
        q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)
    }"""
)
BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "neither": (network(), {"ratio": None}, "give one of ratio, latency and share"),
    "both": (network(), {"latency": 3.0}, "give one of ratio, latency and share"),
    "zero": (network(), {"ratio": 0.0}, "the ratio must be between 0 and 1, got 0"),
    "one": (network(), {"ratio": 1.0}, "the ratio must be between 0 and 1, got 1"),
    "nan": (network(), {"ratio": float("nan")}, "the ratio must be between 0 and 1, got nan"),
    "latency": (
        network(),
        {"ratio": None, "latency": float("inf")},
        "the latency must be a number of milliseconds above 0, got inf",
    ),
    "too much": (
        network(),
        {"ratio": 0.99, "step": 8},
        "no widths remove 99.0% of the parameters: the most is 64.3%, with every group at its narrowest",
    ),
    "importance": (
        network(),
        {"importance": "size"},
        "unknown importance 'size'; choose from: magnitude, activations, taylor, random",
    ),
    "cost": (network(), {"cost": "watts"}, "unknown cost 'watts'; choose from: kernels, onnxruntime, macs, parameters"),
    "no data": (network(), {"importance": "activations"}, "importance 'activations' needs data"),
    "data": (network(), {"data": {"z": np.ones(1)}}, "the samples lack x; the model has x"),
    "step": (network(), {"step": 0}, "step and threads must be at least 1, got 0 and 1"),
    "least": (network(), {"least": 1.5}, "the least share of channels must be from 0 to 1, got 1.5"),
    "quantized": (
        QUANTIZED,
        {},
        "the model is quantized already: it has DequantizeLinear, QuantizeLinear; prune it before",
    ),
    "nothing": (
        NOTHING,
        {},
        "the model has no channels that can be removed; no convolution or product has a constant weight",
    ),
    "sizes": (
        FREE,
        {"step": 1},
        "the number of multiply-adds of Conv node depends on sizes that vary; give the inputs fixed sizes first, with "
        "python -m graph_passes --passes freeze_shapes --input-shape",
    ),
}


@pytest.mark.parametrize(("original", "arguments", "message"), BAD.values(), ids=BAD.keys())
def test_bad_arguments(original: onnx.ModelProto, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        prune(original, **{"ratio": 0.3, "cost": "macs", **arguments})


def test_the_reason_if_no_channels_can_be_removed() -> None:
    line = r"^the model has no channels that can be removed; for example, \S+: y is an output of the model$"
    with pytest.raises(ValueError, match=line):
        prune(LAST, 0.3, cost="macs")


def test_weights_with_nan() -> None:
    broken = network()
    tensor = next(each for each in broken.graph.initializer if each.name == "w3")
    tensor.CopyFrom(numpy_helper.from_array(np.full(tuple(tensor.dims), np.nan, np.float32), "w3"))
    with pytest.raises(ValueError, match="the importance of channels is not finite"):
        prune(broken, 0.3, cost="macs")
