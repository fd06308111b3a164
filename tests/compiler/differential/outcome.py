"""What ``compiler.build`` and ``run`` make of a model: the kinds of outcomes, and the comparison of answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx

# A model either passes, or is not supported: ``build`` raises a ValueError of one line.
PASSED, UNSUPPORTED = "passed", "unsupported"
# Failures: another answer; an error in ``run``, or one in ``build`` that is not a ValueError of one line; text on
# stderr next to a ValueError; the process ended or did not answer; an answer where an index is out of range.
WRONG, LATE, PRINTED, CRASH, UNCHECKED = "wrong", "late", "printed", "crash", "unchecked"
FAILURES = (WRONG, LATE, PRINTED, CRASH, UNCHECKED)
# Not counted: the model, its inputs or its answer are not legal or not known.
DISCARDED = "discarded"


@dataclass(frozen=True)
class Outcome:
    """One of the kinds above, and why.

    Attributes:
        compiled: whether the compiled program runs without ONNX Runtime.
    """

    kind: str
    reason: str = ""
    compiled: bool = True


class Comparison(Protocol):
    """Returns why answers differ from the expected ones; an empty text if they do not."""

    def __call__(self, got: Sequence[Any], /) -> str: ...


def outcome(
    model: onnx.ModelProto,
    inputs: Mapping[str, Any],
    compare: Comparison | None,
    threads: int,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    phase: Callable[[str], None] | None = None,
    illegal: bool = False,
    copied: Callable[[np.ndarray], np.ndarray] = np.copy,
    fallback: str | None = None,
    ieee: bool = False,
) -> Outcome:
    """Builds and runs a model, and compares its outputs.

    Runs twice: the second run must give the same bits, and neither may change its inputs.

    Args:
        compare: takes the outputs in the order of the model's. None if no answer is defined: ``run`` may return
            anything, or raise an error of one line.
        illegal: whether the inputs break a rule of the standard: ``run`` must raise an error of one line.
        copied: makes the arrays that ``run`` gets.
        fallback, ieee: of the build.
        phase: is called with "build" and "run" before each.
    """
    import compiler

    if phase:
        phase("build")
    noise = os.memfd_create("stderr")
    before = os.dup(2)
    os.dup2(noise, 2)
    try:
        built = compiler.build(model, input_shapes or None, threads=threads, fallback=fallback, ieee=ieee)
    except Exception as error:  # noqa: BLE001 - the kinds of errors are the subject
        os.dup2(before, 2)
        printed = os.pread(noise, 1000, 0).decode(errors="replace").strip()
        if not _is_clear(error):
            return Outcome(LATE, f"build raises {summary(error)}")
        return Outcome(PRINTED, f"stderr: {printed}") if printed else Outcome(UNSUPPORTED, str(error))
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(noise)
    if phase:
        phase("run")
    copies = {name: copied(x) if isinstance(x, np.ndarray) else x for name, x in inputs.items()}
    try:
        answers = built.run(copies)
        again = built.run(copies)
    except Exception as error:  # noqa: BLE001
        if compare is None and _is_clear(error):
            return Outcome(PASSED)
        return Outcome(LATE, f"run raises {summary(error)}")
    if illegal:
        return Outcome(UNCHECKED, "run returns an answer for inputs that are not legal")
    names = [value.name for value in model.graph.output]
    if list(answers) != names:
        return Outcome(WRONG, f"outputs {list(answers)} instead of {names}")
    for name, value in inputs.items():
        if not _same_bits(value, copies[name]):
            return Outcome(WRONG, f"run changes its input {name}")
    got = [answers[name] for name in names]
    if compare is not None and (problem := compare(got)):
        return Outcome(WRONG, problem)
    for name in names if compare is not None else ():
        if not _same_bits(answers[name], again[name]):
            return Outcome(WRONG, f"a second run gives another {name}")
    return Outcome(PASSED, compiled=not built.segments)


def _same_bits(a: Any, b: Any) -> bool:
    """Compares two values: arrays, sequences of them, or None."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same_bits, a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
    return a is b is None


def warm() -> None:
    """Builds a model, so that forked processes share the loaded libraries. Starts no thread."""
    import compiler

    relu = onnx.helper.make_node("Relu", ["x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy")
    graph = onnx.helper.make_graph([relu], "g", [x], [y])
    compiler.build(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), threads=1)


def died(phase: str, how: str) -> Outcome:
    """Returns the outcome of a process that ended: not the compiler's fault before "build"."""
    return Outcome(CRASH if phase in ("build", "run") else DISCARDED, f"{how} in {phase}")


def summary(error: Exception) -> str:
    """Returns the type and the last line of an error, at most 200 characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip() if lines else ''}"[:200]


def _is_clear(error: Exception) -> bool:
    text = str(error).strip()
    # TVM has ValueErrors, too: those of its C++ have a traceback, so more than one line.
    return (
        isinstance(error, (ValueError, IndexError)) and bool(text) and "\n" not in text and "Check failed" not in text
    )


def compared(got: Sequence[Any], want: Sequence[Any], tolerances: Sequence[tuple[float, float]]) -> str:
    """Returns why arrays, or sequences of them, differ; types and shapes must be equal.

    Tolerances are pairs (relative, absolute).
    """
    for index, (a, b, (rtol, atol)) in enumerate(zip(got, want, tolerances, strict=True)):
        if problem := _difference(a, b, rtol, atol):
            return f"output {index}: {problem}"
    return ""


def _difference(got: Any, want: Any, rtol: float, atol: float) -> str:
    if isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            return f"{type(got).__name__} instead of a sequence of {len(want)}"
        return next(filter(None, (_difference(g, w, rtol, atol) for g, w in zip(got, want, strict=True))), "")
    if want is None or not isinstance(got, np.ndarray):
        return "" if got is want else f"{type(got).__name__} instead of {type(want).__name__}"
    if want.dtype.kind in "OUST":
        return "" if got.tolist() == want.tolist() else f"{got.tolist()} instead of {want.tolist()}"
    if (got.dtype, got.shape) != (want.dtype, want.shape):
        return f"{got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
    if want.dtype.kind != "f":
        other = got != want
        if atol:  # an integer that is rounded
            other &= np.abs(got.astype(np.int64) - want.astype(np.int64)) > atol
        return f"{int(other.sum())} of {want.size} differ: {_first(got, want, other)}" if other.any() else ""
    wide, right = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(right)
    other = ~finite & ~((wide == right) | (np.isnan(wide) & np.isnan(right)))
    other |= finite & ~np.isfinite(wide)
    if other.any():
        return f"{int(other.sum())} of {want.size} differ in NaN or infinity: {_first(got, want, other)}"
    with np.errstate(invalid="ignore"):
        far = finite & (np.abs(wide - right) > atol + rtol * np.abs(right))
    return f"{int(far.sum())} of {want.size} differ: {_first(got, want, far)}" if far.any() else ""


def _first(got: np.ndarray, want: np.ndarray, where: np.ndarray) -> str:
    place = tuple(int(i) for i in np.argwhere(where)[0])
    return f"{got[place]!s} instead of {want[place]!s} at {list(place)}"
