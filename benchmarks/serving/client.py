"""Clients that send one request again and again. They cost little, and the same with each server."""

from __future__ import annotations

import socket
from typing import Protocol

import numpy as np

from benchmarks.serving import messages
from benchmarks.serving.messages import Row
from serving.client import content_length

_TIMEOUT_SECS = 60
_CALL = "/inference.GRPCInferenceService/ModelInfer"
_READ_BYTES = 1 << 20


class Client(Protocol):
    """A connection to a server."""

    def send(self) -> object:
        """Sends the request, waits for the answer and returns it.

        Raises:
            RuntimeError: the answer is an error.
        """
        ...

    def output(self) -> np.ndarray:
        """Sends the request and returns the output."""
        ...

    def close(self) -> None: ...


class HttpClient:
    """A connection that is kept open. A response is read up to its length, and its body is not looked at."""

    def __init__(self, port: int, row: Row) -> None:
        self._request = messages.http_request(row, port)
        self._socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self) -> tuple[bytes, bytes]:
        """Returns the header and the body of the response."""
        self._socket.sendall(self._request)
        received = self._read()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._read()
        header, parts, got = received[: end + 2], [received[end + 4 :]], len(received) - end - 4
        length = content_length(header)
        if not header.startswith(b"HTTP/1.1 200 ") or length is None:
            raise RuntimeError(f"a server answered: {received[:500].decode(errors='replace')}")
        while got < length:
            parts.append(self._read())
            got += len(parts[-1])
        return header, parts[0] if len(parts) == 1 else b"".join(parts)

    def output(self) -> np.ndarray:
        header, body = self.send()
        fields = (line.partition(":") for line in header.decode().splitlines()[1:])
        return messages.http_output({name.lower(): value.strip() for name, _, value in fields}, body)

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> bytes:
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise RuntimeError("a server closed its connection")
        return data


class GrpcClient:
    """A channel. Messages stay bytes."""

    def __init__(self, port: int, row: Row) -> None:
        import grpc

        self._request = messages.grpc_request(row)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._call = self._channel.unary_unary(_CALL)
        self._error = grpc.RpcError

    def send(self) -> bytes:
        """Returns the response."""
        try:
            return self._call(self._request, timeout=_TIMEOUT_SECS)
        except self._error as error:
            raise RuntimeError(f"a server answered: {error}") from None

    def output(self) -> np.ndarray:
        return messages.grpc_output(self.send())

    def close(self) -> None:
        self._channel.close()


def connect(row: Row, port: int) -> Client:
    """Returns a client for a row."""
    return HttpClient(port, row) if row.protocol == "http" else GrpcClient(port, row)
