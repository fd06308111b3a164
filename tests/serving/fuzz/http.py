"""Mutated requests of HTTP."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.serving.client import Server
from tests.serving.fuzz.connection import connect, exchange, read_answer
from tests.serving.fuzz.mutations import NUMBERS, altered, mutated
from tests.serving.fuzz.totals import Totals


@dataclass(frozen=True)
class Http:
    """A valid request."""

    method: str
    path: str
    body: bytes = b""
    json_bytes: int | None = None  # of the body's part that is JSON; what follows is binary

    def altered(self, rng: random.Random) -> bytes:
        """Returns the request with another JSON value."""
        length = len(self.body) if self.json_bytes is None else self.json_bytes
        text = json.dumps(altered(json.loads(self.body[:length]), rng)).encode()
        return self.text(text + self.body[length:], None if self.json_bytes is None else len(text))

    def text(self, body: bytes | None = None, json_bytes: int | None = None) -> bytes:
        body = self.body if body is None else body
        json_bytes = self.json_bytes if json_bytes is None else json_bytes
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        if json_bytes is not None:
            lines.append(f"Inference-Header-Content-Length: {json_bytes}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _with_binary(name: str, datatype: str, shape: list[int], data: bytes, path: str) -> Http:
    tensor = {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return Http("POST", path, text + data, len(text))


def _post(path: str, body: Any) -> Http:
    return Http("POST", path, json.dumps(body).encode())


def requests(segment: str) -> Sequence[Http]:
    """Returns valid requests to the models of :func:`tests.serving.fuzz.run.write_repository`.

    Args:
        segment: the name of a segment of shared memory with 4096 bytes.
    """
    x = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, -2.5, "NaN", 4]}
    n = {"name": "n", "datatype": "BYTES", "shape": [2, 1], "data": [["one"], ["\u20ac"]]}
    words = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["one two", ""]}
    y = {"name": "y", "parameters": {"binary_data": True}}
    range_of = {f"shared_memory_{key}": value for key, value in {"region": "r", "offset": 16, "byte_size": 16}.items()}
    shared_x = {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": range_of}
    shared_y = {"name": "y", "parameters": {**range_of, "shared_memory_offset": 64}}
    plain = {"id": "1", "inputs": [x], "outputs": [y], "parameters": {"priority": 2, "timeout": 60_000_000}}
    classes = {"name": "y", "parameters": {"classification": 2}}
    place, memory = "/v2/models/affine", "/v2/systemsharedmemory"
    reads = (place, f"{place}/stats", f"{place}/config", "/v2", "/v1/models/affine", f"{memory}/status")
    return [
        _post(f"{place}/infer", {"inputs": [x]}),
        _post(f"{place}/versions/1/infer", plain),
        _with_binary("x", "FP32", [1, 4], bytes(range(16)), f"{place}/infer"),
        _with_binary("n", "BYTES", [2, 1], b"\x03\0\0\0one\x01\0\0\0x", "/v2/models/texts/infer"),
        _post("/v2/models/texts/infer", {"inputs": [n]}),
        _post("/v1/models/affine:predict", {"instances": [[1, 2, 3, 4]]}),
        _post("/v1/models/affine/versions/1:predict", {"inputs": {"x": [[1, 2, 3, 4]]}}),
        _post("/v2/repository/index", {"ready": True}),
        _post(f"{place}/infer", {"inputs": [x], "outputs": [classes, {"name": "y"}]}),
        _post("/v2/models/steps/infer", plain),
        _with_binary("x", "FP32", [1, 4], bytes(16), "/v2/models/steps/infer"),
        _post("/v2/models/words/infer", {"inputs": [words]}),
        _with_binary("text", "BYTES", [1], b"\x03\0\0\0a b", "/v2/models/words/infer"),
        _post(f"{memory}/region/r/register", {"key": f"/{segment}", "offset": 0, "byte_size": 4096}),
        _post(f"{memory}/region/r/register", {"key": f"/{segment}", "offset": 64, "byte_size": 1024}),
        _post(f"{place}/infer", {"inputs": [shared_x], "outputs": [shared_y]}),
        _post("/v2/models/steps/infer", {"inputs": [shared_x], "outputs": [shared_y]}),
        Http("POST", f"{memory}/region/r/unregister"),
        *(Http("GET", path) for path in reads),
    ]


def _is_own_error(status: int, sent: bytes) -> bool:
    """Whether a status is an error of the server that the request does not cause."""
    return status >= 500 and not (status == 504 and b"timeout" in sent)


def _check(status: int, sent: bytes, totals: Totals) -> None:
    totals.answers[f"HTTP {status}"] += 1
    if _is_own_error(status, sent):
        totals.find(f"status {status}", sent)


def bodies(server: Server, valid: Sequence[Http], count: int, rng: random.Random, totals: Totals) -> None:
    """Sends requests with mutated bodies, many at a time on a connection. Each must have its answer."""
    seeds = [request for request in valid if request.body]
    others = [request.body for request in seeds]
    sent: list[bytes] = []
    for _ in range(count):
        seed = rng.choice(seeds)
        kind = rng.randrange(12)
        if kind == 0:  # as it is, so that there are regions and outputs in shared memory
            sent.append(seed.text())
        elif kind < 6:
            sent.append(seed.altered(rng))
        else:
            length = rng.choice((None, None, None, *NUMBERS, rng.randrange(400))) if seed.json_bytes else None
            sent.append(seed.text(mutated(seed.body, others, rng), length))
    totals.sent["HTTPS, bodies" if server.tls else "HTTP, bodies"] += count
    answered = 0
    try:
        with connect(server.ports["http"], server.tls) as connection:
            connection.sendall(b"".join(sent))
            with connection.makefile("rb") as answers:
                for text in sent:
                    status = read_answer(answers)
                    answered += 1
                    _check(status, text, totals)
    except (OSError, ValueError) as error:
        totals.find(f"no answer ({error})", sent[answered])


def whole(server: Server, valid: Sequence[Http], count: int, rng: random.Random, totals: Totals) -> None:
    """Sends mutated requests, headers too, each on its connection. The server answers, or ends the connection."""
    seeds = [request.text() for request in valid]
    for _ in range(count):
        text = mutated(rng.choice(seeds), seeds, rng)
        totals.sent["HTTPS, whole requests" if server.tls else "HTTP, whole requests"] += 1
        received = exchange(lambda: connect(server.ports["http"], server.tls), text, totals)
        for part in received.split(b"HTTP/1.1 ")[1:]:
            _check(int(part[:3]), text, totals)
