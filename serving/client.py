"""A client of the Open Inference Protocol over HTTP, with binary tensors.

Clients of other projects work too; this one needs no package beyond numpy.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from serving.worker.datatypes import DTYPES, pack, unpack

_LENGTH = re.compile(rb"^content-length: *([0-9]+)\r$", re.IGNORECASE | re.MULTILINE)
_HEADER = "Inference-Header-Content-Length"
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Message:
    """A request or a response: its body and its headers, those of a response in lower case."""

    body: bytes
    headers: Mapping[str, str]


def place(model: str, version: str = "") -> str:
    """Returns the path of a model. ``version`` is a number or a label; empty: the one that the server selects."""
    return f"/v2/models/{quote(model, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")


def request(inputs: Mapping[str, np.ndarray], *, as_json: bool = False, timeout_ms: int | None = None) -> Message:
    """Returns the request for a run. Strings are arrays of NumPy's type ``str`` or of bytes.

    The server answers a request that has not begun to run within ``timeout_ms`` with an error.

    Raises:
        ValueError: the protocol does not have the type of an array.
    """
    tensors, binary = [], b""
    for name, array in inputs.items():
        datatype = "BYTES" if array.dtype.kind in "USO" else _NAMES.get(array.dtype, "")
        if not datatype:
            raise ValueError(f"input {name} is of {array.dtype}, which the protocol does not have")
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if as_json:
            tensor["data"] = [str(text) for text in array.ravel()] if datatype == "BYTES" else array.ravel().tolist()
        else:
            data = pack(array) if datatype == "BYTES" else np.ascontiguousarray(array).tobytes()
            tensor["parameters"] = {"binary_data_size": len(data)}
            binary += data
        tensors.append(tensor)
    parameters: dict[str, Any] = {"binary_data_output": not as_json}
    if timeout_ms is not None:
        parameters["timeout"] = timeout_ms * 1000
    text = json.dumps({"inputs": tensors, "parameters": parameters}).encode()
    return Message(text + binary, {} if as_json else {_HEADER: str(len(text))})


def post(host: str, port: int, path: str, sent: Message) -> bytes:
    """Returns a request as the bytes of HTTP/1.1."""
    name = f"[{host}]" if ":" in host else host  # an address of IPv6
    lines = [f"POST {path} HTTP/1.1", f"Host: {name}:{port}", f"Content-Length: {len(sent.body)}"]
    lines += [f"{header}: {value}" for header, value in sent.headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + sent.body


def content_length(header: bytes) -> int | None:
    """Returns the length of the body after the header of a response; None: the header does not have it."""
    found = _LENGTH.search(header)
    return int(found[1]) if found else None


def outputs(response: Message) -> dict[str, np.ndarray]:
    """Returns the outputs of a response by name.

    Raises:
        ValueError: it is not a response of the protocol.
    """
    length = int(response.headers.get(_HEADER.lower(), len(response.body)))
    binary = response.body[length:]
    arrays = {}
    for tensor in json.loads(response.body[:length])["outputs"]:
        shape, datatype = tensor["shape"], tensor["datatype"]
        if "data" in tensor:
            array = np.array(tensor["data"], DTYPES.get(datatype, np.dtype(str)))
        else:
            size = tensor["parameters"]["binary_data_size"]
            own, binary = binary[:size], binary[size:]
            if datatype == "BYTES":
                array = np.array([text.decode(errors="replace") for text in unpack(own)], np.dtype(str))
            else:
                array = np.frombuffer(own, DTYPES[datatype])
        arrays[tensor["name"]] = array.reshape(shape)
    return arrays


@dataclass(frozen=True)
class Client:
    """The HTTP port of a server.

    Attributes:
        host, port: where it listens.
        timeout: seconds that an answer may take.
        tls: what :func:`trust` returns; None: without TLS.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    timeout: float = 60
    tls: ssl.SSLContext | None = None

    def metadata(self, model: str, version: str = "") -> dict[str, Any]:
        """Returns the inputs and outputs of a model.

        Raises:
            ValueError: the server rejected the request, with its reason.
            RuntimeError: the server failed, or has no capacity now.
            OSError: there is no server, or it does not answer.
        """
        return json.loads(self._call("GET", place(model, version)).body)

    def infer(self, model: str, inputs: Mapping[str, np.ndarray], version: str = "") -> dict[str, np.ndarray]:
        """Runs a model, and returns its outputs by name.

        Raises:
            ValueError, RuntimeError, OSError: as :meth:`metadata`.
        """
        return outputs(self._call("POST", place(model, version) + "/infer", request(inputs)))

    def _call(self, method: str, path: str, message: Message | None = None) -> Message:
        sent = message or Message(b"", {})
        return call(self.host, self.port, method, path, sent, self.timeout, self.tls)


