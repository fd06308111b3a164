"""TVM's importer reads the optimized models, including models whose published form it rejects.

It rejects the published direction classifier (a Reshape to a computed shape) and MiniLM with int8 weights (a Reshape of
a value without a shape). The other large models take gigabytes and add no operator. crnn-int8 is rejected even when
optimized: TVM 0.27 supports neither ConvInteger nor ONNX Runtime's DynamicQuantizeLSTM. After ``FOR_TVM`` it is
imported, as are small models of each kind that TVM rejects; they give the right answers in TVM.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import graph_passes
from benchmarks.models import MODELS, load, missing, random_inputs
from compiler.program import tvm_pair
from tests.graph_passes import oracle
from tests.graph_passes.models import model as model_of
from tests.graph_passes.test_forms_for_tvm import MODELS as FORMS
from tests.graph_passes.test_unroll_lstm import lstm, quantized_weights
from tests.graph_passes.test_unroll_recurrences import recurrence

pytestmark = pytest.mark.tvm

IMPORTED = [*(name for name, model in MODELS.items() if model.small), "minilm-int8"]


@pytest.fixture(scope="module")
def importer() -> Any:
    """Returns the module of TVM's importer."""
    try:
        tvm_pair.load()
    except ImportError as error:
        pytest.skip(str(error))
    return importlib.import_module("tvm.relax.frontend.onnx")  # its types do not fit its own signatures


def optimized(name: str) -> graph_passes.Optimized:
    if reason := missing(name):
        pytest.skip(reason)
    return graph_passes.optimize(load(name), input_shapes=MODELS[name].input_shapes)


@pytest.mark.parametrize("name", IMPORTED)
def test_optimized_model_is_imported(importer: Any, name: str) -> None:
    model = graph_passes.inline(optimized(name).model)
    module = importer.from_onnx(model, keep_params_in_input=False)
    sizes = [tuple(int(size) for size in value.ty.shape) for value in module["main"].params]
    assert sizes == [MODELS[name].input_shapes[value.name] for value in model.graph.input]


@pytest.mark.parametrize("name", ["mnist-cnn", "direction-classifier"])
def test_it_answers_as_the_original(importer: Any, name: str) -> None:
    """Runs the two models that TVM compiles in seconds, without LLVM's optimizations, which take as long again."""
    model = optimized(name).model
    original = load(name)
    inputs = random_inputs(original, MODELS[name].input_shapes)
    module = importer.from_onnx(graph_passes.inline(model), keep_params_in_input=False)
    (answer,) = run_in_tvm(module, model, inputs)
    (wanted,), (allowed,) = oracle.answers_and_tolerances(original, inputs)
    assert answer.shape == wanted.shape
    assert np.abs(answer - wanted).max() <= allowed


def test_a_quantized_recurrent_network_is_imported(importer: Any) -> None:
    if reason := missing("crnn-int8"):
        pytest.skip(reason)
    rewritten = graph_passes.optimize(load("crnn-int8"), MODELS["crnn-int8"].input_shapes, graph_passes.FOR_TVM)
    assert importer.from_onnx(rewritten.model, keep_params_in_input=False)["main"].params


LOOP = """g (float[2] x) => (float[2] last, float[3, 2] all) {
    three = Constant <value_int = 3> ()
    yes = Constant <value = bool {1}> ()
    last, all = Loop <body = b (int64 i, bool c, float[2] s) => (bool d, float[2] t, float[2] u) {
        d = Identity (c)  n = Cast <to = 1> (i)  t = Add (s, n)  u = Mul (t, x) }> (three, yes, x)
}"""
BRANCHES = """g (float[2] x) => (float[2] y) {
    two = Constant <value_ints = [2]> ()
    size = Shape (x)
    c = Equal (size, two)
    y = If <then_branch = a () => (float[2] t) { t = Relu (x) }, else_branch = b () => (float[2] e) { e = Neg (x) }> (c)
}"""
FUNCTION = """g (float[2, 3] x) => (float[2, 4] y) <float[3, 4] w, float[4] b> {
    m = MatMul (x, w)  a = Add (m, b)  y = Relu (a) }"""


def of_microsoft() -> onnx.ModelProto:
    """Operators of com.microsoft, as ONNX Runtime's optimizer writes them for transformers."""
    rng = np.random.default_rng(0)
    arrays = {"w": (8, 12), "b": (12,), "v": (8, 12), "gamma": (8,), "beta": (8,)}
    nodes = [
        helper.make_node("FusedMatMul", ["x", "w"], ["p"], domain="com.microsoft", alpha=0.5),
        helper.make_node("BiasGelu", ["p", "b"], ["q"], domain="com.microsoft"),
        helper.make_node("FastGelu", ["q"], ["r"], domain="com.microsoft"),
        helper.make_node("FusedMatMul", ["r", "v"], ["s"], domain="com.microsoft", transB=1),
        helper.make_node("SkipLayerNormalization", ["s", "x", "gamma", "beta"], ["y"], domain="com.microsoft"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 5, 8))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 5, 8))],
        [numpy_helper.from_array(rng.standard_normal(shape, np.float32), name) for name, shape in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets)


# One small model of each kind that TVM's importer rejects as published.
KINDS = {
    "LSTM": lambda: recurrence("LSTM", ("b", "h", "c", "p", "lengths"), direction="bidirectional"),
    "GRU": lambda: recurrence("GRU", ("b", "h"), direction="bidirectional", linear_before_reset=1),
    "RNN": lambda: recurrence("RNN", direction="reverse"),
    "quantized LSTM": lambda: lstm(quantized_weights(1, np.uint8, False), ("h", "c")),
    "com.microsoft": of_microsoft,
    "Loop": lambda: model_of(LOOP),
    "If": lambda: model_of(BRANCHES),
    "functions": lambda: graph_passes.optimize(model_of(FUNCTION)).model,
    "CenterCropPad": lambda: model_of(
        "g (float[5, 6] x) => (float[3, 8] y) <int64[2] size> { y = CenterCropPad (x, size) }", size=np.array([3, 8])
    ),
}


@pytest.mark.parametrize("kind", [*KINDS, *FORMS])
def test_each_kind_answers_in_tvm_as_in_onnx_runtime(importer: Any, kind: str) -> None:
    original = (KINDS if kind in KINDS else FORMS)[kind]()
    rewritten = graph_passes.optimize(original, passes=graph_passes.FOR_TVM).model
    onnx.checker.check_model(rewritten, full_check=True)
    inputs = oracle.random_inputs(original, seed=0)
    oracle.assert_same(original, rewritten, inputs)
    answers = run_in_tvm(importer.from_onnx(rewritten, keep_params_in_input=False), rewritten, inputs)
    wanted, allowed = oracle.answers_and_tolerances(original, inputs)
    for want, got, limit in zip(wanted, answers, allowed, strict=True):
        assert got.shape == want.shape
        assert np.abs(got - want).max(initial=0) <= limit


def run_in_tvm(module: Any, model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Compiles an imported module without LLVM's optimizations, runs it, and returns its outputs in order."""
    tvm: Any = importlib.import_module("tvm")
    target = tvm.target.Target({"kind": "llvm", "num-cores": 1, "opt-level": 0})
    machine = tvm.relax.VirtualMachine(tvm.compile(module, target=target), [tvm.cpu()])
    answer = machine["main"](*(tvm.runtime.tensor(inputs[value.name]) for value in model.graph.input))
    return [each.numpy() for each in ([answer] if hasattr(answer, "numpy") else answer)]
