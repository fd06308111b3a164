"""Segments: the parts of a model that ONNX Runtime runs, inside the compiled program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.installation import extras
from compiler.program import native
from compiler.program.tensor_spec import DTYPES, TensorSpec
from compiler.program.workers import Workers

if TYPE_CHECKING:
    import onnxruntime


@dataclass(frozen=True)
class Segment:
    """A part of a model.

    Attributes:
        model: the part, a serialized ONNX model.
        inputs: the names of its inputs, in order.
        outputs: its outputs.
        static: the names of the outputs that compiled code reads; their shapes are static.
        operators: how many nodes it has, by operator.
        reasons: why its nodes are not compiled, one line each. Nodes without a reason read the output of another one.
        threads: the number of threads that run it; None for as many as the program has.
    """

    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[TensorSpec, ...]
    static: frozenset[str]
    operators: Mapping[str, int]
    reasons: tuple[str, ...]
    threads: int | None = None

    @property
    def nodes(self) -> int:
        return sum(self.operators.values())

    def __str__(self) -> str:
        return ", ".join(f"{op} x {count}" if count > 1 else op for op, count in self.operators.items())


_SPIN_US = 100  # longer than between two operators of a segment; milliseconds would be those of the scheduler
# Operators that ONNX Runtime runs on the calling thread. A segment of nothing else leaves the program's threads awake.
_SERIAL = frozenset(
    (
        *("Compress", "Det", "NonMaxSuppression", "NonZero", "Range", "RegexFullMatch", "Unique"),
        *("Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"),
        *("Optional", "OptionalGetElement", "OptionalHasElement"),
        *("StringConcat", "StringNormalizer", "StringSplit"),
        *("ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase"),
        *("SequenceInsert", "SequenceLength", "SplitToSequence"),
    )
)


class Opaque:
    """A value that only segments use: strings, a sequence, or an optional value. Programs pass it on."""

    def __init__(self, value: Any) -> None:
        self.value = value


_EXPORTED = frozenset(map(np.dtype, DTYPES))  # np.dtype.name takes a microsecond


def wrapped(value: Any) -> Any:
    """Returns an argument of a program: a tensor that shares the array's memory, or an opaque value."""
    if not isinstance(value, np.ndarray) or value.dtype not in _EXPORTED:
        return Opaque(value)
    return _from_dlpack()(value)


@cache
def _from_dlpack() -> Callable[[np.ndarray], Any]:
    import tvm_ffi  # on first use, because it takes a part of a second

    return tvm_ffi.from_dlpack


def unwrapped(value: Any) -> Any:
    """Returns a result of a program: an array that shares the tensor's memory, or what an opaque value holds."""
    return value.value if isinstance(value, Opaque) else np.from_dlpack(value)


def function(
    segment: Segment, threads: int, ieee: bool, alone: bool = False, custom: Sequence[str] = ()
) -> Callable[..., list[Any]]:
    """Returns a function that runs a segment: it takes and returns what :func:`wrapped` returns.

    Args:
        segment, threads: what runs, and on how many threads unless the segment has its own number.
        ieee: whether the threads of ONNX Runtime keep subnormal numbers. The calling thread computes too, in its mode.
        alone: whether the program does nothing else. Otherwise two pools share the cores: the threads of ONNX Runtime
            spin only while the segment runs, and those of the program sleep then.
        custom: libraries with custom operators of ONNX Runtime.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: ONNX Runtime rejects the segment; one line.
    """
    threads = 1 if _SERIAL.issuperset(segment.operators) else segment.threads or threads
    workers = Workers()
    with native.same_subnormals(), workers.started(threads - 1):  # the first session of a process sets that mode
        session = _session(segment, threads, ieee, alone, custom)
    rest_pool = native.function("rest_pool") if threads > 1 else None
    names = [spec.name for spec in segment.outputs]
    stated = [(spec, np.dtype(spec.dtype)) if spec.name in segment.static else None for spec in segment.outputs]

    def run(*arguments: Any) -> list[Any]:
        inputs = dict(zip(segment.inputs, map(unwrapped, arguments), strict=True))
        if rest_pool is not None:
            rest_pool()
            workers.keep_off_the_caller()
        try:
            answers = session.run(names, inputs)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's own types
            raise ValueError(f"ONNX Runtime: {_line(error)}") from None
        return [
            wrapped(_array(answer) if expected is None else _checked(_array(answer), *expected))
            for answer, expected in zip(answers, stated, strict=True)
        ]

    return run


def _session(
    segment: Segment, threads: int, ieee: bool, alone: bool, custom: Sequence[str]
) -> onnxruntime.InferenceSession:
    extras.require(f"running {segment}", "fallback", "onnxruntime")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    if not alone:
        # Threads that sleep between the operators of a segment make it up to twice as slow. Those that spin after it
        # take the cores from the compiled code.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))
    options.add_session_config_entry("session.set_denormal_as_zero", "0" if ieee else "1")
    options.log_severity_level = 4  # errors are raised
    try:
        for library in custom:
            options.register_custom_ops_library(library)
        return ort.InferenceSession(segment.model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's own types
        reason = f"{segment.reasons[0]}; " if segment.reasons else ""
        raise ValueError(f"{reason}ONNX Runtime rejects {segment} too: {_line(error)}") from None


def _array(answer: Any) -> Any:
    return np.asarray(answer) if isinstance(answer, np.generic) else answer


def _checked(answer: np.ndarray, spec: TensorSpec, dtype: np.dtype[Any]) -> np.ndarray:
    """Returns an answer as compiled code may read it, which would read outside of a smaller tensor."""
    if answer.dtype != dtype or answer.shape != spec.shape:
        raise ValueError(f"ONNX Runtime returned {answer.dtype.name}{list(answer.shape)} for {spec}")
    return answer


def _line(error: BaseException) -> str:
    """Returns an error of ONNX Runtime in one line, without its code."""
    text = " ".join(str(error).split())
    return text.rpartition("[ONNXRuntimeError] : ")[2]
