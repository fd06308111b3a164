"""RNN, GRU and LSTM run as kernels, in all forms: against ONNX Runtime, and against the definitions in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import compiler
from tests.compiler.models import built, kernels_of
from tests.kernels.recurrences import DIRECTIONS, GATES, Form, Weights, oracle
from tests.kernels.test_recurrent import Sizes, make_inputs, make_weights

Array = np.ndarray
OUTPUTS = ("y", "y_h", "y_c")
# As ONNX names them: the function, its name in kernels, alpha and beta.
FUNCTIONS = {
    "Affine": ("affine", 0.3, 0.7),
    "LeakyRelu": ("leaky_relu", 0.3, None),
    "ThresholdedRelu": ("thresholded_relu", 0.3, None),
    "ScaledTanh": ("scaled_tanh", 0.3, 0.7),
    "HardSigmoid": ("hard_sigmoid", 0.3, 0.7),
    "Elu": ("elu", 0.3, None),
    "Softsign": ("softsign", None, None),
    "Softplus": ("softplus", None, None),
    "relu": ("relu", None, None),
}


def recurrent(
    form: Form,
    weights: Weights,
    inputs: Mapping[str, Array],
    outputs: Sequence[str] = OUTPUTS,
    activations: Sequence[str] = (),
    constants: Mapping[str, Array] | None = None,
) -> onnx.ModelProto:
    """A model of one node. ``inputs`` have the shapes of its inputs; ``activations`` are names of ``FUNCTIONS``.

    Weights that are not among the inputs are constant.
    """
    arrays = {name: array for name, array in weights._asdict().items() if array is not None and name not in inputs}
    arrays |= dict(constants or {})
    names = ["x", "w", "r", "b", "sequence_lens", "initial_h", *(["initial_c", "p"] if form.cell == "lstm" else [])]
    present = [name if name in arrays or name in inputs else "" for name in names]
    numbers = [FUNCTIONS[name][1:] for name in activations]
    attributes: dict[str, Any] = {
        "hidden_size": weights.r.shape[2],
        "direction": form.direction,
        "clip": form.clip,
        "layout": int(form.batch_first) or None,
        "input_forget": int(form.input_forget) or None,
        "linear_before_reset": int(form.linear_before_reset) or None,
        "activations": list(activations) or None,
        "activation_alpha": [alpha for alpha, _ in numbers if alpha is not None] or None,
        "activation_beta": [beta for _, beta in numbers if beta is not None] or None,
    }
    given_outputs = OUTPUTS if form.cell == "lstm" else OUTPUTS[:2]
    node = helper.make_node(
        form.cell.upper(),
        present,
        [name if name in outputs else "" for name in given_outputs],
        name="recurrence",
        **{name: value for name, value in attributes.items() if value is not None},
    )
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in given_outputs if name in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


@st.composite
def forms(draw: st.DrawFn) -> Form:
    cell = draw(st.sampled_from(sorted(GATES)))
    return Form(
        cell,
        draw(st.sampled_from(sorted(DIRECTIONS))),
        clip=draw(st.sampled_from([None, None, 0.5])),
        input_forget=draw(st.booleans()) and cell == "lstm",
        linear_before_reset=draw(st.booleans()) and cell == "gru",
    )


SIZES = st.builds(Sizes, st.integers(1, 6), st.integers(1, 3), st.integers(1, 9), st.integers(1, 40))


@pytest.mark.tvm
@settings(max_examples=24, deadline=None)
@given(
    form=forms(), sizes=SIZES, given_parts=st.tuples(*[st.booleans()] * 4), threads=st.integers(1, 2), data=st.data()
)
def test_forms_agree_with_onnx_runtime(
    form: Form, sizes: Sizes, given_parts: tuple[bool, ...], threads: int, data: st.DataObject
) -> None:
    """Saved and loaded too."""
    bias, peepholes, states, lengths = given_parts
    weights = make_weights(form, sizes, bias, peepholes and form.cell == "lstm")
    inputs = make_inputs(form, sizes, states, lengths)
    possible = OUTPUTS if form.cell == "lstm" else OUTPUTS[:2]
    outputs = data.draw(st.lists(st.sampled_from(possible), min_size=1, unique=True))
    found = built(recurrent(form, weights, inputs, outputs), inputs, threads=threads)
    assert kernels_of(found) == {"recurrent": 1}


@pytest.mark.tvm
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("threads", [1, 2])
def test_large_layers_agree_with_onnx_runtime(cell: str, threads: int) -> None:
    form, sizes = Form(cell, "bidirectional" if threads == 1 else "forward"), Sizes(40, 1, 64, 256)
    inputs = make_inputs(form, sizes)
    assert kernels_of(built(recurrent(form, make_weights(form, sizes), inputs), inputs, threads=threads)) == {
        "recurrent": 1
    }


@pytest.mark.tvm
@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations_have_their_numbers(name: str) -> None:
    """Each function takes the next alpha, and the next beta, if it uses one. ONNX Runtime's Softplus overflows."""
    names = ["HardSigmoid", name, "ScaledTanh"]
    functions = tuple((kernel, alpha or 0.0, beta or 0.0) for kernel, alpha, beta in map(FUNCTIONS.__getitem__, names))
    form, sizes = Form("lstm", activations=functions), Sizes(3, 2, 4, 18)
    weights, inputs = make_weights(form, sizes), make_inputs(form, sizes)
    model = recurrent(form, weights, inputs, activations=names)
    found = compiler.build(model, threads=1)
    assert kernels_of(found) == {"recurrent": 1}
    assert_right(found, form, weights, inputs)


