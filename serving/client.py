"""A client of the Open Inference Protocol over HTTP, with binary tensors.

Clients of other projects work too; this one needs no package beyond numpy.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import ml_dtypes
import numpy as np

_HEADER = "Inference-Header-Content-Length"
# NumPy's types by the names of the protocol. BYTES are strings.
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(bool),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    **{f"{sign.upper()}INT{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Message:
    """A request or a response: its body and its headers."""

    body: bytes
    headers: Mapping[str, str]


def place(model: str, version: str = "") -> str:
    """Returns the path of a model. ``version`` is a number or a label; empty: the one that the server selects."""
    return f"/v2/models/{quote(model, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")


def request(inputs: Mapping[str, np.ndarray], *, as_json: bool = False) -> Message:
    """Returns the request for a run. Strings are arrays of NumPy's type ``str`` or of bytes."""
    tensors, binary = [], b""
    for name, array in inputs.items():
        datatype = _NAMES.get(array.dtype, "BYTES")
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if as_json:
            tensor["data"] = [str(text) for text in array.ravel()] if datatype == "BYTES" else array.ravel().tolist()
        else:
            data = _packed(array) if datatype == "BYTES" else np.ascontiguousarray(array).tobytes()
            tensor["parameters"] = {"binary_data_size": len(data)}
            binary += data
        tensors.append(tensor)
    text = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": not as_json}}).encode()
    return Message(text + binary, {} if as_json else {_HEADER: str(len(text))})


def outputs(response: Message) -> dict[str, np.ndarray]:
    """Returns the outputs of a response by name.

    Raises:
        ValueError: it is not a response of the protocol.
    """
    length = int(response.headers.get(_HEADER, len(response.body)))
    binary = response.body[length:]
    arrays = {}
    for tensor in json.loads(response.body[:length])["outputs"]:
        shape, datatype = tensor["shape"], tensor["datatype"]
        if "data" in tensor:
            array = np.array(tensor["data"], DTYPES.get(datatype, np.dtype(str)))
        else:
            size = tensor["parameters"]["binary_data_size"]
            own, binary = binary[:size], binary[size:]
            array = _unpacked(own) if datatype == "BYTES" else np.frombuffer(own, DTYPES[datatype])
        arrays[tensor["name"]] = array.reshape(shape)
    return arrays


def _packed(array: np.ndarray) -> bytes:
    """Returns strings as the protocol has them: each with its length in 4 bytes."""
    texts = [text if isinstance(text, bytes) else str(text).encode() for text in array.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _unpacked(data: bytes) -> np.ndarray:
    texts = []
    while data:
        size = int.from_bytes(data[:4], "little")
        texts.append(data[4 : 4 + size].decode(errors="replace"))
        data = data[4 + size :]
    return np.array(texts, np.dtype(str))


@dataclass(frozen=True)
class Client:
    """The HTTP port of a server."""

    host: str = "127.0.0.1"
    port: int = 8000

    def metadata(self, model: str, version: str = "") -> dict[str, Any]:
        """Returns the inputs and outputs of a model.

        Raises:
            ValueError: the server rejected the request, with its reason.
            OSError: there is no server.
        """
        return json.loads(self._call("GET", place(model, version)).body)

    def infer(self, model: str, inputs: Mapping[str, np.ndarray], version: str = "") -> dict[str, np.ndarray]:
        """Runs a model, and returns its outputs by name.

        Raises:
            ValueError, OSError: as :meth:`metadata`.
        """
        return outputs(self._call("POST", place(model, version) + "/infer", request(inputs)))

    def _call(self, method: str, path: str, message: Message | None = None) -> Message:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=600)
        try:
            connection.request(method, path, message and message.body, dict(message.headers) if message else {})
            response = connection.getresponse()
            answer = Message(response.read(), dict(response.getheaders()))
        except http.client.HTTPException as error:
            raise ValueError(f"{self.host}:{self.port} does not speak HTTP: {error}") from None
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(_reason(answer.body) or f"{self.host}:{self.port} answered {response.status}")
        return answer


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""


def open_shape(shape: Sequence[int], given: Sequence[int] | None) -> tuple[int, ...]:
    """Returns a shape whose open dimensions (-1) are those of a given array of that rank, else 1."""
    fits = given is not None and len(given) == len(shape)
    return tuple(size if size >= 0 else given[i] if fits and given else 1 for i, size in enumerate(shape))
