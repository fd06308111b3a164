"""Load: times of arrival, and an open loop that a slow server cannot slow down."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import cast

import numpy as np
import pytest

from serving.client import Message
from serving.load import arrivals, open_loop

STATUSES = [200, 429, 503, 504, 400]
DELAY = 0.05  # of each answer


class _Slow(BaseHTTPRequestHandler):
    """Answers with the statuses in turn, each after a while, and one request at a time."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = cast("_Server", self.server)
        with server.turn:
            time.sleep(DELAY)
            status = STATUSES[server.count % len(STATUSES)]
            server.count += 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the names of the base class
        """Writes nothing."""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    count = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Slow)
        self.turn = threading.Lock()


@pytest.fixture
def slow() -> Iterator[int]:
    with _Server() as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1]
        server.shutdown()


def test_arrivals_are_a_poisson_process() -> None:
    times = arrivals(1000, 20, seed=1)
    np.testing.assert_array_equal(times, arrivals(1000, 20, seed=1))
    assert not np.array_equal(times[:100], arrivals(1000, 20, seed=2)[:100])
    gaps = np.diff(times)
    assert gaps.min() >= 0
    assert len(times) == pytest.approx(20_000, abs=5 * 20_000**0.5)
    assert gaps.mean() == pytest.approx(1e-3, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # as those of an exponential distribution


def test_a_slow_server_does_not_hide_its_latency(slow: int) -> None:
    """Ten requests at once, of which the server answers one at a time: the last waits for all."""
    body = bytes(3 << 20)  # more than a socket takes at once
    measured = open_loop("127.0.0.1", slow, "/", Message(body, {}), [0.0] * 10)
    assert (len(measured.secs), measured.rejected, measured.expired, len(measured.failures)) == (2, 4, 2, 2)
    assert min(measured.secs) >= DELAY
    assert max(measured.secs) >= 6 * DELAY
    assert len(measured.late) == 10


def test_a_server_that_is_gone() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _Slow) as server:
        port = server.server_address[1]
    measured = open_loop("127.0.0.1", port, "/", Message(b"x", {}), [0.0] * 2000)
    assert len(measured.failures) == 2000
    assert "Connection" in measured.failures[0]