@pytest.mark.tvm
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_batch_may_come_first(cell: str, direction: str) -> None:
    """ONNX Runtime does not support this layout."""
    form, sizes = Form(cell, direction, batch_first=True), Sizes(5, 3, 4, 18)
    weights, inputs = make_weights(form, sizes), make_inputs(form, sizes, lengths=True)
    found = compiler.build(recurrent(form, weights, inputs), threads=2)
    assert kernels_of(found) == {"recurrent": 1}
    assert_right(found, form, weights, inputs)


@pytest.mark.tvm
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize(("steps", "batch"), [(0, 2), (3, 0), (0, 0)])
def test_no_steps_or_no_sequences(cell: str, steps: int, batch: int) -> None:
    form = Form(cell, "bidirectional")
    weights, inputs = make_weights(form, Sizes(1, 1, 4, 6)), make_inputs(form, Sizes(steps, batch, 4, 6))
    found = compiler.build(recurrent(form, weights, inputs), threads=1)
    answers = found.run(inputs)
    assert answers["y"].shape == (steps, 2, batch, 6)
    assert answers["y_h"].shape == (2, batch, 6)
    assert not answers["y_h"].any()  # as in ONNX Runtime


@pytest.mark.tvm
def test_initial_states_of_zeros_are_not_read() -> None:
    form, sizes = Form("lstm"), Sizes(3, 2, 4, 6)
    zeros = {name: np.zeros((1, 2, 6), np.float32) for name in ("initial_h", "initial_c")}
    inputs = make_inputs(form, sizes, states=False)
    found = built(recurrent(form, make_weights(form, sizes), inputs, constants=zeros), inputs)
    (layer,) = found.layers
    assert not layer.attributes["initial_h"]