def trust(authority: Path) -> ssl.SSLContext:
    """Returns the settings of TLS for servers whose certificate is one of a file, or is signed by one.

    Raises:
        ValueError: the file has no certificate in PEM form.
        OSError: it cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=authority)
    except ssl.SSLError:
        raise ValueError(f"{authority} has no certificate in PEM form") from None
    except OSError as error:
        raise OSError(f"cannot read {authority}: {error.strerror}") from None


def connect(host: str, port: int, timeout: float, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    """Returns a connection, which its first request opens."""
    if tls is None:
        return http.client.HTTPConnection(host, port, timeout=timeout)
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=tls)


def call(
    host: str, port: int, method: str, path: str, sent: Message, timeout: float, tls: ssl.SSLContext | None = None
) -> Message:
    """Sends a request and returns its answer.

    Raises:
        ValueError: the server rejected the request (400 to 499 but 429), with its reason.
        RuntimeError: the server failed, or has no capacity now (429, 500 and up).
        OSError: there is no server, it does not answer in time, or its certificate is not trusted.
    """
    connection = connect(host, port, timeout, tls)
    try:
        connection.request(method, path, sent.body or None, dict(sent.headers))
        response = connection.getresponse()
        answer = Message(response.read(), {name.lower(): value for name, value in response.getheaders()})
    except ssl.SSLCertVerificationError as error:
        about = f"the certificate of {host}:{port} is not trusted ({error.verify_message})"
        raise OSError(f"{about}; --tls-ca must have it or those that sign it, and --host a name of it") from None
    except ssl.SSLError as error:
        about = f"no handshake of TLS with {host}:{port} ({error.reason or error})"
        raise OSError(f"{about}; if it does not speak TLS, leave out --tls-ca") from None
    except OSError as error:  # also http.client.RemoteDisconnected, which is an HTTPException too
        hint = ""
        if isinstance(error, ConnectionRefusedError):
            hint = "; is the server started?"
        elif isinstance(error, ConnectionError) and tls is None:
            hint = "; if it speaks TLS, give --tls-ca"
        raise OSError(f"no answer from {host}:{port}: {error.strerror or error}{hint}") from None
    except http.client.IncompleteRead:
        raise OSError(f"no answer from {host}:{port}: the connection was closed within it") from None
    except http.client.HTTPException:
        hint = "TLS (then give --tls-ca) or of another protocol" if tls is None else "another protocol"
        raise ValueError(f"{host}:{port} does not speak HTTP/1.1; is it a port of {hint}?") from None
    finally:
        connection.close()
    if response.status == 200:
        return answer
    reason = _reason(answer.body) or f"{host}:{port} answered {response.status}"
    raise (RuntimeError if response.status == 429 or response.status >= 500 else ValueError)(reason)


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""


def open_shape(shape: Sequence[int], given: Sequence[int] | None) -> tuple[int, ...]:
    """Returns a shape whose open dimensions (-1) are those of a given array of that rank, else 1."""
    fits = given is not None and len(given) == len(shape)
    return tuple(size if size >= 0 else given[i] if fits and given else 1 for i, size in enumerate(shape))
