"""The clients of one server, and a combination that is sent by them."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2_grpc

from tests.serving.against_triton.answers import Answer

SECS = 20  # that an answer may take


@dataclass(frozen=True)
class Connections:
    """Clients of one server. ``stub`` sends messages of gRPC as they are."""

    ports: Mapping[str, int]
    http: Any
    grpc: Any
    stub: Any

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Sends a request over HTTP. Returns the status, the headers by names in lower case, and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=SECS)
        try:
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return response.status, found, response.read()
        finally:
            connection.close()


@dataclass(frozen=True)
class Case:
    """A combination. Its name begins with the client, the call and the data type or the mistake."""

    name: str
    send: Callable[[Connections], Answer]


@contextmanager
def connect(ports: Mapping[str, int]) -> Iterator[Connections]:
    with (
        triton_http.InferenceServerClient(f"127.0.0.1:{ports['http']}", network_timeout=SECS) as over_http,
        triton_grpc.InferenceServerClient(f"127.0.0.1:{ports['grpc']}") as over_grpc,
        grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel,
    ):
        yield Connections(ports, over_http, over_grpc, service_pb2_grpc.GRPCInferenceServiceStub(channel))