@pytest.mark.tvm
def test_a_chain_of_recurrences() -> None:
    """As exporters write it: transpose and reshape between bidirectional layers."""
    rng = np.random.default_rng(0)
    text = """
        g (float[6,1,8] x) => (float[] z)
        <float[2,64,8] w, float[2,64,16] r, float[2,64,32] v, float[2,64,16] q, int64[3] s>
        {
            y = LSTM <hidden_size: int = 16, direction: string = "bidirectional"> (x, w, r)
            t = Transpose <perm: ints = [0,2,1,3]> (y)
            u = Reshape (t, s)
            o, h = LSTM <hidden_size: int = 16, direction: string = "bidirectional"> (u, v, q)
            p = Add (h, h)
            k = ReduceSum <keepdims: int = 0> (o)
            z = Mul (p, k)
        }
    """
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> {text}')
    arrays = {
        "s": np.array([0, 0, -1]),
        **{
            name: rng.standard_normal(shape, np.float32) / 4
            for name, shape in {"w": (2, 64, 8), "r": (2, 64, 16), "v": (2, 64, 32), "q": (2, 64, 16)}.items()
        },
    }
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    del model.graph.value_info[:]
    found = built(onnx.shape_inference.infer_shapes(model, data_prop=True))
    assert kernels_of(found) == {"recurrent": 2}


@pytest.mark.tvm
@pytest.mark.parametrize("other", ["Neg", "Unique"])
def test_a_recurrence_in_a_branch(other: str) -> None:
    """Also in a branch that ONNX Runtime runs, because it has operators that cannot be compiled."""
    form, sizes = Form("gru"), Sizes(3, 2, 4, 6)
    inputs = make_inputs(form, sizes)
    model = recurrent(form, make_weights(form, sizes), inputs, outputs=["y"])
    (node,) = model.graph.node
    output = helper.make_tensor_value_info("e", TensorProto.FLOAT, ["a", "b", "c", "d"])
    reshaped = [helper.make_node(other, ["n"], ["u"]), helper.make_node("Reshape", ["u", "s"], ["e"])]
    branches: dict[str, Any] = {
        "then_branch": helper.make_graph([node], "a", [], [helper.make_empty_tensor_value_info("y")]),
        "else_branch": helper.make_graph(reshaped, "b", [], [output]),
    }
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("If", ["c"], ["y"], **branches))
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    model.graph.input.append(helper.make_tensor_value_info("n", TensorProto.FLOAT, [36]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([3, 1, 2, 6]), "s"))
    inputs["n"] = np.arange(36, dtype=np.float32)
    for condition in (True, False):
        found = built(model, {**inputs, "c": np.array(condition)})
        assert kernels_of(found) == {"recurrent": 1}
        assert len(found.segments) == (other == "Unique")


@pytest.mark.tvm
@pytest.mark.parametrize("length", [-1, 4])
def test_a_wrong_length_is_one_line_that_names_the_node(length: int) -> None:
    form, sizes = Form("lstm"), Sizes(3, 2, 4, 6)
    inputs = make_inputs(form, sizes, lengths=True)
    found = compiler.build(recurrent(form, make_weights(form, sizes), inputs), threads=1)
    with pytest.raises(ValueError, match=rf"^node 'recurrence': the length of sequence 1 is {length}; [^\n]*3 steps$"):
        found.run({**inputs, "sequence_lens": np.array([3, length], np.int32)})


@pytest.mark.parametrize(
    ("change", "value"),
    [("activations", [b"Sine", b"Tanh", b"Tanh"]), ("activations", [b"Tanh"]), ("direction", b"both"), ("clip", -1.0)],
)
def test_what_no_kernel_computes_is_not_recognized(change: str, value: Any) -> None:
    form, sizes = Form("lstm"), Sizes(3, 2, 4, 6)
    model = recurrent(form, make_weights(form, sizes), make_inputs(form, sizes))
    node = model.graph.node[0]
    kept = [attribute for attribute in node.attribute if attribute.name != change]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(change, value)])
    assert compiler.layers_of(model) == ()


def assert_right(found: compiler.CompiledModel, form: Form, weights: Weights, inputs: dict[str, Array]) -> None:
    answers = found.run(inputs)
    for got, want in zip(answers.values(), oracle(form, weights, **inputs), strict=True):
        assert got.shape == want.value.shape
        assert np.all(np.abs(got - want.value) <= want.tolerance)
