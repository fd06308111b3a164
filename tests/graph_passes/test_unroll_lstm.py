"""Unrolled LSTMs give the same outputs in ONNX Runtime, quantized or not; unsupported LSTMs do not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graph_passes
from graph_passes.unroll_lstm import UnrollLstm
from tests.graph_passes import oracle
from tests.graph_passes.models import operators, remarks, run_pass

STEPS, BATCH, SIZE, HIDDEN = 5, 2, 6, 4
INPUTS = ("x", "w", "r", "b", "lengths", "h", "c", "p")
SCALES = ("w_scale", "w_zero", "r_scale", "r_zero")


def lstm(
    weights: Mapping[str, np.ndarray],
    given: Sequence[str] = (),
    outputs: int = 3,
    steps: int | str = STEPS,
    **attributes: Any,
) -> onnx.ModelProto:
    """One LSTM, quantized if its weights have scales; ``given`` are further inputs of the model."""
    directions = weights["w"].shape[0]
    quantized = "w_scale" in weights
    state = (directions, BATCH, HIDDEN)
    shapes = {"x": (steps, BATCH, SIZE), "h": state, "c": state, "lengths": (BATCH,)}
    types = {"lengths": TensorProto.INT32}
    there = {"x", *weights, *given}
    answers = {"y": (steps, directions, BATCH, HIDDEN), "last_h": state, "last_c": state}
    node = helper.make_node(
        "DynamicQuantizeLSTM" if quantized else "LSTM",
        [name if name in there else "" for name in (*INPUTS, *(SCALES if quantized else ()))],
        list(answers)[:outputs],
        domain="com.microsoft" if quantized else "",
        hidden_size=HIDDEN,
        **attributes,
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(n, types.get(n, TensorProto.FLOAT), shapes[n]) for n in ("x", *given)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in list(answers.items())[:outputs]],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets)


def random_weights(directions: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"w": (4 * HIDDEN, SIZE), "r": (4 * HIDDEN, HIDDEN), "b": (8 * HIDDEN,)}
    return {name: rng.standard_normal((directions, *shape), np.float32) for name, shape in shapes.items()}


def quantized_weights(directions: int, dtype: Any, columns: bool, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of 6 bits: without VNNI, ONNX Runtime adds two products in 16 bits, which 8-bit weights exceed."""
    rng = np.random.default_rng(seed)
    middle = 128 if dtype == np.uint8 else 0
    shape = (directions, 4 * HIDDEN) if columns else (directions,)
    weights = {"b": rng.standard_normal((directions, 8 * HIDDEN), np.float32)}
    for name, rows in (("w", SIZE), ("r", HIDDEN)):
        weights[name] = (middle + rng.integers(-32, 32, (directions, rows, 4 * HIDDEN))).astype(dtype)
        weights[f"{name}_scale"] = rng.uniform(0.01, 0.05, shape).astype(np.float32)
        weights[f"{name}_zero"] = np.full(shape, middle or (0 if columns else 3), dtype)
    return weights


DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


@pytest.mark.parametrize("given", [(), ("h",), ("c",), ("h", "c")], ids=str)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_lstm(direction: str, given: Sequence[str]) -> None:
    directions = DIRECTIONS[direction]
    optimized = run_pass(lstm(random_weights(directions), given, direction=direction), "unroll_lstm")
    found = operators(optimized.model)
    assert "LSTM" not in found
    assert found["Tanh"] == 2 * STEPS * directions
    assert found["MatMul"] == directions + STEPS * directions - (0 if "h" in given else directions)


