"""RNN, GRU and LSTM whose weights are inputs of the model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiler
from compiler.program import native
from tests.compiler.lowering.test_recurrent import OUTPUTS, SIZES, forms, recurrent
from tests.compiler.models import built
from tests.kernels.recurrences import Form, oracle
from tests.kernels.test_recurrent import Sizes, make_inputs, make_weights

pytestmark = pytest.mark.tvm


@settings(max_examples=20, deadline=None)
@given(form=forms(), sizes=SIZES, given_parts=st.tuples(*[st.booleans()] * 4), data=st.data())
def test_forms_agree_with_onnx_runtime(
    form: Form, sizes: Sizes, given_parts: tuple[bool, ...], data: st.DataObject
) -> None:
    bias, peepholes, states, lengths = given_parts
    weights = make_weights(form, sizes, bias, peepholes and form.cell == "lstm")
    inputs = make_inputs(form, sizes, states, lengths)
    moved = {name: array for name, array in weights._asdict().items() if array is not None and data.draw(st.booleans())}
    inputs |= {"r": weights.r, **moved}
    possible = OUTPUTS if form.cell == "lstm" else OUTPUTS[:2]
    outputs = data.draw(st.lists(st.sampled_from(possible), min_size=1, unique=True))
    found = built(recurrent(form, weights, inputs, outputs), inputs, fallback=None)
    assert found.layers == ()


@pytest.mark.parametrize("batch_first", [False, True])
def test_weights_change_from_run_to_run(batch_first: bool) -> None:
    form, sizes = Form("lstm", "bidirectional", batch_first=batch_first), Sizes(4, 2, 5, 18)
    first, second = (make_weights(form, sizes, seed=seed) for seed in range(2))
    inputs = make_inputs(form, sizes, lengths=True)
    found = compiler.build(recurrent(form, first, {**inputs, "w": first.w, "r": first.r}), threads=2, fallback=None)
    for weights in (first, second):
        mixed = first._replace(w=weights.w, r=weights.r)
        answers = found.run({**inputs, "w": weights.w, "r": weights.r})
        for got, want in zip(answers.values(), oracle(form, mixed, **inputs), strict=True):
            assert np.all(np.abs(got - want.value) <= want.tolerance)


def test_a_wrong_length_is_one_line_that_names_the_node() -> None:
    form, sizes = Form("gru"), Sizes(3, 2, 4, 6)
    weights, inputs = make_weights(form, sizes), make_inputs(form, sizes, lengths=True)
    inputs["r"] = weights.r
    found = compiler.build(recurrent(form, weights, inputs), threads=1, fallback=None)
    with pytest.raises(ValueError, match=r"^node 'recurrence': the length of sequence 0 is 4; [^\n]*3 steps$"):
        found.run({**inputs, "sequence_lens": np.array([4, 0], np.int32)})


def test_a_form_that_is_not_supported_is_one_line() -> None:
    form, sizes = Form("rnn"), Sizes(3, 2, 4, 6)
    weights, inputs = make_weights(form, sizes), make_inputs(form, sizes)
    inputs["r"] = weights.r
    model = recurrent(form, weights, inputs)
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("activations", ["Sine"]))
    with pytest.raises(
        ValueError, match=r"RNN \(node 'recurrence', opset \d+\): its direction, its activations or its"
    ):
        compiler.build(model, threads=1, fallback=None)


def call(description: Any = None, weights: int = 2, steps: int = 2) -> None:
    """Calls the function of the runtime as a program does, for an RNN of one unit."""
    import tvm_ffi

    flags = dict.fromkeys(("sequence_lens", "initial_h", "initial_c", "y_h", "y_c"), False)
    valid = {
        "name": "n",
        "op": "recurrent",
        "cell": "rnn",
        "sizes": [2, 1, 1, 1],
        "reverse": [0],
        "threads": 1,
        "activations": [{"function": "tanh", "alpha": 0.0, "beta": 0.0}],
        "clip": None,
        "input_forget": False,
        "linear_before_reset": False,
        "batch_first": False,
        **flags,
        "y": True,
        "weights": {"w": 0, "r": 1},
    }
    text = json.dumps({**valid, **description}) if isinstance(description, dict) else description or json.dumps(valid)
    shapes = [(1, 1, 1), (1, 1, 1), (steps, 1, 1), (2, 1, 1, 1)]
    arrays = [np.ones(shape, np.float32) for shape in shapes]
    native.function("recurrent_with_weights")(text, weights, *map(tvm_ffi.from_dlpack, arrays))
    assert 0.9 < arrays[-1][1, 0, 0, 0] < 1


def test_a_valid_call() -> None:
    call()


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "{"},
        {"description": "[]"},
        {"weights": 9},
        {"weights": -1},
        {"weights": 1},
        {"steps": 1},
        {"description": {"cell": "cnn"}},
        {"description": {"activations": []}},
        {"description": {"sizes": [2, 1, 1]}},
        {"description": {"sizes": [2, 1, 3, 1]}},
        {"description": {"reverse": [0, 0, 0]}},
        {"description": {"y_c": True}},
    ],
    ids=str,
)
def test_a_wrong_call_of_a_damaged_program_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^a program calls a function incorrectly: recurrent_with_weights: .*$"):
        call(**changes)
