"""SIGTERM."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.serving.client import Server


def test_a_server_drains(add_version: Callable[..., Path], start: Callable[..., Server]) -> None:
    add_version(1)
    server = start("--drain-ms", "600")
    statuses: list[int] = []
    rejected = threading.Event()

    def send() -> None:
        while not rejected.is_set():
            try:
                statuses.append(server.infer([[1, 1, 1, 1]]).status)
            except OSError:  # noqa: PERF203 - the server has gone
                rejected.set()

    thread = threading.Thread(target=send)
    thread.start()
    time.sleep(0.2)
    server.process.terminate()
    time.sleep(0.2)
    assert server.request("GET", "/v2/health/ready").status == 503
    assert server.request("GET", "/v2/health/live").status == 200
    assert server.process.wait(20) == 0
    rejected.wait(20)
    thread.join()
    assert set(statuses) == {200}


def test_idle_connections_do_not_hold_it(add_version: Callable[..., Path], start: Callable[..., Server]) -> None:
    add_version(1)
    server = start()
    connection = HTTPConnection("127.0.0.1", server.ports["http"], timeout=20)
    connection.request("GET", "/v2/health/live")
    connection.getresponse().read()
    begin = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begin < 20
    connection.close()


def test_an_unusable_port_is_one_line(start: Callable[..., Server]) -> None:
    server = start()
    with pytest.raises(RuntimeError, match="Address already in use") as raised:
        start("--http-port", str(server.ports["http"]))
    assert str(raised.value).count("\n") == 1
