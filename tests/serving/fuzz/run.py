"""The models, the servers and the mix of requests."""

from __future__ import annotations

import contextlib
import random
import shutil
import ssl
from collections.abc import Callable, Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import compiler
from serving.client import trust
from tests.graph_passes.models import model
from tests.serving.certificates import pair
from tests.serving.client import Server
from tests.serving.fuzz import grpc_calls, http
from tests.serving.fuzz.connection import connect, record, streams_of_bytes
from tests.serving.fuzz.totals import BATCH, WAIT_SECS, Totals
from tests.serving.models import affine, write_version

MOST_FINDINGS = 20
_WORDS = Path(__file__).parents[3] / "docs" / "serving" / "words.py"
_STEPS = """
[[steps]]
model = "affine"
outputs = {y = "middle"}
[[steps]]
model = "affine"
inputs = {x = "middle"}
"""


def write_repository(repository: Path) -> None:
    """Writes the models ``affine``, ``texts`` of strings and open sizes, ``words`` in a process, and a pipeline."""
    compiler.build(affine(2.0), threads=1).save(repository / "affine" / "1" / "model.lw")
    texts = model("g (string[n,m] n) => (string[n,m] y) { y = Identity (n) }")
    write_version(repository / "texts" / "1", texts, 'runtime = "onnxruntime"\n')
    (repository / "words" / "1").mkdir(parents=True)
    (repository / "words" / "config.toml").write_text('runtime = "python"\nthreads = 1\n')
    shutil.copy(_WORDS, repository / "words" / "1" / "model.py")
    (repository / "steps").mkdir()
    (repository / "steps" / "config.toml").write_text(_STEPS)


@contextlib.contextmanager
def started(repository: Path, *options: str, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Runs a server until all models are ready, and then what is in the context."""
    server = Server(repository, *options, tls=tls)
    try:
        for name in ("affine", "texts", "words", "steps"):
            server.wait_for_state(1, "READY", name)
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def started_with_tls(repository: Path, folder: Path) -> Iterator[Server]:
    """Like :func:`started`, with a certificate that is made in a folder."""
    made = pair(folder, "server")
    with started(repository, *made.options, tls=trust(made.certificate)) as server:
        yield server


def ended(server: Server) -> list[str]:
    """Stops the server, and returns what its exit code or its output has against it."""
    server.process.terminate()
    _, text = server.process.communicate(timeout=WAIT_SECS)
    found = [line for line in text.splitlines() if not line.startswith("time=")]  # reports, or a log of requests
    return found + ([f"exit code {server.process.returncode}"] if server.process.returncode else [])


def fuzz(
    server: Server, requests: int, rng: random.Random, totals: Totals, progress: Callable[[], None] = lambda: None
) -> None:
    """Sends about as many mutated requests, and checks from time to time that a valid one has its answer.

    Raises:
        RuntimeError: a valid request has a wrong answer.
    """
    import grpc

    address = f"127.0.0.1:{server.ports['grpc']}"
    end = totals.sent.total() + requests
    with _segment() as segment, grpc.insecure_channel(address) as channel:
        valid, messages = http.requests(segment), grpc_calls.messages(segment)
        recorded = record(server.ports["grpc"], lambda port: _call(port, messages))
        while totals.sent.total() < end and len(totals.findings) < MOST_FINDINGS:
            for _ in range(6):
                http.bodies(server, valid, BATCH, rng, totals)
            for _ in range(2):
                grpc_calls.calls(channel, messages, BATCH, rng, totals)
            grpc_calls.streams(channel, messages, BATCH, rng, totals)
            http.whole(server, valid, BATCH, rng, totals)
            streams_of_bytes(server.ports["grpc"], recorded, "gRPC, HTTP/2", BATCH // 5, rng, totals)
            _check_answer(server)
            progress()


def fuzz_tls(
    server: Server, requests: int, rng: random.Random, totals: Totals, progress: Callable[[], None] = lambda: None
) -> None:
    """Like :func:`fuzz`, by TLS: requests in it, and mutated bytes of what clients of both protocols send.

    Raises:
        RuntimeError: a valid request has a wrong answer.
    """

    def get(port: int) -> None:
        context = ssl._create_unverified_context()  # noqa: S323 - only to record what a client sends
        with connect(port, context) as connection:
            connection.sendall(http.Http("GET", "/v2").text())
            connection.recv(1 << 16)

    end = totals.sent.total() + requests
    with _segment() as segment:
        valid = http.requests(segment)
        recorded = record(server.ports["http"], get)
        while totals.sent.total() < end and len(totals.findings) < MOST_FINDINGS:
            http.bodies(server, valid, BATCH, rng, totals)
            http.whole(server, valid, BATCH // 5, rng, totals)
            for port in ("http", "grpc"):
                streams_of_bytes(server.ports[port], recorded, f"TLS, {port}", BATCH // 5, rng, totals)
            _check_answer(server)
            progress()


def _call(port: int, messages: grpc_calls.Valid) -> None:
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc_calls.call_once(channel, messages)


@contextlib.contextmanager
def _segment() -> Iterator[str]:
    made = SharedMemory(create=True, size=4096)
    try:
        yield made.name
    finally:
        made.close()
        made.unlink()


def _check_answer(server: Server) -> None:
    if server.scale() != 2.0:
        raise RuntimeError("a valid request has a wrong answer")
