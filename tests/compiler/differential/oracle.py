"""The expected answers of a case: ONNX Runtime and onnx's reference implementation, where the two agree.

The reference implementation runs twice: with the case's types, and with float64 in place of all floating-point types,
rounded at the end. The second is the better answer if it agrees with ONNX Runtime. ``references`` has a third
implementation of some operators, which counts if it agrees with either. If ONNX Runtime has no code for a type, it runs
in float32. If one of the two cannot run a case, the other decides, unless a table below names it as not sound for the
operator. If ONNX Runtime rejects the case as not valid, it does not count, unless the two references agree.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx.shape_inference
import onnxruntime
from onnx import TensorProto, numpy_helper

from tests.compiler.differential import references
from tests.compiler.differential.case import Case
from tests.compiler.differential.outcome import compared, summary
from tests.compiler.differential.tolerance import STASHED, tolerances

# Why the reference implementation alone does not decide (where ONNX Runtime has no kernel for a type or opset).
REFERENCE_ALONE_IS_NOT_SOUND: Mapping[str, str] = {
    "MaxPool": "ignores dilations in some paths",
    "BatchNormalization": "its older versions apply epsilon in another place",
    "QLinearConv": "adds an axis to images of one axis",
    "GridSample": "its weights of integer images are integers",
    "Resize": "float64 coordinates instead of float32",
    "RoiAlign": "ignores coordinate_transformation_mode of older versions",
}
# Why ONNX Runtime alone does not decide (where the reference implementation raises).
RUNTIME_ALONE_IS_NOT_SOUND: Mapping[str, str] = {
    "Resize": "returns the input if its size does not change, also if the region of interest is a part of it",
    "ReduceMean": "the mean of no element is 0; the standard leaves it undefined, and the reference's is NaN",
}

_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}
# Opset 22 added bfloat16 to many operators and changed nothing else; ONNX Runtime lacks some of these versions.
_ONLY_TYPES = 22
# What ONNX Runtime says of a legal model that it has no code for.
_LACKS = ("NOT_IMPLEMENTED", "NotImplemented", "does not support double")


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
    lacks = problem is not None and any(text in problem for text in _LACKS)
    phase("reference")
    narrow, why = _attempt(lambda: run_reference(case.model, case.inputs))
    wide = _attempt(lambda: run_reference(_with_floats(case.model, np.float64), _cast(case.inputs, np.float64)))[0]
    ours = None
    if len(case.operators) == 1:
        ours = _attempt(lambda: references.run(case.model, case.inputs, case.version))[0]
    types = next((answers for answers in (runtime, narrow) if answers is not None), None)
    constants = [numpy_helper.to_array(constant) for constant in case.model.graph.initializer]
    arrays = [*case.inputs.values(), *constants]
    source = "ONNX Runtime"
    if runtime is None and lacks and case.version == _ONLY_TYPES:
        phase("ONNX Runtime")
        runtime = _attempt(lambda: run_onnxruntime(_with_opset(case.model, _ONLY_TYPES - 1), case.inputs))[0]
    if runtime is None and lacks:
        phase("ONNX Runtime")
        single = _with_floats(case.model, np.float32)
        if case.version == _ONLY_TYPES:
            single = _with_opset(single, _ONLY_TYPES - 1)
        answers = _attempt(lambda: run_onnxruntime(single, _cast(case.inputs, np.float32)))[0]
        types = types if types is not None else _restored(case, answers)
        runtime = _rounded(answers, types)
        source = "ONNX Runtime in float32"
    types = types if types is not None else runtime
    if problem_of_types := _other_types(case.model, types):
        return problem_of_types
    if types is None:
        return f"no oracle: {problem}; {why}"
    named = {"own": _rounded(ours, types), "wide": _rounded(wide, types), "reference": narrow}
    references_found = {name: answers for name, answers in named.items() if answers is not None}
    limit = functools.partial(_limits, case, arrays, source)
    problem_of_all = None
    for name, answers in references_found.items():
        others = {"reference": narrow, source: runtime} if name == "own" else {source: runtime}
        for other_name, other in others.items():
            if other is None or len(other) != len(answers):
                continue
            limits = limit(answers)
            problem_of_all = compared(other, answers, limits)
            if not problem_of_all:
                return Expected(answers, limits, f"{name} and {other_name}")
    if problem_of_all:
        return f"oracles disagree: {problem_of_all}"
    if runtime is not None:  # no reference
        if name := next((name for name in case.operators if name in RUNTIME_ALONE_IS_NOT_SOUND), None):
            return f"{source} alone: {RUNTIME_ALONE_IS_NOT_SOUND[name]}"
        return Expected(runtime, limit(runtime), source)
    if not lacks:
        return f"ONNX Runtime: {problem}"
    if name := next((name for name in case.operators if name in REFERENCE_ALONE_IS_NOT_SOUND), None):
        return f"reference alone: {REFERENCE_ALONE_IS_NOT_SOUND[name]}"
    best = next(iter(references_found.values()))
    limits = limit(best)
    if narrow is not None and compared(narrow, best, limits):
        return "the reference disagrees with itself in float64"
    return Expected(best, limits, "reference")


def _other_types(model: onnx.ModelProto, answers: Sequence[np.ndarray] | None) -> str:
    """Returns which answer has another type than inference gives; onnx's reference promotes some as NumPy does."""
    inferred = onnx.shape_inference.infer_shapes(model).graph.output
    for value, answer in zip(inferred, answers or (), strict=answers is not None):
        kind = value.type.tensor_type.elem_type
        if kind and onnx.helper.tensor_dtype_to_np_dtype(kind) != answer.dtype:
            return f"{value.name} is {answer.dtype} in the reference"
    return ""


