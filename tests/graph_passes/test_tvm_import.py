"""TVM's importer reads what the graph passes make, also of models that it refuses as they were published.

Of those here it refuses the direction classifier (a Reshape to a shape that is computed) and MiniLM with int8 weights
(a Reshape of a value without a shape). The other large models take gigabytes and add no operator. The one model that it
refuses optimized too is crnn-int8: TVM 0.27 knows neither ConvInteger nor ONNX Runtime's own DynamicQuantizeLSTM.
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
    """The module of TVM's importer."""
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
    """The two that TVM compiles in seconds; the larger of them takes twice as long if LLVM optimizes."""
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
