"""The implementations that are compared on a whole model: ours and other runtimes that give the right answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from benchmarks import models
from benchmarks.whole_models.stored import StoredSchedules, stored_schedules
from compiler import runtimes
from compiler.measure.answers import WrongAnswerError, agree
from compiler.program.compiled_model import CompiledModel
from compiler.runtimes import Runtime, RuntimeUnavailable
from compiler.runtimes import ours as own_runtime

if TYPE_CHECKING:
    import onnx

# The answers of all implementations are compared with those of the first one.
REFERENCE = "onnxruntime"
PEERS = (REFERENCE, "openvino", "ncnn")
# Largest difference from the reference, relative to the largest element of an output. Rounding in float32 through the
# deepest network here, in another order and with Winograd's algorithms, stays below it.
TOLERANCE = 1e-4

Arrays: TypeAlias = Mapping[str, np.ndarray]
Run: TypeAlias = Callable[[Arrays], Arrays]


@dataclass
class Implementations:
    """The implementations of a model by name.

    Attributes:
        ours: our model with default schedules.
        stored: the schedules that are stored for it.
        runs: functions that run all of them. "default" and, if any schedules are stored, "tuned" are ours.
        differences: the differences of their answers from the reference.
        versions: the versions of the other runtimes.
        skipped: runtimes that cannot run the model, with the reason.
        wrong: runtimes that are left out because their answer is wrong, with the difference.
    """

    ours: CompiledModel
    stored: StoredSchedules
    runs: dict[str, Run] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def frozen(name: str) -> onnx.ModelProto:
    """Returns a model of ``benchmarks.models`` without any optimization, but with static shapes."""
    import graph_passes

    return graph_passes.optimize(models.load(name), models.MODELS[name].input_shapes, ["freeze_shapes"]).model


def reference(model: onnx.ModelProto, threads: int) -> Runtime:
    """Loads a model into ONNX Runtime, whose answers the others are compared with.

    Raises:
        RuntimeUnavailable: it is not installed.
    """
    return runtimes.load(REFERENCE, model, threads)


def implementations(model: onnx.ModelProto, inputs: Arrays, threads: int, records: Path | None) -> Implementations:
    """Loads a model into all runtimes and compares their answers with those of ONNX Runtime.

    Args:
        model: as ``frozen`` returns it.
        inputs: the inputs to compare the answers on.
        threads: the number of threads.
        records: a file of schedules for "tuned", which may be missing; None: only default schedules.

    Raises:
        WrongAnswerError: an answer of ours is wrong.
        RuntimeUnavailable: ONNX Runtime is not installed.
        ValueError: our compiler does not support the model, or ``records`` is not a file of records.
    """
    import compiler

    baseline = reference(model, threads)
    expected = baseline.run(inputs)
    ours = compiler.build(model, threads=threads)
    found = Implementations(ours, stored_schedules(records, ours))
    _add_own(found, "default", ours, inputs, expected)
    if found.stored:
        _add_own(found, "tuned", compiler.build(model, threads=threads, schedules=records), inputs, expected)
    found.runs[REFERENCE], found.versions[REFERENCE] = baseline.run, baseline.version
    found.differences[REFERENCE] = 0.0
    for name in PEERS:
        if name != REFERENCE:
            _add_other(found, name, model, threads, inputs, expected)
    return found


def check(name: str, answer: Arrays, expected: Arrays) -> float:
    """Returns the difference from the reference, relative to the largest element of an output.

    Raises:
        WrongAnswerError: it exceeds the tolerance.
    """
    try:
        difference = agree(answer, expected)
    except ValueError as error:
        raise WrongAnswerError(f"the answer of {name} differs from that of {REFERENCE}: {error}") from None
    if difference > TOLERANCE:
        raise WrongAnswerError(
            f"{name} and {REFERENCE} differ by {difference:.2g} of an output's largest element; {TOLERANCE} is allowed"
        )
    return difference


def _add_own(found: Implementations, name: str, model: CompiledModel, inputs: Arrays, expected: Arrays) -> None:
    run = own_runtime.of(model).run  # as for the other runtimes, so that a run has the same overhead in Python
    found.differences[name] = check(f"ours, {name},", run(inputs), expected)
    found.runs[name] = run


def _add_other(
    found: Implementations, name: str, model: onnx.ModelProto, threads: int, inputs: Arrays, expected: Arrays
) -> None:
    try:
        runtime = runtimes.load(name, model, threads)
        difference = check(name, runtime.run(inputs), expected)
    except WrongAnswerError as error:
        found.wrong[name] = str(error)
    except RuntimeUnavailable as error:
        found.skipped[name] = str(error)
    except Exception as error:  # noqa: BLE001 - the errors of the runtimes share no base class
        found.skipped[name] = f"{name} fails on this model: {' '.join(str(error).split())}"
    else:
        found.runs[name], found.versions[name], found.differences[name] = runtime.run, runtime.version, difference
