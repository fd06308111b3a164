"""Segments: the parts of a model that ONNX Runtime runs, inside the compiled program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.installation import extras
from compiler.program import native
from compiler.program.tensor_spec import DTYPES, TensorSpec

if TYPE_CHECKING:
    import onnxruntime

ALIGNMENT = 64  # bytes, of the tensors that generated code reads


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
    """

    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[TensorSpec, ...]
    static: frozenset[str]
    operators: Mapping[str, int]
    reasons: tuple[str, ...]

    @property
    def nodes(self) -> int:
        return sum(self.operators.values())

    def __str__(self) -> str:
        return ", ".join(f"{op} x {count}" if count > 1 else op for op, count in self.operators.items())


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


def function(segment: Segment, threads: int, ieee: bool) -> Callable[..., list[Any]]:
    """Returns a function that runs a segment: it takes and returns what :func:`wrapped` returns.

    Args:
        segment, threads: what runs, and on how many threads.
        ieee: whether the threads of ONNX Runtime keep subnormal numbers. The calling thread computes too, in its mode.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: ONNX Runtime rejects the segment; one line.
    """
    with native.same_subnormals():  # the first session of a process sets the mode of the calling thread
        session = _session(segment, threads, ieee)
    names = [spec.name for spec in segment.outputs]

    def run(*arguments: Any) -> list[Any]:
        inputs = dict(zip(segment.inputs, map(unwrapped, arguments), strict=True))
        try:
            answers = session.run(names, inputs)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's own types
            raise ValueError(f"ONNX Runtime: {_line(error)}") from None
        return [
            wrapped(_checked(answer, spec) if spec.name in segment.static else _array(answer))
            for answer, spec in zip(answers, segment.outputs, strict=True)
        ]

    return run


def _session(segment: Segment, threads: int, ieee: bool) -> onnxruntime.InferenceSession:
    extras.require(f"running {segment}", "fallback", "onnxruntime")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the compiled code needs the cores
    options.add_session_config_entry("session.set_denormal_as_zero", "0" if ieee else "1")
    options.log_severity_level = 4  # errors are raised
    try:
        return ort.InferenceSession(segment.model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's own types
        reason = f"{segment.reasons[0]}; " if segment.reasons else ""
        raise ValueError(f"{reason}ONNX Runtime rejects {segment} too: {_line(error)}") from None


def _array(answer: Any) -> Any:
    return np.asarray(answer) if isinstance(answer, np.generic) else answer


def _checked(answer: Any, spec: TensorSpec) -> np.ndarray:
    """Returns an answer as compiled code may read it, which would read outside of a smaller tensor."""
    answer = _array(answer)
    if answer.dtype.name != spec.dtype or answer.shape != spec.shape:
        raise ValueError(f"ONNX Runtime returned {answer.dtype.name}{list(answer.shape)} for {spec}")
    return _aligned(answer)


def _aligned(array: np.ndarray) -> np.ndarray:
    if array.ctypes.data % ALIGNMENT == 0 and array.flags.c_contiguous and array.flags.writeable:
        return array
    room = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _line(error: BaseException) -> str:
    """Returns an error of ONNX Runtime in one line, without its code."""
    text = " ".join(str(error).split())
    return text.rpartition("[ONNXRuntimeError] : ")[2]
