"""Connections to a server, in the clear or by TLS, and what passes over them."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import threading
from collections.abc import Callable
from typing import BinaryIO

from tests.serving.fuzz.mutations import mutated
from tests.serving.fuzz.totals import WAIT_SECS, Totals


def connect(port: int, tls: ssl.SSLContext | None = None) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), WAIT_SECS)
    return tls.wrap_socket(connection, server_hostname="127.0.0.1") if tls else connection


def read_answer(answers: BinaryIO) -> int:
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


def exchange(open_connection: Callable[[], socket.socket], text: bytes, totals: Totals) -> bytes:
    """Sends bytes and then the end of the stream, and returns all that the server sends until it closes."""
    received = b""
    try:
        with open_connection() as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(1 << 16):
                received += data
    except TimeoutError:
        totals.find("neither an answer nor an end", text)
    except OSError:
        pass  # the server has closed before it read all
    return received


def streams_of_bytes(port: int, recorded: bytes, kind: str, count: int, rng: random.Random, totals: Totals) -> None:
    """Sends what a client sends, mutated, each on its connection. The server must end the connection."""
    for _ in range(count):
        totals.sent[kind] += 1
        text = mutated(recorded, [recorded], rng)
        exchange(lambda: connect(port), text, totals)


def record(port: int, call: Callable[[int], object]) -> bytes:
    """Returns the bytes that a client sends.

    Args:
        port: of the server.
        call: makes a call to a port and ends its connection.
    """
    recorded = bytearray()

    def forward(source: socket.socket, target: socket.socket, keep: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if keep:
                    recorded.extend(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = threading.Thread(target=call, args=(listener.getsockname()[1],))
        caller.start()
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as upstream:
            threads = [
                threading.Thread(target=forward, args=(client, upstream, True)),
                threading.Thread(target=forward, args=(upstream, client, False)),
            ]
            for thread in threads:
                thread.start()
            for thread in (caller, *threads):
                thread.join()
    return bytes(recorded)
