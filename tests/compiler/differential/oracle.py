"""The expected answers of a case: ONNX Runtime and onnx's reference implementation, where the two agree.

The reference implementation runs twice: with the case's types, and with float64 in place of smaller floating-point
types, rounded at the end. The second is the better answer if it agrees with ONNX Runtime. If one of the two cannot run
a case, the other decides, unless a table below names it as not sound for the operator. If ONNX Runtime rejects the
case as not valid, it does not count.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.reference
import onnxruntime
from onnx import TensorProto, numpy_helper

from tests.compiler.differential.case import Case
from tests.compiler.differential.outcome import compared, summary
from tests.compiler.differential.tolerance import tolerances

# Why the reference implementation alone does not decide (where ONNX Runtime has no kernel for a type or opset).
REFERENCE_ALONE_IS_NOT_SOUND: Mapping[str, str] = {
    "MaxPool": "ignores dilations in some paths",
    "Resize": "float64 coordinates instead of float32",
    "RoiAlign": "ignores coordinate_transformation_mode of older versions",
}
# Why ONNX Runtime alone does not decide (where the reference implementation raises).
RUNTIME_ALONE_IS_NOT_SOUND: Mapping[str, str] = {}

_WIDE = {TensorProto.FLOAT, TensorProto.FLOAT16}


@dataclass(frozen=True)
class Expected:
    """The answers and their tolerances (relative, absolute), and which oracles gave them."""

    answers: list[np.ndarray]
    tolerances: list[tuple[float, float]]
    source: str


def expected(case: Case, phase: Callable[[str], None]) -> Expected | str:
    """Returns what a correct program returns, or why this is not known."""
    phase("ONNX Runtime")
    runtime, problem = _attempt(lambda: run_onnxruntime(case.model, case.inputs))
    lacks = problem is not None and "NOT_IMPLEMENTED" in problem
    if runtime is None and not lacks:
        return f"ONNX Runtime: {problem}"
    phase("reference")
    narrow, why_narrow = _attempt(lambda: run_reference(case.model, case.inputs))
    wide, _ = _attempt(lambda: run_reference(_widened(case.model), {n: _wide(x) for n, x in case.inputs.items()}))
    types = runtime if runtime is not None else narrow
    if types is None:
        return f"neither oracle: {why_narrow}"
    if wide is not None:
        wide = _rounded(wide, types)
    constants = [numpy_helper.to_array(constant) for constant in case.model.graph.initializer]
    arrays = [*case.inputs.values(), *constants]
    if runtime is None:
        assert narrow is not None
        if name := next((name for name in case.operators if name in REFERENCE_ALONE_IS_NOT_SOUND), None):
            return f"reference alone: {REFERENCE_ALONE_IS_NOT_SOUND[name]}"
        best = wide if wide is not None else narrow
        limits = tolerances(case.operators, arrays, best)
        if compared(narrow, best, limits):
            return "the reference disagrees with itself in float64"
        return Expected(best, limits, "reference")
    if narrow is None:
        if name := next((name for name in case.operators if name in RUNTIME_ALONE_IS_NOT_SOUND), None):
            return f"ONNX Runtime alone: {RUNTIME_ALONE_IS_NOT_SOUND[name]}"
        return Expected(runtime, tolerances(case.operators, arrays, runtime), "ONNX Runtime")
    problem = None
    for reference in (wide, narrow):
        if reference is None or len(reference) != len(runtime):
            continue
        limits = tolerances(case.operators, arrays, reference)
        problem = compared(runtime, reference, limits)
        if not problem:
            return Expected(reference, limits, "both")
    return f"oracles disagree: {problem}"


def _attempt(run: Callable[[], list[np.ndarray]]) -> tuple[list[np.ndarray] | None, str | None]:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answers = run()
    except Exception as error:  # noqa: BLE001 - both raise many types
        return None, summary(error)
    if not all(isinstance(answer, np.ndarray) for answer in answers):
        return None, "an answer that is not an array"
    return answers, None


def run_onnxruntime(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Runs a model without optimizations on one thread."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(y) if isinstance(y, np.generic) else y for y in session.run(None, dict(inputs))]


def run_reference(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    answers = onnx.reference.ReferenceEvaluator(model).run(None, dict(inputs))
    return [np.asarray(y) if isinstance(y, (np.generic, int, float)) else y for y in answers]


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) if x.dtype in (np.float32, np.float16) else x


def _widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with float64 in place of float32 and float16."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for value in wide.graph.input:
        if value.type.tensor_type.elem_type in _WIDE:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for constant in wide.graph.initializer:
        if constant.data_type in _WIDE:
            constant.CopyFrom(numpy_helper.from_array(_wide(numpy_helper.to_array(constant)), constant.name))
    return wide


def _rounded(wide: list[np.ndarray], types: list[np.ndarray]) -> list[np.ndarray] | None:
    """Returns wide answers in the types of others; None if they differ in more than the floating-point type."""
    if len(wide) != len(types):
        return None
    rounded = []
    for x, like in zip(wide, types, strict=True):
        if x.dtype != like.dtype and (x.dtype.kind, like.dtype.kind) != ("f", "f"):
            return None
        with np.errstate(all="ignore"):
            rounded.append(x.astype(like.dtype))
    return rounded
