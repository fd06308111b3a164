"""What clients read about the server and its models: metadata, configuration, statistics, index, health."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from google.protobuf.json_format import MessageToDict
from tritonclient.utils import InferenceServerException

from tests.serving.against_triton import answers
from tests.serving.against_triton.answers import Answer
from tests.serving.against_triton.connections import Case, Connections
from tests.serving.against_triton.messages import Input, Request, send_json

_NAMES = ("FP32", "BYTES", "BF16", "fixed", "rows", "several")
# Fields of durations and times have other values in each run.
_VARYING = ("ns", "last_inference")


def cases() -> Iterator[Case]:
    yield Case("path GET /v2", _http("/v2"))
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/FP32/ready", "/v2/models/FP32/versions/1/ready"):
        yield Case(f"path GET {path}", _health(path))
    yield Case("path POST /v2/repository/index", _http("/v2/repository/index", "POST"))
    yield Case("path POST /v2/repository/index, ready", _http("/v2/repository/index", "POST", b'{"ready": true}'))
    for name in _NAMES:
        yield Case(f"path GET metadata of {name}", _http(f"/v2/models/{name}"))
        yield Case(f"path GET config of {name}", _essential(_http(f"/v2/models/{name}/config")))
        yield Case(f"grpc metadata of {name}", _grpc(_metadata(name)))
        yield Case(f"grpc config of {name}", _essential(_grpc(_config(name))))
    yield Case("path GET metadata of a version", _http("/v2/models/FP32/versions/1"))
    yield Case("path GET statistics", _statistics(_http("/v2/models/counted/stats")))
    yield Case("path GET statistics of a version", _statistics(_http("/v2/models/counted/versions/1/stats")))
    yield Case("grpc statistics", _statistics(_grpc(lambda client: client.get_inference_statistics("counted"))))
    yield Case("grpc server metadata", _grpc(lambda client: client.get_server_metadata()))
    yield Case("grpc index", _grpc(lambda client: client.get_model_repository_index()))
    for about, call in _CALLS.items():
        yield Case(f"grpc {about}", _grpc(call))


_CALLS: dict[str, Callable[[Any], Any]] = {
    "live": lambda client: client.is_server_live(),
    "ready": lambda client: client.is_server_ready(),
    "model ready": lambda client: client.is_model_ready("FP32"),
    "model ready, no model": lambda client: client.is_model_ready("none"),
    "model ready, no version": lambda client: client.is_model_ready("FP32", "9"),
    "metadata, no model": lambda client: client.get_model_metadata("none"),
    "metadata, no version": lambda client: client.get_model_metadata("FP32", "9"),
    "config, no model": lambda client: client.get_model_config("none"),
    "statistics, no model": lambda client: client.get_inference_statistics("none"),
    "statistics, no version": lambda client: client.get_inference_statistics("FP32", "9"),
}


def _metadata(name: str) -> Callable[[Any], Any]:
    return lambda client: client.get_model_metadata(name)


def _config(name: str) -> Callable[[Any], Any]:
    return lambda client: client.get_model_config(name)


def _http(path: str, method: str = "GET", sent: bytes = b"") -> Callable[[Connections], Answer]:
    def send(connections: Connections) -> Answer:
        status, headers, body = connections.request(method, path, sent)
        if status != 200:
            return Answer({"code": str(status)}, body[:100].decode())
        fields = {"code": "ok", "content type": headers.get("content-type", "")}
        return Answer(fields | dict(_flat("", json.loads(body))))

    return send


def _health(path: str) -> Callable[[Connections], Answer]:
    def send(connections: Connections) -> Answer:
        status, _, body = connections.request("GET", path)
        return Answer({"code": str(status), "body": body.decode()})

    return send


def _grpc(read: Callable[[Any], Any]) -> Callable[[Connections], Answer]:
    def send(connections: Connections) -> Answer:
        try:
            found = read(connections.grpc)
        except InferenceServerException as error:
            return answers.of_error(error)
        if isinstance(found, bool):
            return Answer({"code": "ok", "answer": str(found)})
        return Answer({"code": "ok", **dict(_flat("", MessageToDict(found, preserving_proto_field_name=True)))})

    return send


def _essential(read: Callable[[Connections], Answer]) -> Callable[[Connections], Answer]:
    """Reads a configuration, and returns the members that clients need, and the names of others."""

    def send(connections: Connections) -> Answer:
        answer = read(connections)
        kept, others = {}, set()
        for path, value in answer.fields.items():
            place = path.removeprefix("config.")
            setting = place.partition(".")[0].partition("[")[0]
            if setting in ("code", "content type", "name", "platform", "max_batch_size"):
                kept[place] = value
            elif setting not in ("input", "output"):
                others.add(setting)
            elif place.endswith((".name", ".data_type", ".dims")):
                kept[place] = value
        return Answer(kept | {"other settings": " ".join(sorted(others))}, answer.message)

    return send


def _statistics(read: Callable[[Connections], Answer]) -> Callable[[Connections], Answer]:
    """Reads statistics before and after three answers and an error, and returns how the counts changed."""

    def send(connections: Connections) -> Answer:
        before = read(connections).fields
        for shape in ((2,), (3,), (4,)):
            send_json(connections, Request("counted", [Input(np.zeros(shape, np.float32), "FP32")]))
        send_json(connections, Request("counted", [Input(np.zeros(2, np.int32), "INT32")]))
        after = read(connections).fields
        return Answer({key: _change(before.get(key, "0"), value) for key, value in after.items()})

    return send


def _change(before: str, after: str) -> str:
    return f"+{int(after) - int(before)}" if before.isdigit() and after.isdigit() else after


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yields the leaves of a JSON value by their paths. Lists of objects with names have these as places."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            if key not in _VARYING:
                yield from _flat(f"{path}.{key}".lstrip("."), child)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for place, child in enumerate(value):
            yield from _flat(f"{path}[{child.get('name', place)}]", child)
    else:
        yield path, str(value)
