"""The node tests of onnx, and whether a model passes one in ONNX Runtime.

The cases are part of onnx: Python modules, about one per operator, which create models, inputs and expected outputs on
import.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase

PACKAGE = "onnx.backend.test.case.node"
FOLDER = Path(onnx.__file__).parent.joinpath(*PACKAGE.split(".")[1:])
MODULES = [module.name for module in pkgutil.iter_modules([str(FOLDER)]) if not module.name.startswith("_")]

# Every n-th case of those that expand an operator into its function. Attention's 93 cases are the same hundred nodes
# with other shapes, and would take a fifth of the time of all tests here.
EXPANDED_KEPT: Mapping[str, int] = {"attention": 4}


@cache
def cases(module: str) -> list[TestCase]:
    """Returns the cases that a module of onnx creates on import, which runs once per process."""
    package = importlib.import_module(PACKAGE)
    made = package._NodeTestCases
    before = len(made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns about cases that overflow on purpose
        _import(f"{PACKAGE}.{module}")
    expanded = [case for case in made[before:] if "_expanded" in case.name]
    return [case for case in made[before:] if case not in expanded] + expanded[:: EXPANDED_KEPT.get(module, 1)]


def _import(name: str) -> None:
    for inner in pkgutil.iter_modules(getattr(importlib.import_module(name), "__path__", [])):
        _import(f"{name}.{inner.name}")


def dynamic_shapes(case: TestCase) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of inputs with dynamic dimensions; the pass would set a batch to 1."""
    assert case.model is not None
    arrays: Sequence[Any] = case.data_sets[0][0] if case.data_sets else ()
    values = zip(case.model.graph.input, arrays, strict=False)
    return {
        declared.name: given.shape
        for declared, given in values
        if isinstance(given, np.ndarray) and any(dim.dim_param for dim in declared.type.tensor_type.shape.dim)
    }


def failure(case: TestCase, model: onnx.ModelProto | None) -> str | None:
    """Returns why a model does not compute the expected outputs in ONNX Runtime, within the tolerance of the case."""
    from onnx.backend.test.runner import Runner

    try:
        run = session(model)
        for given, expected in case.data_sets or ():
            feeds = zip([value.name for value in run.get_inputs()], map(array, given), strict=False)
            answers = [np.asarray(a) if isinstance(a, np.generic) else a for a in run.run(None, dict(feeds))]
            Runner.assert_similar_outputs([array(e) for e in expected], answers, case.rtol, case.atol)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime and NumPy raise many types
        return f"{type(error).__name__}: {error}"
    return None


def session(model: onnx.ModelProto | None) -> onnxruntime.InferenceSession:
    assert model is not None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value
