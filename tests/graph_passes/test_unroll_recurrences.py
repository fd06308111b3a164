"""Unrolled LSTM, GRU and RNN give the same outputs in ONNX Runtime, in every form; without known steps they stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import graph_passes
from graph_passes.recurrences.activations import ACTIVATIONS
from graph_passes.recurrences.form import DIRECTIONS, GATES
from graph_passes.unroll_recurrences import UnrollRecurrences
from tests.graph_passes import oracle
from tests.graph_passes.models import operators, remarks, run_pass

STEPS, BATCH, SIZE, HIDDEN = 4, 3, 5, 6
NAMES: Mapping[str, Sequence[str]] = {
    "LSTM": ("x", "w", "r", "b", "lengths", "h", "c", "p"),
    "GRU": ("x", "w", "r", "b", "lengths", "h"),
    "RNN": ("x", "w", "r", "b", "lengths", "h"),
}
WEIGHTS = ("w", "r", "b", "p", "lengths")


def recurrence(
    op: str,
    given: Sequence[str] = ("b",),
    inputs: Sequence[str] = (),
    lengths: Sequence[int] = (1, STEPS, 2),
    steps: int | str = STEPS,
    outputs: Sequence[str] | None = None,
    opset: int = 18,
    seed: int = 0,
    **attributes: Any,
) -> onnx.ModelProto:
    """One recurrent node with the optional inputs ``given``. States and ``inputs`` are inputs of the model."""
    directions, gates = len(DIRECTIONS[attributes.get("direction", "forward")]), GATES[op]
    state = (directions, BATCH, HIDDEN)
    shapes = {
        "x": (steps, BATCH, SIZE),
        "w": (directions, gates * HIDDEN, SIZE),
        "r": (directions, gates * HIDDEN, HIDDEN),
        "b": (directions, 2 * gates * HIDDEN),
        "p": (directions, 3 * HIDDEN),
        "lengths": (BATCH,),
        "h": state,
        "c": state,
    }
    rng = np.random.default_rng(seed)
    there = [name if name in ("x", "w", "r", *given) else "" for name in NAMES[op]]
    arrays = {name: rng.standard_normal(shapes[name], np.float32) / 2 for name in there if name in WEIGHTS}
    if "lengths" in arrays:
        arrays["lengths"] = np.array(lengths, np.int32)
    names = ["y", "last_h", "last_c"] if op == "LSTM" else ["y", "last_h"]
    node = helper.make_node(op, there, names, hidden_size=HIDDEN, **attributes)
    given_inputs = [name for name in there if name and (name not in arrays or name in inputs)]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in given_inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs or names],
        [numpy_helper.from_array(array, name) for name, array in arrays.items() if name not in inputs],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("given", [(), ("b",), ("b", "h"), ("b", "lengths"), ("b", "h", "lengths")], ids=",".join)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", GATES)
def test_every_operator_and_direction(op: str, direction: str, given: Sequence[str]) -> None:
    optimized = run_pass(recurrence(op, given, direction=direction), "unroll_recurrences")
    assert op not in operators(optimized.model)


@pytest.mark.parametrize(
    "given", [("c",), ("b", "p"), ("b", "h", "c", "p"), ("b", "h", "c", "p", "lengths")], ids=",".join
)
@pytest.mark.parametrize("attributes", [{}, {"clip": 0.4}, {"input_forget": 1}], ids=str)
def test_forms_of_an_lstm(given: Sequence[str], attributes: Mapping[str, Any]) -> None:
    model = recurrence("LSTM", given, direction="bidirectional", **attributes)
    assert "LSTM" not in operators(run_pass(model, "unroll_recurrences").model)


@pytest.mark.parametrize("given", [(), ("h",), ("b",), ("b", "h"), ("b", "h", "lengths")], ids=",".join)
@pytest.mark.parametrize("attributes", [{"linear_before_reset": 1}, {"clip": 0.4}], ids=str)
def test_forms_of_a_gru(given: Sequence[str], attributes: Mapping[str, Any]) -> None:
    model = recurrence("GRU", given, direction="bidirectional", **attributes)
    assert "GRU" not in operators(run_pass(model, "unroll_recurrences").model)


@pytest.mark.parametrize("op", GATES)
def test_weights_that_come_with_each_run(op: str) -> None:
    given = ("b", "p") if op == "LSTM" else ("b",)
    model = recurrence(op, given, inputs=("w", "r", *given), direction="bidirectional")
    assert op not in operators(run_pass(model, "unroll_recurrences").model)


# The GRU of ONNX Runtime 1.31 gives infinities for some activations followed by Softplus.
DRAWN = [activation.name for activation in ACTIVATIONS.values() if activation.name != "Softplus"]


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.data())
def test_activations(data: st.DataObject) -> None:
    op = data.draw(st.sampled_from(list(GATES)))
    count = {"LSTM": 3, "GRU": 2, "RNN": 1}[op]
    names = data.draw(st.lists(st.sampled_from(DRAWN), min_size=count, max_size=count))
    attributes: dict[str, Any] = {"activations": names}
    taking = [ACTIVATIONS[name.lower()] for name in names]
    # ONNX Runtime has no defaults for all of them.
    alphas = [data.draw(st.sampled_from([0.25, 0.5])) for a in taking if a.alpha is not None]
    betas = [data.draw(st.sampled_from([0.25, 0.75])) for a in taking if a.beta is not None]
    attributes |= {
        name: values for name, values in (("activation_alpha", alphas), ("activation_beta", betas)) if values
    }
    model = recurrence(op, ("b", "h"), **attributes)
    assert op not in operators(run_pass(model, "unroll_recurrences").model)


def test_softplus() -> None:
    model = recurrence("RNN", ("b", "h"), activations=["Softplus"])
    assert operators(run_pass(model, "unroll_recurrences").model)["Softplus"] == STEPS


@pytest.mark.parametrize("op", GATES)
def test_the_batch_first(op: str) -> None:
    """ONNX Runtime has no such form; the outputs of the other form, transposed, are its answer."""
    plain = recurrence(op, ("b", "h"), direction="bidirectional")
    other = onnx.ModelProto()
    other.CopyFrom(plain)
    other.graph.node[0].attribute.append(helper.make_attribute("layout", 1))
    for value in (*other.graph.input, *other.graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.name in ("x", "h"):
            sizes = [dim.dim_value for dim in dims]
            for dim, size in zip(dims, (sizes[1], sizes[0], sizes[2]), strict=True):
                dim.dim_value = size
        else:
            value.type.tensor_type.ClearField("shape")
    optimized = graph_passes.optimize(onnx.shape_inference.infer_shapes(other), passes=["unroll_recurrences"])
    inputs = oracle.random_inputs(plain, 0)
    wanted, allowed = oracle.answers_and_tolerances(plain, inputs)
    swapped = {name: np.swapaxes(array, 0, 1) for name, array in inputs.items()}
    perms = [(2, 0, 1, 3), (1, 0, 2), (1, 0, 2)]
    for want, got, limit, perm in zip(wanted, oracle.run(optimized.model, swapped), allowed, perms, strict=False):
        np.testing.assert_allclose(got, want.transpose(perm), rtol=0, atol=limit)


def test_half_precision_and_double() -> None:
    for dtype, code, tolerance in ((np.float16, TensorProto.FLOAT16, 2e-2), (np.float64, TensorProto.DOUBLE, 1e-5)):
        plain = recurrence("GRU", ("b", "h"))
        other = onnx.ModelProto()
        other.CopyFrom(plain)
        for value in (*other.graph.input, *other.graph.output):
            value.type.tensor_type.elem_type = code
        for tensor in other.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
        optimized = graph_passes.optimize(other, passes=["unroll_recurrences"])
        inputs = oracle.random_inputs(plain, 0)
        answers = oracle.run(optimized.model, {name: array.astype(dtype) for name, array in inputs.items()})
        for want, got in zip(oracle.run(plain, inputs), answers, strict=True):
            assert got.dtype == dtype
            np.testing.assert_allclose(got.astype(np.float64), want, rtol=0, atol=tolerance)


def test_unused_outputs_are_not_computed() -> None:
    optimized = run_pass(recurrence("GRU", outputs=["last_h"]), "unroll_recurrences")
    assert operators(optimized.model)["Unsqueeze"] == 0


def test_states_that_are_known_to_be_zeros_cost_no_product() -> None:
    model = recurrence("RNN", ("b", "h"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, BATCH, HIDDEN), np.float32), "h"))
    del model.graph.input[1]
    assert operators(run_pass(model, "unroll_recurrences").model)["MatMul"] == 1 + STEPS - 1


def test_equal_lengths_cost_nothing() -> None:
    model = recurrence("LSTM", ("b", "lengths"), lengths=[STEPS] * BATCH)
    assert "Where" not in operators(run_pass(model, "unroll_recurrences").model)


def test_an_unknown_number_of_steps_stays_until_it_is_known() -> None:
    model = recurrence("GRU", steps="steps")
    assert "its number of steps is unknown" in remarks(graph_passes.optimize(model, passes=["unroll_recurrences"]))
    frozen = graph_passes.optimize(model, {"x": (STEPS, BATCH, SIZE)}, ["freeze_shapes", "unroll_recurrences"])
    assert "GRU" not in operators(frozen.model)


def test_too_many_steps_stay() -> None:
    model = recurrence("GRU")
    optimized = graph_passes.optimize(model, passes=[UnrollRecurrences(longest=STEPS - 1)])
    assert f"it has {STEPS} steps, more than {STEPS - 1}" in remarks(optimized)
    assert "GRU" not in operators(run_pass(model, UnrollRecurrences(longest=STEPS)).model)


def test_unknown_activations_stay() -> None:
    optimized = graph_passes.optimize(recurrence("RNN", activations=["Sine"]), passes=["unroll_recurrences"])
    assert operators(optimized.model) == {"RNN": 1}
    assert remarks(optimized).endswith("not unrolled: its activations are Sine")


def test_an_old_opset_stays() -> None:
    optimized = graph_passes.optimize(recurrence("RNN", opset=17), passes=["unroll_recurrences"])
    assert "opset: 17 is not supported, at least 18 is required" in remarks(optimized)
