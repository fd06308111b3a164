"""Mutated requests of both protocols: the server must live, answer each, and never answer that it failed.

``python -m tests.serving.fuzz --requests N [--seed S]`` runs a long time; ``LOOPWRIGHT_SERVER`` may name a server that
was built with ``-DLOOPWRIGHT_SANITIZE=ON``. ONNX Runtime leaks 56 bytes per process, so set
``LSAN_OPTIONS=print_suppressions=0:suppressions=FILE`` with the line ``leak:libonnxruntime``. A test runs a few hundred
requests.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import random
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import compiler
from compiler.commands.command_line import at_least
from tests.graph_passes.models import model
from tests.serving.client import Server
from tests.serving.models import affine, write_version

BATCH = 50  # requests that are sent before their answers are read
WAIT_SECS = 60
MOST_FINDINGS = 20
# What parsers have trouble with.
TOKENS = [
    *(
        b"-1",
        b"0",
        b"1e999",
        b"-0.0",
        b"0x10",
        b"9" * 40,
        b"18446744073709551616",
        b"9223372036854775807",
        b"4294967296",
    ),
    *(b'"', b"\\", b"\\u0000", b"\\ud800", b"{", b"}", b"[" * 70, b"]", b",", b":", b"null", b"true", b"NaN", b'"NaN"'),
    *(
        b"\x00",
        b"\xff",
        b"\xc0\x80",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"%00",
        b"%2e%2e/",
    ),
]
# What takes the place of a part of a valid request.
VALUES = [
    *(None, True, False, -1, 0, 1, 3, 0.5, 1e300, -1e-300, 1 << 31, 1 << 32, 1 << 48, (1 << 63) - 1, (1 << 64) - 1),
    *("", "x", "n", "y", "1", "-1", "NaN", "Infinity", "BYTES", "FP32", "FP64", "INT64", "BF16", "BOOL", "\u20ac" * 99),
    *([], [[]], {}, [1, 2, 3, 4], [[1, 2], [3, 4]], [2, 1], [0, 5], ["a", "b"], {"binary_data_size": 0}),
]
NUMBERS = (0, 1, 16, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


@dataclass
class Totals:
    """What was sent and answered, by kind."""

    sent: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def find(self, what: str, sent: bytes) -> None:
        self.findings.append(f"{what}: {sent[:600]!r}")


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Returns bytes with one to four changes; half of the time, of single bytes."""
    result = bytearray(data)
    kinds = rng.choice((2, 8))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        place = rng.randrange(len(result) + 1)
        end = min(len(result), place + rng.randint(1, 8))
        match rng.randrange(kinds):
            case 0 if place < len(result):
                result[place] ^= 1 << rng.randrange(8)
            case 1 if place < len(result):
                result[place] = rng.randrange(256)
            case 2:
                result[place:place] = rng.randbytes(rng.randint(1, 8))
            case 3:
                del result[place:end]
            case 4:
                result[place:place] = result[place:end] * rng.randint(1, 20)
            case 5:
                del result[place:]
            case 6:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                result[place:end] = other[start : start + rng.randint(1, 40)]
            case _:
                result[place:end] = rng.choice(TOKENS)
    return bytes(result)


def altered(value: Any, rng: random.Random) -> Any:
    """Returns a value of JSON with one part replaced, removed or repeated."""
    root = [copy.deepcopy(value)]
    places: list[tuple[Any, Any]] = [(root, 0)]
    for container, key in places:  # grows
        child = container[key]
        if isinstance(child, dict | list):
            places += [(child, name) for name in (child if isinstance(child, dict) else range(len(child)))]
    container, key = rng.choice(places)
    match rng.randrange(4):
        case 0 if container is not root:
            del container[key]
        case 1 if isinstance(container, list) and container is not root:
            container += [container[key]] * rng.randint(1, 9)
        case 1 if isinstance(container, dict):
            container[str(rng.choice(VALUES))] = container.pop(key)
        case _:
            container[key] = copy.deepcopy(rng.choice(VALUES))
    return root[0]


# --- HTTP ---


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