@pytest.mark.parametrize("columns", [False, True], ids=["one scale", "one scale per column"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_quantized_lstm(direction: str, dtype: Any, columns: bool) -> None:
    """Exactly: a value that rounds to another quantized step would be visible."""
    directions = DIRECTIONS[direction]
    published = lstm(quantized_weights(directions, dtype, columns), ("h", "c"), direction=direction)
    optimized = graph_passes.optimize(published, passes=["unroll_lstm"])
    assert operators(optimized.model)["MatMulInteger"] == directions + STEPS * directions
    assert operators(optimized.model)["DynamicQuantizeLinear"] == 1 + STEPS * directions
    onnx.checker.check_model(optimized.model, full_check=True)
    for seed in range(3):
        inputs = oracle.random_inputs(published, seed)
        for want, found in zip(oracle.run(published, inputs), oracle.run(optimized.model, inputs), strict=True):
            np.testing.assert_allclose(found, want, rtol=0, atol=1e-6)


def test_unused_outputs_are_not_computed() -> None:
    optimized = run_pass(lstm(random_weights(1), outputs=1), "unroll_lstm")
    assert [output.name for output in optimized.model.graph.output] == ["y"]
    model = lstm(random_weights(2), direction="bidirectional")
    model.graph.node[0].output[0] = ""
    del model.graph.output[0]
    optimized = run_pass(model, "unroll_lstm")
    assert operators(optimized.model)["Concat"] == 2


def test_without_a_bias() -> None:
    weights = random_weights(1)
    del weights["b"]
    assert "LSTM" not in operators(run_pass(lstm(weights), "unroll_lstm").model)


def test_states_that_are_known_to_be_zeros_cost_no_product() -> None:
    zeros = {"h": np.zeros((1, BATCH, HIDDEN), np.float32), "c": np.zeros((1, BATCH, HIDDEN), np.float32)}
    optimized = run_pass(lstm({**random_weights(1), **zeros}), "unroll_lstm")
    assert operators(optimized.model)["MatMul"] == 1 + STEPS - 1


def test_one_behind_another() -> None:
    """The number of steps of the second LSTM is known once the first is unrolled."""
    first, second = lstm(random_weights(1), outputs=1), lstm(random_weights(1, seed=1), outputs=1)
    graph = first.graph
    names = {"x": "between", **{name: f"{name}_2" for name in ("w", "r", "b", "y")}}
    for tensor in second.graph.initializer:
        tensor.name = names[tensor.name]
    for values in (second.graph.node[0].input, second.graph.node[0].output):
        values[:] = [names.get(name, name) for name in values]
    second.graph.node[0].attribute[0].i = HIDDEN
    graph.initializer.extend(second.graph.initializer)
    shape = numpy_helper.from_array(np.array([0, 0, -1]), "shape")
    w = numpy_helper.from_array(np.random.default_rng(2).standard_normal((1, 4 * HIDDEN, HIDDEN), np.float32), "w_2")
    graph.initializer.extend([shape])
    next(t for t in graph.initializer if t.name == "w_2").CopyFrom(w)
    graph.node.extend([helper.make_node("Squeeze", ["y", "axis"], ["between"]), second.graph.node[0]])
    graph.initializer.extend([numpy_helper.from_array(np.array([1]), "axis")])
    graph.output[0].name = "y_2"
    optimized = run_pass(onnx.shape_inference.infer_shapes(first), "unroll_lstm")
    assert operators(optimized.model)["MatMul"] == 2 * STEPS


UNSUPPORTED: Mapping[str, tuple[dict[str, Any], Sequence[str], str]] = {
    "activations": ({"activations": ["Relu", "Tanh", "Tanh"]}, (), "its activations are Relu, Tanh, Tanh"),
    "clip": ({"clip": 1.0}, (), "it clips its gates or couples them"),
    "coupled gates": ({"input_forget": 1}, (), "it clips its gates or couples them"),
    "lengths": ({}, ("lengths",), "it has peepholes, or sequences of several lengths"),
}


@pytest.mark.parametrize(("attributes", "given", "reason"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_is_left(attributes: dict[str, Any], given: Sequence[str], reason: str) -> None:
    model = lstm(random_weights(1), given, **attributes)
    optimized = graph_passes.optimize(model, passes=["unroll_lstm"])
    assert operators(optimized.model) == {"LSTM": 1}
    assert remarks(optimized).endswith(f"not unrolled: {reason}")


def test_peepholes_are_left() -> None:
    weights = {**random_weights(1), "p": np.ones((1, 3 * HIDDEN), np.float32)}
    optimized = graph_passes.optimize(lstm(weights), passes=["unroll_lstm"])
    assert "it has peepholes" in remarks(optimized)


def test_weights_that_come_with_each_run_are_left() -> None:
    model = lstm(random_weights(1))
    (w,) = (tensor for tensor in model.graph.initializer if tensor.name == "w")
    model.graph.initializer.remove(w)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, w.dims))
    assert "its weights are not constant" in remarks(graph_passes.optimize(model, passes=["unroll_lstm"]))


def test_an_unknown_number_of_steps_is_left_until_it_is_known() -> None:
    model = lstm(random_weights(1), steps="steps")
    assert "its number of steps is unknown" in remarks(graph_passes.optimize(model, passes=["unroll_lstm"]))
    shapes = {"x": (STEPS, BATCH, SIZE)}
    frozen = graph_passes.optimize(model, shapes, ["freeze_shapes", "unroll_lstm"])
    assert "LSTM" not in operators(frozen.model)


def test_too_many_steps_are_left() -> None:
    model = lstm(random_weights(1))
    optimized = graph_passes.optimize(model, passes=[UnrollLstm(longest=STEPS - 1)])
    assert f"it has {STEPS} steps, more than {STEPS - 1}" in remarks(optimized)
    assert "LSTM" not in operators(run_pass(model, UnrollLstm(longest=STEPS)).model)


def test_an_old_opset_is_left() -> None:
    model = lstm(random_weights(1))
    model.opset_import[0].version = 10
    assert "opset: 10 is not supported, at least 11 is required" in remarks(
        graph_passes.optimize(model, passes=["unroll_lstm"])
    )


@pytest.mark.parametrize("directions", [1, 2])
def test_shapes_of_quantized_lstms_are_inferred(directions: int) -> None:
    """onnx has no inference for the operator; what reads it has a static shape afterwards."""
    direction = "bidirectional" if directions == 2 else "forward"
    original = lstm(quantized_weights(directions, np.int8, columns=False), direction=direction)
    for output in original.graph.output:
        output.type.tensor_type.ClearField("shape")
    found = graph_passes.optimize(original, passes=["freeze_shapes", "expand_functions"]).ir_model
    (node,) = (node for node in found.graph if node.op_type == "DynamicQuantizeLSTM")
    shapes = [tuple(output.shape or ()) for output in node.outputs]
    wanted = [(STEPS, directions, BATCH, HIDDEN), (directions, BATCH, HIDDEN), (directions, BATCH, HIDDEN)]
    assert shapes == wanted[: len(shapes)]
    inputs = oracle.random_inputs(original, 0)
    assert [y.shape for y in oracle.run(original, inputs)] == wanted[: len(shapes)]
