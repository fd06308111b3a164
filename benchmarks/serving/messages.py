"""The rows of the benchmark: requests that are made once and sent as they are, and the check of an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from serving.client import Message, outputs, place, post, request

Protocol = Literal["http", "grpc"]


@dataclass(frozen=True)
class Row:
    """One kind of request to the model ``y = x + 1``, float32."""

    name: str
    about: str
    model: str
    protocol: Protocol
    as_json: bool = False


# The models and the shapes of their input and output.
MODELS: Mapping[str, tuple[int, ...]] = {"small": (1, 16), "image": (1, 3, 224, 224)}
ROWS: Mapping[str, Row] = {
    row.name: row
    for row in (
        Row("rest-json", "REST, JSON, [1, 16]", "small", "http", as_json=True),
        Row("rest-binary", "REST, binary, [1, 16]", "small", "http"),
        Row("grpc", "gRPC, [1, 16]", "small", "grpc"),
        Row("rest-602kb", "REST, binary, 602 KB", "image", "http"),
        Row("grpc-602kb", "gRPC, 602 KB", "image", "grpc"),
    )
}


def input_of(row: Row) -> np.ndarray:
    """Returns the input: numbers with short decimals, which are exact in float32."""
    shape = MODELS[row.model]
    return (np.arange(math.prod(shape), dtype=np.float32) % 64 / 4).reshape(shape)


def http_request(row: Row, port: int) -> bytes:
    """Returns a whole request of HTTP."""
    return post("127.0.0.1", port, f"{place(row.model)}/infer", request({"x": input_of(row)}, as_json=row.as_json))


def http_output(headers: Mapping[str, str], body: bytes) -> np.ndarray:
    """Returns the output of a response. The names of its headers are in lower case."""
    return outputs(Message(body, headers))["y"]


def grpc_request(row: Row) -> bytes:
    """Returns a serialized ModelInferRequest with raw contents."""
    service_pb2 = _protocol()
    x = input_of(row)
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=x.shape)
    message = service_pb2.ModelInferRequest(model_name=row.model, inputs=[tensor], raw_input_contents=[x.tobytes()])
    return message.SerializeToString()


def grpc_output(answer: bytes) -> np.ndarray:
    """Returns the output of a serialized ModelInferResponse."""
    response = _protocol().ModelInferResponse.FromString(answer)
    return np.frombuffer(response.raw_output_contents[0], np.float32).reshape(tuple(response.outputs[0].shape))


def _protocol() -> Any:
    from tritonclient.grpc import service_pb2

    return service_pb2