def http_requests() -> list[Http]:
    x = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, -2.5, "NaN", 4]}
    n = {"name": "n", "datatype": "BYTES", "shape": [2, 1], "data": [["one"], ["\u20ac"]]}
    y = {"name": "y", "parameters": {"binary_data": True}}
    plain = {"id": "1", "inputs": [x], "outputs": [y], "parameters": {"priority": 2, "timeout": 60_000_000}}
    place = "/v2/models/affine"

    def with_binary(name: str, datatype: str, shape: list[int], data: bytes, path: str) -> Http:
        tensor = {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}
        text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        return Http("POST", path, text + data, len(text))

    return [
        Http("POST", f"{place}/infer", json.dumps({"inputs": [x]}).encode()),
        Http("POST", f"{place}/versions/1/infer", json.dumps(plain).encode()),
        with_binary("x", "FP32", [1, 4], bytes(range(16)), f"{place}/infer"),
        with_binary("n", "BYTES", [2, 1], b"\x03\0\0\0one\x01\0\0\0x", "/v2/models/texts/infer"),
        Http("POST", "/v2/models/texts/infer", json.dumps({"inputs": [n]}).encode()),
        Http("POST", "/v1/models/affine:predict", b'{"instances": [[1, 2, 3, 4]]}'),
        Http("POST", "/v1/models/affine/versions/1:predict", b'{"inputs": {"x": [[1, 2, 3, 4]]}}'),
        Http("POST", "/v2/repository/index", b'{"ready": true}'),
        *(Http("GET", path) for path in (place, f"{place}/stats", f"{place}/config", "/v2", "/v1/models/affine")),
    ]


def is_own_error(status: int, sent: bytes) -> bool:
    """Whether a status is an error of the server that the request does not cause."""
    return status >= 500 and not (status == 504 and b"timeout" in sent)


def bodies(server: Server, count: int, rng: random.Random, totals: Totals) -> None:
    """Sends requests with mutated bodies, many at a time on a connection. Each must have its answer."""
    seeds = [request for request in http_requests() if request.body]
    others = [request.body for request in seeds]
    sent: list[bytes] = []
    for _ in range(count):
        seed = rng.choice(seeds)
        if rng.randrange(2):
            sent.append(seed.altered(rng))
            continue
        length = rng.choice((None, None, None, *NUMBERS, rng.randrange(400))) if seed.json_bytes else None
        sent.append(seed.text(mutated(seed.body, others, rng), length))
    totals.sent["HTTP, bodies"] += count
    answered = 0
    try:
        with socket.create_connection(("127.0.0.1", server.ports["http"]), WAIT_SECS) as connection:
            connection.sendall(b"".join(sent))
            with connection.makefile("rb") as answers:
                for text in sent:
                    status = read_answer(answers)
                    answered += 1
                    totals.answers[f"HTTP {status}"] += 1
                    if is_own_error(status, text):
                        totals.find(f"status {status}", text)
    except (OSError, ValueError) as error:
        totals.find(f"no answer ({error})", sent[answered])


def read_answer(answers: Any) -> int:
    """Reads a response and returns its status.

    Raises:
        ValueError: it is not one.
    """
    line = answers.readline()
    if not line.startswith(b"HTTP/1.1 "):
        raise ValueError(f"not a response: {line!r}")
    length = 0
    while (name_value := answers.readline()) not in (b"\r\n", b""):
        if name_value.lower().startswith(b"content-length:"):
            length = int(name_value[15:])
    if len(answers.read(length)) < length:
        raise ValueError("a response is cut off")
    return int(line[9:12])


def whole(server: Server, count: int, rng: random.Random, totals: Totals) -> None:
    """Sends mutated requests, headers too, each on its connection. The server answers, or ends the connection."""
    seeds = [request.text() for request in http_requests()]
    for _ in range(count):
        text = mutated(rng.choice(seeds), seeds, rng)
        totals.sent["HTTP, whole requests"] += 1
        received = exchange(server.ports["http"], text, totals)
        for part in received.split(b"HTTP/1.1 ")[1:]:
            status = int(part[:3])
            totals.answers[f"HTTP {status}"] += 1
            if is_own_error(status, text):
                totals.find(f"status {status}", text)


