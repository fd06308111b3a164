"""What Triton's clients send: each data type in each form over HTTP, gRPC and streams, several tensors, classes."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.serving.against_triton import answers
from tests.serving.against_triton.answers import Answer
from tests.serving.against_triton.connections import SECS, Case, Connections
from tests.serving.against_triton.models import MODELS, values

Arrays = dict[str, tuple[str, np.ndarray]]  # data types and values by names of inputs
FORMS = {True: "binary", False: "JSON"}
_ROW = np.array([[0.5, -1.5, 8.0, 8.0, 0.25], [1.0, 2.0, 3.0, 4.0, -0.0]])
_SEVERAL: Arrays = {
    "a": ("FP32", np.array([1.5, -2.0], np.float32)),
    "b": ("BYTES", np.array([b"one", b"", b"three"], np.object_)),
    "c": ("INT64", np.array([[1], [-(2**63)]])),
}


def cases() -> Iterator[Case]:
    for datatype in (name for name in MODELS if name.isupper()):
        arrays: Arrays = {"x": (datatype, values(datatype))}
        yield from _each_form(datatype, datatype, arrays, ["y"])
        empty: Arrays = {"x": (datatype, values(datatype)[:0])}
        yield from _each_form(f"{datatype} empty", datatype, empty, ["y"])
    for names in (["p", "q", "r"], ["r", "p"]):
        yield from _each_form(f"several {' '.join(names)}", "several", _SEVERAL, names)
    reversed_inputs = dict(reversed(_SEVERAL.items()))
    yield from _each_form("several, inputs reversed", "several", reversed_inputs, ["p", "q", "r"])
    yield from _classes()


def _each_form(about: str, model: str, arrays: Arrays, names: list[str]) -> Iterator[Case]:
    for binary_input, binary_output, named, request_id in product(
        (True, False), (True, False), (True, False), ("", "7")
    ):
        ends = f"{'named' if named else 'not named'}{' with id' if request_id else ''}"
        form = f"{FORMS[binary_input]} to {FORMS[binary_output] if named else 'the default'}"
        if named or binary_output:  # an output that is not named has one form
            send = _http(model, arrays, names, binary_input, binary_output, named, request_id)
            yield Case(f"http infer {about}, {form}, {ends}", send)
        if binary_input and binary_output:
            yield Case(f"grpc infer {about}, {ends}", _grpc(model, arrays, names, named, request_id))
            yield Case(f"grpc stream {about}, {ends}", _stream(model, arrays, names, named, request_id))


def _classes() -> Iterator[Case]:
    models = {"rows": "FP32", "rows_of_halves": "FP16", "rows_of_integers": "INT64", "row": "FP32", "flags": "BOOL"}
    dtypes = {"FP32": np.float32, "FP16": np.float16, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}
    for model, datatype in models.items():
        array = _ROW.astype(dtypes[datatype])
        arrays: Arrays = {"x": (datatype, array[0, :3] if model == "flags" else array[0] if model == "row" else array)}
        for count in (1, 3, 5, 9):
            for binary in (True, False):
                send = _http(model, arrays, ["y"], True, binary, True, "", count)
                yield Case(f"http classes {model}, {count}, {FORMS[binary]}", send)
            yield Case(f"grpc classes {model}, {count}", _grpc(model, arrays, ["y"], True, "", count))


def _http(
    model: str,
    arrays: Arrays,
    names: Sequence[str],
    binary_input: bool,
    binary_output: bool,
    named: bool,
    request_id: str,
    class_count: int = 0,
) -> Any:
    def send(connections: Connections) -> Answer:
        inputs = []
        try:
            for name, (datatype, array) in arrays.items():
                inputs.append(triton_http.InferInput(name, list(array.shape), datatype))
                inputs[-1].set_data_from_numpy(array, binary_data=binary_input)
        except InferenceServerException as error:  # BF16 is not sent as JSON
            return Answer({"code": "the client"}, str(error))
        outputs = [triton_http.InferRequestedOutput(name, binary_output, class_count) for name in names]
        try:
            found = connections.http.infer(model, inputs, outputs=outputs if named else None, request_id=request_id)
        except InferenceServerException as error:
            return answers.of_error(error)
        return answers.of_http_result(found, list(names))

    return send


def _grpc_arguments(
    arrays: Arrays, names: Sequence[str], named: bool, request_id: str, class_count: int = 0
) -> dict[str, Any]:
    inputs = []
    for name, (datatype, array) in arrays.items():
        inputs.append(triton_grpc.InferInput(name, list(array.shape), datatype))
        inputs[-1].set_data_from_numpy(array)
    outputs = [triton_grpc.InferRequestedOutput(name, class_count) for name in names] if named else None
    return {"inputs": inputs, "outputs": outputs, "request_id": request_id}


def _grpc(model: str, arrays: Arrays, names: list[str], named: bool, request_id: str, class_count: int = 0) -> Any:
    def send(connections: Connections) -> Answer:
        arguments = _grpc_arguments(arrays, names, named, request_id, class_count)
        try:
            return answers.of_grpc_result(connections.grpc.infer(model, client_timeout=SECS, **arguments), names)
        except InferenceServerException as error:
            return answers.of_error(error)

    return send


def _stream(model: str, arrays: Arrays, names: list[str], named: bool, request_id: str) -> Any:
    def send(connections: Connections) -> Answer:
        found: queue.Queue[tuple[Any, Any]] = queue.Queue()
        connections.grpc.start_stream(lambda result, error: found.put((result, error)))
        try:
            connections.grpc.async_stream_infer(model, **_grpc_arguments(arrays, names, named, request_id))
            result, error = found.get(timeout=SECS)
        finally:
            connections.grpc.stop_stream()
        return answers.of_error(error) if error else answers.of_grpc_result(result, names)

    return send
