"""Requests that are written by hand, in each form of the protocol."""

from __future__ import annotations

import json
import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import serialize_byte_tensor

from tests.serving.against_triton import answers
from tests.serving.against_triton.answers import Answer
from tests.serving.against_triton.connections import SECS, Connections

# The fields of gRPC's typed contents.
FIELDS = {
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    **{name: f"{name.lower()}_contents" for name in ("BOOL", "INT64", "UINT64", "FP32", "FP64", "BYTES")},
}


@dataclass(frozen=True)
class Input:
    """``datatype`` and ``shape`` are what the request declares."""

    array: np.ndarray
    datatype: str
    name: str = "x"
    shape: tuple[int, ...] | None = None

    @property
    def declared(self) -> list[int]:
        return list(self.array.shape if self.shape is None else self.shape)

    @property
    def raw(self) -> bytes:
        if self.array.dtype == np.object_:
            return serialize_byte_tensor(self.array).item() if self.array.size else b""
        return self.array.tobytes()


@dataclass(frozen=True)
class Request:
    model: str
    inputs: Sequence[Input]
    outputs: Sequence[Mapping[str, Any]] = ()  # as in JSON
    version: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)  # other members of the JSON: id, parameters


def send_json(connections: Connections, request: Request, nested: bool = False) -> Answer:
    inputs = [_named(each) | {"data": _json_values(each, nested)} for each in request.inputs]
    return post(connections, request, json.dumps(_body(request, inputs)).encode())


def send_binary(connections: Connections, request: Request) -> Answer:
    inputs = [_named(each) | {"parameters": {"binary_data_size": len(each.raw)}} for each in request.inputs]
    head = json.dumps(_body(request, inputs)).encode()
    data = b"".join(each.raw for each in request.inputs)
    return post(connections, request, head + data, Inference_Header_Content_Length=str(len(head)))


def post(connections: Connections, request: Request, body: bytes, **headers: str) -> Answer:
    version = f"/versions/{request.version}" if request.version else ""
    path = f"/v2/models/{request.model}{version}/infer"
    return answers.of_http_response(*connections.request("POST", path, body, **headers))


def send_raw(connections: Connections, request: Request) -> Answer:
    return call(connections, message(request, typed=False))


def send_typed(connections: Connections, request: Request) -> Answer:
    return call(connections, message(request, typed=True))


def send_stream(connections: Connections, request: Request) -> Answer:
    """Sends a request in a stream, and waits for one response before the stream ends."""
    sent: queue.Queue[Any] = queue.Queue()
    responses = connections.stub.ModelStreamInfer(iter(sent.get, None), timeout=SECS)
    sent.put(message(request, typed=False))
    try:
        response = next(responses)
        if response.error_message:
            return Answer({"code": "error_message"}, response.error_message)
        return answers.of_grpc_message(response.infer_response)
    except grpc.RpcError as error:
        return _of_rpc_error(error)
    finally:
        sent.put(None)
        responses.cancel()


def call(connections: Connections, sent: Any) -> Answer:
    try:
        return answers.of_grpc_message(connections.stub.ModelInfer(sent, timeout=SECS))
    except grpc.RpcError as error:
        return _of_rpc_error(error)


def message(request: Request, typed: bool) -> Any:
    """Returns a ModelInferRequest."""
    kinds: Any = service_pb2
    made = kinds.ModelInferRequest(
        model_name=request.model, model_version=request.version, id=request.more.get("id", "")
    )
    for key, value in request.more.get("parameters", {}).items():
        _set(made.parameters[key], value)
    for each in request.inputs:
        tensor = made.inputs.add(name=each.name, datatype=each.datatype, shape=each.declared)
        if typed:
            # The protocol has no field for types of 16 bits; a request with another field is an error.
            field_name = FIELDS.get(each.datatype, "fp32_contents")
            getattr(tensor.contents, field_name).extend(each.array.ravel().tolist())
        else:
            made.raw_input_contents.append(each.raw)
    for output in request.outputs:
        tensor = made.outputs.add(name=output["name"])
        for key, value in output.get("parameters", {}).items():
            _set(tensor.parameters[key], value)
    return made


def _set(parameter: Any, value: Any) -> None:
    kinds = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
    setattr(parameter, kinds[type(value)], value)


def _named(each: Input) -> dict[str, Any]:
    return {"name": each.name, "datatype": each.datatype, "shape": each.declared}


def _body(request: Request, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"inputs": inputs, **({"outputs": list(request.outputs)} if request.outputs else {}), **request.more}


def _json_values(each: Input, nested: bool) -> Any:
    array = each.array if nested else each.array.ravel()
    if array.dtype == np.object_:
        array = np.array([text.decode() for text in array.ravel()], np.object_).reshape(array.shape)
    elif each.datatype in ("FP16", "BF16"):
        array = array.astype(np.float32)
    return array.tolist()


def _of_rpc_error(error: Any) -> Answer:
    return Answer({"code": str(error.code())}, error.details())