def exchange(port: int, text: bytes, totals: Totals) -> bytes:
    """Sends bytes and then the end of the stream, and returns all that the server sends until it closes."""
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), WAIT_SECS) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(1 << 16):
                received += data
    except TimeoutError:
        totals.find("neither an answer nor an end", text)
    except OSError:
        pass  # the server has closed before it read all
    return received


# --- gRPC ---

SERVICE = "/inference.GRPCInferenceService/"


def grpc_messages() -> dict[str, list[bytes]]:
    """Returns valid messages by the name of their call."""
    service_pb2 = _protocol()
    tensor = service_pb2.ModelInferRequest.InferInputTensor

    def infer(name: str, *inputs: Any, **more: Any) -> bytes:
        return service_pb2.ModelInferRequest(model_name=name, inputs=inputs, **more).SerializeToString()

    x = tensor(name="x", datatype="FP32", shape=[1, 4])
    typed = tensor(name="x", datatype="FP32", shape=[1, 4])
    typed.contents.fp32_contents.extend([1, 2, 3, 4])
    texts = tensor(name="n", datatype="BYTES", shape=[2, 1])
    texts.contents.bytes_contents.extend([b"one", b""])
    request = service_pb2.ModelInferRequest(model_name="affine", model_version="1", id="7", inputs=[x])
    request.raw_input_contents.append(bytes(range(16)))
    request.outputs.add(name="y")
    request.parameters["priority"].int64_param = 2
    request.parameters["timeout"].int64_param = 60_000_000
    named = service_pb2.ModelMetadataRequest(name="affine", version="1").SerializeToString()
    return {
        "ModelInfer": [
            infer("affine", x, raw_input_contents=[bytes(range(16))]),
            infer("affine", typed),
            infer("texts", texts),
            request.SerializeToString(),
        ],
        "ModelMetadata": [named],
        "ModelReady": [named],
        "ModelStatistics": [named],
        "RepositoryIndex": [service_pb2.RepositoryIndexRequest(ready=True).SerializeToString()],
    }


def _protocol() -> Any:
    from tritonclient.grpc import service_pb2

    return service_pb2


def messages(channel: Any, count: int, rng: random.Random, totals: Totals) -> None:
    """Sends mutated messages, many at a time. Each must have its answer."""
    import grpc

    valid = grpc_messages()
    others = [message for each in valid.values() for message in each]
    calls = []
    for _ in range(count):
        name = rng.choice(["ModelInfer"] * 4 + list(valid))
        message = rng.choice(valid[name])
        message = altered_message(name, message, rng) if rng.randrange(2) else mutated(message, others, rng)
        calls.append((name, message, channel.unary_unary(SERVICE + name).future(message, timeout=WAIT_SECS)))
    totals.sent["gRPC, messages"] += count
    codes = grpc.StatusCode
    for name, message, call in calls:
        code = call.code()
        totals.answers[f"gRPC {code.name}"] += 1
        if code == codes.INTERNAL and call.details() == "Unable to parse request":  # gRPC's answer
            if is_message(name, message):
                totals.find(f"{name}: taken for no message", message)
            continue
        if code == codes.DEADLINE_EXCEEDED and b"timeout" in message:
            continue
        if code in (codes.INTERNAL, codes.UNKNOWN, codes.UNAVAILABLE, codes.DEADLINE_EXCEEDED, codes.CANCELLED):
            totals.find(f"{name}: {code.name} ({call.details()})", message)


def altered_message(name: str, data: bytes, rng: random.Random) -> bytes:
    """Returns a message with another value in a field. Values that its type does not take are drawn again."""
    from google.protobuf import json_format

    kind = getattr(_protocol(), f"{name}Request")
    value = json_format.MessageToDict(kind.FromString(data), preserving_proto_field_name=True)
    for _ in range(20):
        with contextlib.suppress(json_format.ParseError, ValueError, TypeError, AttributeError):
            return json_format.ParseDict(altered(value, rng), kind()).SerializeToString()
    return data


