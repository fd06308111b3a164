"""One model of the census in TVM: whether its ONNX importer accepts a form of it, and whether that form runs."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import time
import warnings
from typing import Any

import numpy as np
import onnx

import graph_passes
from benchmarks.census.check import compare, expected
from benchmarks.models import census
from compiler.check import reference
from compiler.program import tvm_pair

PUBLISHED, DEFAULT, FOR_TVM = "published", "default", "for_tvm"
FORMS = (PUBLISHED, DEFAULT, FOR_TVM)
Result = dict[str, Any]


def rewritten(name: str, form: str) -> onnx.ModelProto:
    """Returns a form of a model: as published, after the default passes, or after those for TVM.

    Raises:
        ValueError: a pass rejects the model.
    """
    model = census.load(name)
    if form == PUBLISHED:
        return model
    shapes = census.model(name).input_shapes
    if form == FOR_TVM:
        return graph_passes.optimize(model, shapes, graph_passes.FOR_TVM).model
    return graph_passes.inline(graph_passes.optimize(model, shapes).model)


def imported(name: str, form: str) -> Result:
    """Imports a form of a model into TVM, and compares its answers in ONNX Runtime with those of the published model.

    The result has ``imported``, ``why`` and ``operator`` (those that TVM rejects), ``agrees`` and ``off``, the error as
    a multiple of what is allowed; the last two are None for the published form.
    """
    result: Result = {"imported": False, "why": "", "operator": "", "agrees": None, "off": None}
    start = time.perf_counter()
    try:
        model = rewritten(name, form)
    except ValueError as error:
        return result | {"why": _line(error), "operator": "passes"}
    result |= {"seconds": time.perf_counter() - start, "nodes": len(model.graph.node)}
    if form != PUBLISHED:
        inputs = census.inputs(name)
        want = expected(name, census.load(name), inputs)
        try:
            result["off"], wrong = compare(want, reference.run(model, inputs))
        except RuntimeError as error:
            result["off"], wrong = float("inf"), str(error)
        result["agrees"] = not wrong
        result["why"] = wrong
    try:
        _import(model, name)
    except Rejected as error:
        return result | {"why": error.why, "operator": error.operator}
    return result | {"imported": True}


def run(name: str) -> Result:
    """Builds the module of a model after the passes for TVM, runs it, and compares its answers."""
    tvm: Any = importlib.import_module("tvm")
    inputs = census.inputs(name)
    want = expected(name, census.load(name), inputs)
    model = rewritten(name, FOR_TVM)
    try:
        module = _import(model, name)
    except Rejected as error:
        return {"runs": False, "why": error.why}
    start = time.perf_counter()
    try:
        target = tvm.target.Target({"kind": "llvm", "num-cores": 1})
        executable = tvm.compile(module, target=target)
        built = time.perf_counter() - start
        machine = tvm.relax.VirtualMachine(executable, [tvm.cpu()])
        answer = machine["main"](*(tvm.runtime.tensor(inputs[value.name]) for value in model.graph.input))
    except Exception as error:  # noqa: BLE001 - TVM's errors share no base class
        return {"runs": False, "why": _line(error)}
    answers = [answer] if hasattr(answer, "numpy") else list(answer)
    found = {value.name: each.numpy() for value, each in zip(model.graph.output, answers, strict=True)}
    off, wrong = compare(want, {name: np.asarray(array) for name, array in found.items()})
    return {"runs": not wrong, "why": wrong, "off": off, "seconds": built}


class Rejected(Exception):
    """TVM's importer does not accept a model; ``operator`` names the operators if they are known."""

    def __init__(self, why: str, operator: str) -> None:
        super().__init__(why)
        self.why, self.operator = why, operator


def _import(model: onnx.ModelProto, name: str) -> Any:
    """Returns the Relax module of a model.

    Raises:
        Rejected: TVM's importer does not accept it.
    """
    tvm_pair.load()
    frontend: Any = importlib.import_module("tvm.relax.frontend.onnx")
    printed = io.StringIO()
    shapes = {key: list(shape) for key, shape in census.model(name).input_shapes.items()}
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
            warnings.simplefilter("ignore")
            return frontend.from_onnx(model, shape_dict=shapes, keep_params_in_input=False)
    except Exception as error:  # noqa: BLE001 - TVM's errors share no base class
        operators = re.findall(r"^Error converting operator (\w+)", printed.getvalue(), re.MULTILINE)
        unknown = re.findall(r"not supported for frontend ONNX: (.*)", str(error))
        found = operators[0] if operators else ", ".join(sorted(unknown[0].split(", "))) if unknown else "?"
        raise Rejected(_line(error), found) from None


def _line(error: BaseException) -> str:
    """Returns the kind of an error and the last line of its message, which is the one that names the cause in TVM."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"
