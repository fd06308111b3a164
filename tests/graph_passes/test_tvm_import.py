"""TVM's importer reads the optimized models, including models whose published form it rejects.

It rejects the published direction classifier (a Reshape to a computed shape) and MiniLM with int8 weights (a Reshape of
a value without a shape). The other large models take gigabytes and add no operator. crnn-int8 is rejected even when
optimized: TVM 0.27 supports neither ConvInteger nor ONNX Runtime's DynamicQuantizeLSTM.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import graph_passes
from benchmarks.models import MODELS, load, missing, random_inputs
from compiler.program import tvm_pair
from tests.graph_passes import oracle

pytestmark = pytest.mark.tvm

IMPORTED = [*(name for name, model in MODELS.items() if model.small), "minilm-int8"]


@pytest.fixture(scope="module")
def importer() -> Any:
    """Returns the module of TVM's importer."""
    try:
        tvm_pair.load()
    except ImportError as error:
        pytest.skip(str(error))
    from tvm.relax.frontend import onnx

    return onnx


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
    tvm: Any = importlib.import_module("tvm")  # whose types do not fit its own signatures

    model = optimized(name).model
    original = load(name)
    inputs = random_inputs(original, MODELS[name].input_shapes)
    module = importer.from_onnx(graph_passes.inline(model), keep_params_in_input=False)
    target = tvm.target.Target({"kind": "llvm", "num-cores": 1, "opt-level": 0})
    machine = tvm.relax.VirtualMachine(tvm.compile(module, target=target), [tvm.cpu()])
    answer = machine["main"](*(tvm.runtime.tensor(inputs[value.name]) for value in model.graph.input)).numpy()
    (wanted,), (allowed,) = oracle.answers_and_tolerances(original, inputs)
    assert answer.shape == wanted.shape
    assert np.abs(answer - wanted).max() <= allowed
