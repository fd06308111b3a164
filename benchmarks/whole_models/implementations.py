"""Who takes part in the comparison of a whole model: ours and other runtimes, as many as give the right answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from benchmarks import models
from benchmarks.whole_models.own import OnRecord, on_record
from compiler.measure.answers import agree
from compiler.program.compiled_model import CompiledModel

if TYPE_CHECKING:
    import onnx

    from compiler.runtimes import Runner

JUDGE = "onnxruntime"
PEERS = (JUDGE, "openvino", "ncnn")
# Largest difference from the judge, relative to the largest element of an output: rounding in float32 through the
# deepest network here, in another order and by Winograd's algorithms, stays below it.
TOLERANCE = 1e-4

Arrays: TypeAlias = Mapping[str, np.ndarray]
Run: TypeAlias = Callable[[Arrays], Arrays]


@dataclass
class Contenders:
    """Those that take part, by name.

    Attributes:
        ours: with default schedules.
        known: what is on record for it.
        runs: of all: "default" and, where anything is on record, "tuned" are ours.
        differences: from the judge's answer.
        versions: of the peers.
        skipped: peers that cannot take part, and why.
        wrong: peers that may not, since their answer is wrong.
    """

    ours: CompiledModel
    known: OnRecord
    runs: dict[str, Run] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def frozen(name: str) -> onnx.ModelProto:
    """A model of ``benchmarks.models`` as published, but that its shapes are static."""
    import graph_passes

    return graph_passes.optimize(models.load(name), models.MODELS[name].input_shapes, ["freeze_shapes"]).model


def judge(model: onnx.ModelProto, threads: int) -> Runner:
    """A frozen model in ONNX Runtime, whose answers the others' are compared with.

    Raises:
        RuntimeError: it is not installed.
    """
    from compiler.runtimes import prepare

    return prepare(JUDGE, model, threads)


def contenders(model: onnx.ModelProto, inputs: Arrays, threads: int, records: Path) -> Contenders:
    """Everyone with the model loaded and its answer compared with that of ONNX Runtime.

    Args:
        model: as ``frozen`` has it.
        records: file of schedules for "tuned"; it may be missing.

    Raises:
        ArithmeticError: one of ours answers wrongly.
        RuntimeError: ONNX Runtime is not installed.
        ValueError: ours cannot compile the model, or ``records`` is no file of records.
    """
    import compiler

    referee = judge(model, threads)
    expected = referee.run(inputs)
    ours = compiler.build(model, threads=threads)
    found = Contenders(ours, on_record(records, ours))
    _add_own(found, "default", ours.run, inputs, expected)
    if found.known:
        _add_own(found, "tuned", compiler.build(model, threads=threads, schedules=records).run, inputs, expected)
    found.runs[JUDGE], found.versions[JUDGE], found.differences[JUDGE] = referee.run, referee.version, 0.0
    for peer in PEERS:
        if peer != JUDGE:
            _add_peer(found, peer, model, threads, inputs, expected)
    return found


def check(who: str, answer: Arrays, expected: Arrays) -> float:
    """The difference from the judge's answer, relative to the largest element of an output.

    Raises:
        ArithmeticError: it is beyond the tolerance.
    """
    try:
        difference = agree(answer, expected)
    except ValueError as error:
        raise ArithmeticError(f"{who} answers otherwise than {JUDGE}: {error}") from None
    if difference > TOLERANCE:
        raise ArithmeticError(
            f"{who} and {JUDGE} differ by {difference:.2g} of an output's largest element; {TOLERANCE} is allowed"
        )
    return difference


def _add_own(found: Contenders, name: str, run: Run, inputs: Arrays, expected: Arrays) -> None:
    found.differences[name] = check(f"ours, {name},", run(inputs), expected)
    found.runs[name] = run


def _add_peer(
    found: Contenders, name: str, model: onnx.ModelProto, threads: int, inputs: Arrays, expected: Arrays
) -> None:
    from compiler.runtimes import PeerUnavailable, prepare

    try:
        peer = prepare(name, model, threads)
        difference = check(name, peer.run(inputs), expected)
    except ArithmeticError as error:
        found.wrong[name] = str(error)
    except PeerUnavailable as error:
        found.skipped[name] = str(error)
    except Exception as error:  # noqa: BLE001 - their errors share no base class
        found.skipped[name] = f"{name} fails on this model: {' '.join(str(error).split())}"
    else:
        found.runs[name], found.versions[name], found.differences[name] = peer.run, peer.version, difference
