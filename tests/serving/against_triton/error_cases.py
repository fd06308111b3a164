"""Requests with a mistake each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from tests.serving.against_triton.answers import Answer
from tests.serving.against_triton.connections import Case, Connections
from tests.serving.against_triton.message_cases import each_sender
from tests.serving.against_triton.messages import Input, Request, call, message, post

_X = Input(np.array([[1, 2, 3], [4, 5, 6]], np.float32), "FP32")
_SEVERAL = [
    Input(np.array([1.5], np.float32), "FP32", "a"),
    Input(np.array([b"one"], np.object_), "BYTES", "b"),
    Input(np.array([[1]]), "INT64", "c"),
]


def _shaped(*shape: int, model: str = "FP32") -> Request:
    return Request(model, [Input(_X.array, "FP32", "x", shape)])


def _output(name: str, **parameters: Any) -> Request:
    return Request("FP32", [_X], [{"name": name, "parameters": parameters}])


# In each form of a request.
_REQUESTS: Mapping[str, Request] = {
    "another data type": Request("FP32", [Input(_X.array.astype(np.int32), "INT32")]),
    "no such data type": Request("FP32", [Input(_X.array, "FLOAT")]),
    "another size": Request("fixed", [Input(_X.array[:, :2], "FP32")]),
    "another number of dimensions": Request("fixed", [Input(_X.array.ravel(), "FP32")]),
    "another number of open dimensions": Request("FP32", [Input(_X.array.ravel(), "FP32")]),
    "a scalar": Request("FP32", [Input(_X.array[0, 0].reshape(()), "FP32")]),
    "fewer elements than the shape": _shaped(3, 3),
    "more elements than the shape": _shaped(1, 3),
    "a negative size": _shaped(-1, 3),
    "a huge size": _shaped(2**62, 3),
    "a batch above the largest": Request("rows", [Input(np.zeros([9, 5], np.float32), "FP32")]),
    "no model": Request("none", [_X]),
    "no version": Request("FP32", [_X], version="9"),
    "a version that is not a number": Request("FP32", [_X], version="first"),
    "no inputs": Request("FP32", []),
    "no such input": Request("FP32", [Input(_X.array, "FP32", "z")]),
    "an input too many": Request("FP32", [_X, Input(_X.array, "FP32", "z")]),
    "an input twice": Request("FP32", [_X, _X]),
    "an input that is missing": Request("several", _SEVERAL[:2]),
    "no such output": _output("z"),
    "an output twice": Request("FP32", [_X], [{"name": "y"}, {"name": "y"}]),
    "classes of strings": Request(
        "BYTES", [Input(np.array([[b"a"]], np.object_), "BYTES")], [{"name": "y", "parameters": {"classification": 1}}]
    ),
    "no classes": _output("y", classification=0),
    "a negative number of classes": _output("y", classification=-1),
    "classes as a string": _output("y", classification="1"),
    "a region that is not registered": _output("y", shared_memory_region="none", shared_memory_byte_size=24),
    "a region without a size": _output("y", shared_memory_region="none"),
    "a timeout as a string": Request("FP32", [_X], more={"parameters": {"timeout": "soon"}}),
    "a priority as a string": Request("FP32", [_X], more={"parameters": {"priority": "first"}}),
    "a negative sequence": Request("FP32", [_X], more={"parameters": {"sequence_id": -1}}),
    "a sequence start as a string": Request("FP32", [_X], more={"parameters": {"sequence_start": "yes"}}),
}


def _tensor(**changes: Any) -> dict[str, Any]:
    made = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2], **changes}
    return {key: value for key, value in made.items() if value is not None}


def _inputs(**changes: Any) -> dict[str, Any]:
    return {"inputs": [_tensor(**changes)]}


# The model and the JSON of a request.
_JSON: Mapping[str, tuple[str, Any]] = {
    "a body that is not an object": ("FP32", [1]),
    "no member inputs": ("FP32", {}),
    "inputs that are not an array": ("FP32", {"inputs": 7}),
    "an input that is not an object": ("FP32", {"inputs": [7]}),
    "an input without a name": ("FP32", _inputs(name=None)),
    "an input without a data type": ("FP32", _inputs(datatype=None)),
    "an input without a shape": ("FP32", _inputs(shape=None)),
    "an input without data": ("FP32", _inputs(data=None)),
    "a name that is a number": ("FP32", _inputs(name=7)),
    "a shape of strings": ("FP32", _inputs(shape=["1", "2"])),
    "a shape of fractions": ("FP32", _inputs(shape=[1.5, 2])),
    "data that are a number": ("FP32", _inputs(data=7)),
    "data that are null": ("FP32", {"inputs": [_tensor() | {"data": None}]}),
    "an element that is a string": ("FP32", _inputs(data=["a", 2])),
    "an element that is null": ("FP32", _inputs(data=[None, 2])),
    "an element that is an object": ("FP32", _inputs(data=[{}, 2])),
    "an element that is a boolean": ("FP32", _inputs(data=[True, 2])),
    "numbers beyond float32": ("FP32", _inputs(data=[1e300, 2])),
    "integers for floats": ("FP32", _inputs(data=[2**63, -(2**63)])),
    "uneven arrays": ("FP32", _inputs(data=[[1], [2]])),
    "deeper arrays": ("FP32", _inputs(data=[[[1], [[2]]]])),
    "a fraction for an integer": ("INT32", _inputs(datatype="INT32", data=[1.5, 2])),
    "a whole fraction for an integer": ("INT32", _inputs(datatype="INT32", data=[1.0, 2])),
    "a number beyond int32": ("INT32", _inputs(datatype="INT32", data=[2**31, 2])),
    "a number beyond uint8": ("UINT8", _inputs(datatype="UINT8", data=[256, 2])),
    "a negative number for uint8": ("UINT8", _inputs(datatype="UINT8", data=[-1, 2])),
    "a number beyond uint64": ("UINT64", _inputs(datatype="UINT64", data=[2**64, 2])),
    "0 and 1 for booleans": ("BOOL", _inputs(datatype="BOOL", data=[0, 1])),
    "2 for a boolean": ("BOOL", _inputs(datatype="BOOL", data=[0, 2])),
    "numbers for strings": ("BYTES", _inputs(datatype="BYTES", data=[1, 2])),
    "an id that is a number": ("FP32", _inputs() | {"id": 7}),
    "an id that is null": ("FP32", _inputs() | {"id": None}),
    "parameters that are not an object": ("FP32", _inputs() | {"parameters": 7}),
    "outputs that are not an array": ("FP32", _inputs() | {"outputs": 7}),
    "no outputs": ("FP32", _inputs() | {"outputs": []}),
    "an output without a name": ("FP32", _inputs() | {"outputs": [{}]}),
    "binary_data that is a string": (
        "FP32",
        _inputs() | {"outputs": [{"name": "y", "parameters": {"binary_data": "x"}}]},
    ),
    "data and a binary size": ("FP32", _inputs(parameters={"binary_data_size": 8})),
    "a binary size without bytes": ("FP32", _inputs(data=None, parameters={"binary_data_size": 8})),
    "another member": ("FP32", _inputs() | {"more": 7}),
    "parameters of an input": ("FP32", _inputs(parameters={"color": "red"})),
}


def _binary(
    size: int, data: bytes, datatype: str = "FP32", header: str | None = None
) -> Callable[[Connections], Answer]:
    def send(connections: Connections) -> Answer:
        tensor = _tensor(datatype=datatype, data=None, parameters={"binary_data_size": size})
        head = json.dumps({"inputs": [tensor]}).encode()
        length = str(len(head)) if header is None else header
        return post(connections, Request(datatype, []), head + data, Inference_Header_Content_Length=length)

    return send


_BODIES: Mapping[str, Callable[[Connections], Answer]] = {
    "an empty body": lambda connections: post(connections, Request("FP32", []), b""),
    "a body that is not JSON": lambda connections: post(connections, Request("FP32", []), b"{"),
    "a body that is not UTF-8": lambda connections: post(connections, Request("FP32", []), b'{"id":"\xff"}'),
    "fewer binary bytes than the size": _binary(8, bytes(4)),
    "more binary bytes than the size": _binary(8, bytes(12)),
    "a binary size below the shape's": _binary(4, bytes(4)),
    "a binary size above the shape's": _binary(12, bytes(12)),
    "a header length above the body's": _binary(8, bytes(8), header="9999"),
    "a header length of 0": _binary(8, bytes(8), header="0"),
    "a header length that is not a number": _binary(8, bytes(8), header="x"),
    "a negative header length": _binary(8, bytes(8), header="-1"),
    "a string beyond its data": _binary(8, b"\x09\0\0\0abcd", "BYTES"),
    "a string that is cut off": _binary(10, b"\1\0\0\0a\1\0\0\0" + b"", "BYTES"),
    "too few strings": _binary(5, b"\1\0\0\0a", "BYTES"),
    "too many strings": _binary(12, bytes(12), "BYTES"),
}

_PATHS = (
    ("GET", "/v2/models/none"),
    ("GET", "/v2/models/none/ready"),
    ("GET", "/v2/models/none/config"),
    ("GET", "/v2/models/none/stats"),
    ("GET", "/v2/models/FP32/versions/9"),
    ("GET", "/v2/models/FP32/versions/9/ready"),
    ("GET", "/v2/models/FP32/versions/9/config"),
    ("GET", "/v2/models/FP32/versions/9/stats"),
    ("GET", "/v2/none"),
    ("GET", "/none"),
    ("GET", "/v2/models/FP32/infer"),
    ("POST", "/v2/models/FP32"),
    ("POST", "/v2/health/live"),
    ("GET", "/v2/repository/index"),
    ("DELETE", "/v2/models/FP32"),
    ("GET", "/v2/systemsharedmemory/region/none/status"),
    ("POST", "/v2/systemsharedmemory/region/none/register"),
    ("POST", "/v2/systemsharedmemory/region/none/unregister"),
)


def cases() -> Iterator[Case]:
    for about, request in _REQUESTS.items():
        yield from each_sender(f"error, {about}", request)
    for about, (model, body) in _JSON.items():
        yield Case(f"message JSON: error, {about}", _post(model, body))
    for about, send in _BODIES.items():
        yield Case(f"message body: error, {about}", send)
    for about, change in _MESSAGES.items():
        yield Case(f"message gRPC: error, {about}", _call(change))
    for method, path in _PATHS:
        yield Case(f"path {method} {path}", _path(method, path))


def _post(model: str, body: Any) -> Callable[[Connections], Answer]:
    return lambda connections: post(connections, Request(model, []), json.dumps(body).encode())


def _path(method: str, path: str) -> Callable[[Connections], Answer]:
    def send(connections: Connections) -> Answer:
        status, _, body = connections.request(method, path)
        return Answer({"code": str(status)}, body[:100].decode())

    return send


def _call(change: Callable[[Any], None]) -> Callable[[Connections], Answer]:
    def send(connections: Connections) -> Answer:
        made = message(Request("FP32", [_X]), typed=False)
        change(made)
        return call(connections, made)

    return send


def _typed(field: str, values: list[Any]) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        made.ClearField("raw_input_contents")
        getattr(made.inputs[0].contents, field).extend(values)

    return change


def _integers(values: list[int], datatype: str) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        made.model_name = datatype
        made.inputs[0].datatype = datatype
        _typed("int_contents" if datatype.startswith("I") else "uint_contents", values)(made)

    return change


def _merge(**fields: Any) -> Callable[[Any], None]:
    kinds: Any = service_pb2
    return lambda made: made.MergeFrom(kinds.ModelInferRequest(**fields))


_MESSAGES: Mapping[str, Callable[[Any], None]] = {
    "contents in another field": _typed("int_contents", [1, 2, 3, 4, 5, 6]),
    "contents in two fields": lambda made: (_typed("fp32_contents", [1] * 6)(made), _typed("int_contents", [1])(made))[
        0
    ],
    "too few contents": _typed("fp32_contents", [1]),
    "too many contents": _typed("fp32_contents", [1] * 7),
    "contents and raw contents": lambda made: made.inputs[0].contents.fp32_contents.extend([1] * 6),
    "no contents": lambda made: made.ClearField("raw_input_contents"),
    "raw contents too many": _merge(raw_input_contents=[b""]),
    "a number beyond int8": _integers([128] * 6, "INT8"),
    "a number beyond uint16": _integers([65536] * 6, "UINT16"),
    "no name of a model": lambda made: made.ClearField("model_name"),
}
