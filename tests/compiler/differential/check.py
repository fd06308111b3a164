"""Checks cases: the oracles' answers against those of the compiled model, in forked processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx

from tests.compiler.differential import children
from tests.compiler.differential.case import Case
from tests.compiler.differential.oracle import Expected, expected, run_onnxruntime
from tests.compiler.differential.outcome import DISCARDED, WRONG, Outcome, compared, died, outcome, summary
from tests.compiler.differential.values import flushed, with_subnormals


def outcomes(
    cases: Sequence[Case],
    limit_secs: float = 60.0,
    copied: Callable[[np.ndarray], np.ndarray] = np.copy,
    errors: str = os.devnull,
) -> list[Outcome]:
    """Returns the outcome of each case. ``copied`` makes the arrays that the compiled model gets.

    ``limit_secs`` and ``errors`` are as in ``children.results``.
    """
    found = children.results(partial(_outcome, copied=copied), cases, limit_secs, errors=errors)
    return [died(got.phase, got.how) if isinstance(got, children.Died) else got for got in found]


def _outcome(case: Case, phase: Callable[[str], None], copied: Callable[[np.ndarray], np.ndarray]) -> Outcome:
    if case.undefined or case.illegal:
        phase("shapes")
        try:
            model = _inferred(case)
        except Exception as error:  # noqa: BLE001 - inference raises many types
            return Outcome(DISCARDED, summary(error))
        # In a graph, no output may need the elements at an index that is not legal.
        illegal = case.illegal and len(case.operators) == 1
        return outcome(
            model, case.inputs, None, case.threads, case.input_shapes, phase, illegal, copied, ieee=case.ieee
        )
    want = expected(case, phase)
    if isinstance(want, str):
        return Outcome(DISCARDED, want)
    model = case.with_outputs(want.answers)
    compare = partial(_compared, case=case, want=want)
    given = _given(case)
    got = outcome(model, given, compare, case.threads, case.input_shapes, phase, copied=copied, ieee=case.ieee)
    if got.kind == WRONG and len(case.operators) > 1 and "MaxPool" in case.operators and "NaN" in got.reason:
        return Outcome(DISCARDED, "ONNX Runtime's maximum of NaN depends on the place of the NaN in the window")
    may_amplify = len(case.operators) > 1 or not AMPLIFYING.isdisjoint(case.operators)
    if got.kind == WRONG and may_amplify and (problem := _ill_conditioned(case, want, phase)):
        return Outcome(DISCARDED, problem)
    return got


# Operators that see the bits of a subnormal: the CPU's mode does not change what they compute.
SEEING_BITS = frozenset({"BitCast", "Mod"})


def _given(case: Case) -> Mapping[str, np.ndarray]:
    """Returns the inputs of the compiled model, which may have subnormals where the oracles get zeros."""
    if case.ieee or not SEEING_BITS.isdisjoint(case.operators):
        return case.inputs
    return {name: with_subnormals(x) for name, x in case.inputs.items()}


def _compared(got: Sequence[Any], case: Case, want: Expected) -> str:
    """As ``compared``. What moves elements moves subnormals too, which count as zeros."""
    if not case.ieee:
        got = [flushed(x) if isinstance(x, np.ndarray) else x for x in got]
    return compared(got, want.answers, want.tolerances)


# Operators that may amplify roundings without bound, as graphs may: by definition, the variance is a difference, and a
# negative one gives NaN.
AMPLIFYING = frozenset({"MeanVarianceNormalization"})


def _inferred(case: Case) -> onnx.ModelProto:
    """Returns the model with the types of its outputs, which no oracle computes."""
    return onnx.shape_inference.infer_shapes(case.model, strict_mode=True, data_prop=True)


def _ill_conditioned(case: Case, want: Expected, phase: Callable[[str], None]) -> str:
    """Returns a reason if inputs that differ by some roundings change a graph's answer by more than the tolerance."""
    made_nan = any(np.isnan(y).any() for y in want.answers) and all(np.isfinite(x).all() for x in case.inputs.values())
    if not AMPLIFYING.isdisjoint(case.operators) and made_nan:
        return "not stable: the definition gives the root of a negative rounding error"
    phase("ONNX Runtime")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        moved = {name: _moved(x, rng) for name, x in case.inputs.items()}
        answers = run_onnxruntime(case.model, moved)
        if compared(answers, want.answers, want.tolerances):
            return "not stable: some roundings of the inputs change the answer"
    return ""


def _moved(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if x.dtype.kind != "f":
        return x
    with np.errstate(all="ignore"):
        return (x * (1 + rng.choice([-2.0, 2.0], x.shape) * np.finfo(x.dtype).eps)).astype(x.dtype)