def is_message(name: str, data: bytes) -> bool:
    from google.protobuf.message import DecodeError

    try:
        message = getattr(_protocol(), f"{name}Request").FromString(data)
    except DecodeError:
        return False
    length = message.ByteSize()
    message.DiscardUnknownFields()  # parsers differ in what they take for one
    return message.ByteSize() == length


def frames(server: Server, recorded: bytes, count: int, rng: random.Random, totals: Totals) -> None:
    """Sends what a client of gRPC sends, mutated, each on its connection. The server must end the connection."""
    for _ in range(count):
        totals.sent["gRPC, HTTP/2"] += 1
        exchange(server.ports["grpc"], mutated(recorded, [recorded], rng), totals)


def recorded_call(port: int) -> bytes:
    """Returns the bytes that a client sends for a call: its preface, settings, headers and message."""
    import grpc

    recorded = bytearray()

    def forward(source: socket.socket, target: socket.socket, record: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if record:
                    recorded.extend(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel = grpc.insecure_channel(f"127.0.0.1:{listener.getsockname()[1]}")
        call = channel.unary_unary(SERVICE + "ModelInfer").future(grpc_messages()["ModelInfer"][0], timeout=WAIT_SECS)
        client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as upstream:
        threads = [
            threading.Thread(target=forward, args=(client, upstream, True)),
            threading.Thread(target=forward, args=(upstream, client, False)),
        ]
        for thread in threads:
            thread.start()
        call.result()
        channel.close()
        for thread in threads:
            thread.join()
    return bytes(recorded)


# --- all of them ---


def write_repository(repository: Path) -> None:
    """Writes the models ``affine``, and ``texts`` of strings and open sizes."""
    compiler.build(affine(2.0), threads=1).save(repository / "affine" / "1" / "model.lw")
    texts = model("g (string[n,m] n) => (string[n,m] y) { y = Identity (n) }")
    write_version(repository / "texts" / "1", texts, 'runtime = "onnxruntime"\n')


def fuzz(server: Server, requests: int, seed: int, progress: Callable[[Totals], None] = lambda _: None) -> Totals:
    """Sends about as many mutated requests, and checks from time to time that a valid one has its answer."""
    import grpc

    rng, totals = random.Random(seed), Totals()
    recorded = recorded_call(server.ports["grpc"])
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        while totals.sent.total() < requests and len(totals.findings) < MOST_FINDINGS:
            for _ in range(6):
                bodies(server, BATCH, rng, totals)
            for _ in range(3):
                messages(channel, BATCH, rng, totals)
            whole(server, BATCH, rng, totals)
            frames(server, recorded, BATCH // 5, rng, totals)
            if server.scale() != 2.0:
                raise RuntimeError("a valid request has a wrong answer")
            progress(totals)
    return totals


@contextlib.contextmanager
def started(repository: Path) -> Iterator[Server]:
    server = Server(repository)
    try:
        yield server
    finally:
        server.kill()


def ended(server: Server) -> list[str]:
    """Stops the server, and returns what its exit code or its output has against it."""
    server.process.terminate()
    _, text = server.process.communicate(timeout=WAIT_SECS)
    found = [line for line in text.splitlines() if not line.startswith("time=")]  # reports, or a log of requests
    return found + ([f"exit code {server.process.returncode}"] if server.process.returncode else [])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.serving.fuzz", description=__doc__)
    parser.add_argument("--requests", type=at_least(1), default=10_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: %(default)s)")
    arguments = parser.parse_args(argv)

    def progress(totals: Totals) -> None:
        print(f"\r{totals.sent.total()} of {arguments.requests}", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        write_repository(Path(folder))
        with started(Path(folder)) as server:
            totals = fuzz(server, arguments.requests, arguments.seed, progress)
            problems = [*totals.findings, *ended(server)]
    print(file=sys.stderr)
    for title, counts in (("sent", totals.sent), ("answers", totals.answers)):
        print(f"{title}: " + ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    print("\n".join(problems) or "no finding")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
