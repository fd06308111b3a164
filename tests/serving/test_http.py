"""HTTP/1.1: what a request may be, and connections that misbehave."""

from __future__ import annotations

import json
import socket

import pytest

from tests.serving.client import Server

TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
BODY = json.dumps({"inputs": [TENSOR]}).encode()
PATH = "/v2/models/affine/infer"


def request(body: bytes = BODY, **headers: str) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answers(server: Server, sent: bytes, half_close: bool = False) -> bytes:
    """Sends bytes on a new connection, and returns all that comes until it is quiet or closed."""
    with socket.create_connection(("127.0.0.1", server.ports["http"]), timeout=10) as connection:
        connection.sendall(sent)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        connection.settimeout(1)
        received = b""
        try:
            while data := connection.recv(65536):
                received += data
        except TimeoutError:
            pass
        return received


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    ids = [json.dumps({"id": str(number), "inputs": [TENSOR]}).encode() for number in range(5)]
    received = answers(server, b"".join(request(body) for body in ids))
    assert received.count(b"HTTP/1.1 200") == 5
    places = [received.index(b'"id":"%d"' % number) for number in range(5)]
    assert places == sorted(places)


def test_a_valid_request_before_garbage_is_answered(server: Server) -> None:
    received = answers(server, request() + b"\x00\x01 garbage\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("coding", ["chunked", "gzip", "chunked, gzip", "identity"])
def test_transfer_codings_are_rejected(server: Server, coding: str) -> None:
    received = answers(server, request(Transfer_Encoding=coding))
    assert received.startswith((b"HTTP/1.1 411", b"HTTP/1.1 400"))
    assert received.count(b"HTTP/1.1") == 1, "the body was read as a request"


def test_a_coding_behind_an_empty_one_is_rejected(server: Server) -> None:
    codings = b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: h\r\n".encode()
    received = answers(server, head + codings + b"\r\n" + request())
    assert received.startswith((b"HTTP/1.1 411", b"HTTP/1.1 400"))
    assert received.count(b"HTTP/1.1") == 1, "the body was read as a request"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v2 HTTP/1.1\r\n\r\n",  # without Host
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n".encode(),
        f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".encode(),
    ],
)
def test_what_is_not_http_costs_its_connection_only(server: Server, sent: bytes) -> None:
    received = answers(server, sent)
    assert not received or received.startswith(b"HTTP/1.1 400")
    assert server.scale() == 2


def test_http_1_0(server: Server) -> None:
    head = f"POST {PATH} HTTP/1.0\r\nContent-Length: {len(BODY)}\r\n".encode()
    closing = answers(server, (head + b"\r\n" + BODY) * 2)
    assert closing.startswith(b"HTTP/1.1 200")
    assert (closing.count(b"HTTP/1.1"), b"\r\nConnection: close\r\n" in closing) == (1, True)
    keeping = answers(server, (head + b"Connection: keep-alive\r\nExpect: 100-continue\r\n\r\n" + BODY) * 2)
    assert keeping.count(b"HTTP/1.1 200") == 2
    assert keeping.count(b"\r\nConnection: keep-alive\r\n") == 2
    with socket.create_connection(("127.0.0.1", server.ports["http"]), timeout=10) as connection:
        connection.sendall(head + b"Expect: 100-continue\r\n\r\n")  # which a client of 1.0 does not wait for
        connection.sendall(BODY)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_head_and_continue(server: Server) -> None:
    received = answers(server, b"HEAD /v2/models/affine HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"\r\n\r\n")
    head, body = request(Expect="100-continue").split(b"\r\n\r\n", 1)
    with socket.create_connection(("127.0.0.1", server.ports["http"]), timeout=10) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_announced_bytes_take_no_memory(server: Server) -> None:
    def resident() -> int:
        text = server.request("GET", "/metrics", port="metrics").body.decode()
        return int(float(text.split("\nloopwright_resident_bytes ")[1].split()[0]))

    before = resident()
    head = f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: {64 << 20}\r\n\r\nx".encode()
    connections = [socket.create_connection(("127.0.0.1", server.ports["http"])) for _ in range(16)]
    for connection in connections:
        connection.sendall(head)
    assert server.scale() == 2
    assert resident() - before < 100 << 20  # announced: 1 GiB
    for connection in connections:
        connection.close()
