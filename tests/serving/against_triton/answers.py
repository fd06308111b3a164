"""Answers of a server as fields that can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

from tests.serving.models import TYPES


@dataclass(frozen=True)
class Answer:
    """``fields`` are compared; ``message`` is that of an error, for people."""

    fields: Mapping[str, str]
    message: str = field(default="", compare=False)


def of_error(error: InferenceServerException) -> Answer:
    """Returns the answer of one of Triton's clients that raised an error."""
    return Answer({"code": str(error.status())}, str(error.message()))


def of_outputs(header: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]) -> Answer:
    """Returns the answer with outputs in the order of the response, each with its fields."""
    fields = {
        "code": "ok",
        **{key: str(value) for key, value in header.items()},
        "outputs": " ".join(sorted(outputs)),
        "order": " ".join(outputs),
    }
    return Answer(fields | {f"{name} {key}": str(value) for name, of in outputs.items() for key, value in of.items()})


def of_http_result(result: Any, names: list[str]) -> Answer:
    """Returns the answer that Triton's HTTP client has read."""
    response = result.get_response()
    outputs = {output["name"]: _described(output) for output in response["outputs"]}
    for name in names:
        outputs.setdefault(name, {})["values"] = bits(result.as_numpy(name))
    return of_outputs(_header(response), outputs)


def of_grpc_result(result: Any, names: list[str]) -> Answer:
    """Returns the answer that Triton's gRPC client has read."""
    response = result.get_response()
    outputs = _grpc_outputs(response)
    for name in names:
        outputs.setdefault(name, {})["values"] = bits(result.as_numpy(name))
    return of_outputs(_grpc_header(response), outputs)


def of_grpc_message(response: Any) -> Answer:
    """Returns the answer of a ModelInferResponse, with its raw contents."""
    outputs = _grpc_outputs(response)
    for made, raw in zip(outputs.values(), response.raw_output_contents, strict=False):
        made["values"] = raw.hex()
    return of_outputs(_grpc_header(response) | {"raw contents": len(response.raw_output_contents)}, outputs)


def of_http_response(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Returns the answer of a response over HTTP that no client has read."""
    if status != 200:
        try:
            return Answer({"code": str(status)}, str(json.loads(body)["error"]))
        except (ValueError, KeyError, TypeError):
            return Answer({"code": str(status)}, body[:200].decode(errors="replace"))
    length = int(headers.get("inference-header-content-length", len(body)))
    try:
        response = json.loads(body[:length], parse_constant=_no_number)
    except ValueError as error:
        return Answer({"code": "ok, but not JSON"}, str(error))
    rest, outputs = body[length:], {}
    for output in response["outputs"]:
        outputs[output["name"]] = made = _described(output)
        if "data" in output:
            made["values"] = _json_bits(output["datatype"], output["data"])
        elif size := output.get("parameters", {}).get("binary_data_size"):
            made["values"], rest = rest[:size].hex(), rest[size:]
    header = _header(response) | {"content type": headers.get("content-type", ""), "bytes left": len(rest)}
    return of_outputs(header, outputs)


def bits(array: np.ndarray | None) -> str:
    """Returns the bytes of an array, those of a BYTES tensor as the protocol sends them."""
    if array is None:
        return "none"
    if array.dtype == np.object_:
        return serialize_byte_tensor(array).item().hex() if array.size else ""
    return array.tobytes().hex()


def _json_bits(datatype: str, data: Any) -> str:
    flat = np.array(data, np.object_).ravel()
    if datatype == "BYTES":
        return bits(np.array([text.encode() for text in flat], np.object_))
    return bits(np.array([float(value) if isinstance(value, str) else value for value in flat], TYPES[datatype][1]))


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _header(response: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("model_name", "model_version", "id", "parameters")
    return {key: response[key] for key in keys if key in response}


def _described(output: Mapping[str, Any]) -> dict[str, Any]:
    parameters = output.get("parameters", {})
    place = "JSON" if "data" in output else "binary" if "binary_data_size" in parameters else "shared memory"
    made = {"datatype": output["datatype"], "shape": output["shape"], "place": place}
    return made | ({"parameters": sorted(parameters.items())} if parameters else {})


def _grpc_header(response: Any) -> dict[str, Any]:
    made = {"model_name": response.model_name, "model_version": response.model_version, "id": response.id}
    return made | ({"parameters": _parameters(response)} if response.parameters else {})


def _grpc_outputs(response: Any) -> dict[str, dict[str, Any]]:
    return {
        output.name: {"datatype": output.datatype, "shape": list(output.shape)}
        | ({"parameters": _parameters(output)} if output.parameters else {})
        for output in response.outputs
    }


def _parameters(message: Any) -> list[tuple[str, str]]:
    return sorted((key, str(value).strip()) for key, value in message.parameters.items())
