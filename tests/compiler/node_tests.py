"""Runs onnx's node tests through ``compiler.build``, each in two forms and with one and two threads; of a sample, each
with one of them.

The first form is the case as it is: all its tensors are inputs. In the second form, all inputs but the first are
initializers, as parameters are in most models. A case counts if ONNX Runtime passes it; those that the program runs in
ONNX Runtime, in part or entirely, are counted apart. ``python -m
tests.compiler.node_tests`` runs all of them; ``--json FILE`` writes the outcome of each.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase

from tests.compiler.differential import children
from tests.compiler.differential.outcome import (
    DISCARDED,
    FAILURES,
    PASSED,
    UNSUPPORTED,
    Outcome,
    compared,
    died,
    outcome,
    warm,
)
from tests.graph_passes.backend_nodes import MODULES, array, cases, dynamic_shapes, failure

# The cases of these modules had wrong answers, late errors or crashes; a sample has more of them.
FAILED_BEFORE = frozenset(
    "batchnorm bitshift constantofshape convtranspose expand identity isinf mod nonmaxsuppression pow reduce_log_sum "
    "reduce_log_sum_exp reduce_max reduce_min reduce_sum reducel1 reducel2 reduceprod reduce_sum_square resize "
    "rms_normalization slice spacetodepth split tile".split()
)
FAILED_BEFORE_EVERY = 36
# A module is divided into this many parts, so that two processes can share the work evenly.
PARTS = 2
FORMS = ("inputs", "constants")
THREADS = (1, 2)


class Result(NamedTuple):
    case: str
    form: str
    operators: str
    kind: str
    reason: str
    compiled: bool


def run(every: int = 1, jobs: int = 2, modules: Sequence[str] = MODULES) -> list[Result]:
    """Returns the results in the order of the cases.

    Args:
        every: each n-th case of a module runs, and at least each eighteenth one of ``FAILED_BEFORE``.
        jobs: number of processes that run cases at the same time.
    """
    units = [(module, part) for module in modules for part in range(PARTS)]
    parts = children.in_workers(partial(_part, every=every), units, jobs, warm)
    return [result for found in parts for result in found]


def _part(unit: tuple[str, int], every: int) -> list[Result]:
    module, part = unit
    step = min(every, FAILED_BEFORE_EVERY) if module in FAILED_BEFORE else every
    some = cases(module)[::step]
    some = some[part::PARTS]
    forms = [
        (case, form, THREADS if every == 1 else THREADS[index % 2 :][:1])
        for index, case in enumerate(some)
        for form in FORMS
        if form == "inputs" or _has_parameters(case)
    ]
    outcomes = children.results(_outcome, forms)
    found = []
    for (case, form, _threads), got in zip(forms, outcomes, strict=True):
        got = died(got.phase, got.how) if isinstance(got, children.Died) else got
        assert case.model is not None
        operators = ", ".join(dict.fromkeys(node.op_type for node in case.model.graph.node))
        found.append(Result(case.name, form, operators, got.kind, got.reason, got.compiled))
    return found


def _outcome(item: tuple[TestCase, str, Sequence[int]], phase: Callable[[str], None]) -> Outcome:
    case, form, numbers = item
    phase("ONNX Runtime")
    model = case.model if form == "inputs" else _with_constants(case)
    assert model is not None
    got = Outcome(DISCARDED, "no data")
    if failure(case, case.model) or not case.data_sets:
        return Outcome(DISCARDED, "ONNX Runtime does not pass it")
    shapes = {name: s for name, s in dynamic_shapes(case).items() if name in {i.name for i in model.graph.input}}
    for given, expected in case.data_sets:
        values = [array(value) for value in given]
        want = [_value(array(value)) for value in expected]
        names = [value.name for value in model.graph.input]
        inputs = {name: _value(value) for name, value in zip(names, values, strict=False)}
        compare = partial(compared, want=want, tolerances=[_tolerance(case, w) for w in want])
        got = _first_failure(
            outcome(model, inputs, compare, threads, shapes, phase, fallback="onnxruntime") for threads in numbers
        )
        if got.kind != PASSED:
            return got
    return got


def _value(value: Any) -> Any:
    """Returns a number as an array; anything else unchanged."""
    return np.asarray(value) if isinstance(value, np.generic) else value


def _first_failure(outcomes: Any) -> Outcome:
    last = Outcome(PASSED)
    for last in outcomes:
        if last.kind != PASSED:
            break
    return last


def _tolerance(case: TestCase, want: Any) -> tuple[float, float]:
    """Returns the case's tolerance, at least some roundings of the output's type."""
    if isinstance(want, list):
        return _tolerance(case, want[0]) if want else (0.0, 0.0)
    if want is None or want.dtype.kind != "f":
        return 0.0, 0.0
    eps = float(ml_dtypes.finfo(want.dtype).eps)
    return max(case.rtol, 4 * eps), max(case.atol, 4 * eps if want.dtype.itemsize < 4 else 0.0)


def _has_parameters(case: TestCase) -> bool:
    given = case.data_sets[0][0] if case.data_sets else ()
    return len(given) > 1 and all(isinstance(array(value), (np.ndarray, np.generic)) for value in given)


def _with_constants(case: TestCase) -> onnx.ModelProto:
    """Returns the model with all inputs but the first as initializers."""
    assert case.model is not None
    assert case.data_sets
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = max(model.ir_version, 4)  # before 4, an initializer had to be an input, too
    later = list(model.graph.input)[1:]
    for declared, value in zip(later, case.data_sets[0][0][1:], strict=False):
        model.graph.input.remove(declared)
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array(value)), declared.name))
    return model


def summary(results: Sequence[Result]) -> str:
    """Returns one line per form with the counts."""
    lines = []
    for form in FORMS:
        kinds = Counter(r.kind for r in results if r.form == form)
        total = kinds.total() - kinds[DISCARDED]
        compiled = sum(r.form == form and r.kind == PASSED and r.compiled for r in results)
        failed = ", ".join(f"{kinds[kind]} {kind}" for kind in FAILURES)
        lines.append(
            f"{form}: {kinds[PASSED]} of {total} passed ({compiled} without ONNX Runtime), "
            f"{kinds[UNSUPPORTED]} not supported, {failed} "
            f"({kinds[DISCARDED]} more fail in ONNX Runtime)"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the failures and the counts; returns 1 if a case failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.compiler.node_tests", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="run each N-th case of an operator (1: all)")
    parser.add_argument("--jobs", type=int, default=2, help="processes that run cases at the same time")
    parser.add_argument("--modules", type=lambda text: text.split(","), default=MODULES, help="such as resize,pad")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome of each case")
    options = parser.parse_args(arguments)
    results = run(options.every, options.jobs, options.modules)
    if options.json:
        options.json.write_text(json.dumps([r._asdict() for r in results], indent=1))
    failed = [r for r in results if r.kind in FAILURES]
    for r in failed:
        print(f"{r.case} ({r.form}): {r.kind}: {r.reason}")
    print(summary(results))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