def _limits(case: Case, arrays: list[np.ndarray], source: str, answers: list[np.ndarray]) -> list[tuple[float, float]]:
    """Returns the tolerances; those of float32 for float64 if the definition or the only known answer is in float32."""
    found = tolerances(case.operators, arrays, answers)
    if source != "ONNX Runtime in float32" and not STASHED & set(case.operators):
        return found
    single = tolerances(case.operators, arrays, [_single(answer) for answer in answers])
    least = (2 * float(np.finfo(np.float32).eps), float(np.finfo(np.float32).tiny))
    return [
        max(pair, other, least) if answer.dtype == np.float64 else pair
        for pair, other, answer in zip(found, single, answers, strict=True)
    ]


def _attempt(run: Callable[[], Sequence[Any] | None]) -> tuple[list[np.ndarray] | None, str | None]:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answers = run()
    except Exception as error:  # noqa: BLE001 - both raise many types
        return None, summary(error)
    if answers is None or not all(isinstance(answer, np.ndarray) for answer in answers):
        return None, "an answer that is not an array"
    return list(answers), None


def run_onnxruntime(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[Any]:
    """Runs a model without optimizations on one thread."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(y) if isinstance(y, np.generic) else y for y in session.run(None, dict(inputs))]


def run_reference(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[Any]:
    answers = onnx.reference.ReferenceEvaluator(_with_positive_axes(model)).run(None, dict(inputs))
    return [np.asarray(y) if isinstance(y, (np.generic, int, float)) else y for y in answers]


def _with_positive_axes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with the axes of Resize counted from the front, as the reference needs them.

    Without the reference, ONNX Runtime would decide alone; it returns the input where the size does not change, also if
    the scale is not 1.
    """
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in model.graph.input}
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for node in changed.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Resize" and attribute.name == "axes" and node.input[0] in ranks:
                attribute.ints[:] = [axis % ranks[node.input[0]] for axis in attribute.ints]
    return changed


def _single(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if x.dtype.kind == "f" else x


def _cast(inputs: Mapping[str, np.ndarray], dtype: type) -> dict[str, np.ndarray]:
    return {name: x.astype(dtype) if x.dtype.kind == "f" else x for name, x in inputs.items()}


def _with_floats(model: onnx.ModelProto, dtype: type) -> onnx.ModelProto:
    """Returns the model with another type in place of all floating-point types, also in attributes."""
    kind = int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value in changed.graph.input:
        if value.type.tensor_type.elem_type in _FLOATS:
            value.type.tensor_type.elem_type = kind
    for constant in changed.graph.initializer:
        if constant.data_type in _FLOATS:
            with np.errstate(all="ignore"):
                array = numpy_helper.to_array(constant).astype(dtype)
            constant.CopyFrom(numpy_helper.from_array(array, constant.name))
    return changed


def _with_opset(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.opset_import[0].version = version
    return changed


def _restored(case: Case, answers: list[np.ndarray] | None) -> list[np.ndarray] | None:
    """Returns answers in the floating-point type that all inputs have."""
    kinds = {x.dtype for x in case.inputs.values() if x.dtype.kind == "f"}
    if answers is None or len(kinds) != 1:
        return None
    (dtype,) = kinds
    with np.errstate(all="ignore"):
        return [answer.astype(dtype) if answer.dtype == np.float32 else answer for answer in answers]


def _rounded(answers: list[np.ndarray] | None, types: list[np.ndarray] | None) -> list[np.ndarray] | None:
    """Returns answers in the types of others; None if they differ in more than the floating-point type."""
    if answers is None or types is None or len(answers) != len(types):
        return None
    rounded = []
    for x, like in zip(answers, types, strict=True):
        if x.dtype != like.dtype and (x.dtype.kind, like.dtype.kind) != ("f", "f"):
            return None
        with np.errstate(all="ignore"):
            rounded.append(x.astype(like.dtype))
    return rounded
