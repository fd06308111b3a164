"""Load on a server, and how its requests ended: a closed loop, and an open loop with given times of arrival."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.client import Client, Message, connect, content_length, post

CONNECTIONS = 512  # of an open loop; a server has 4,096, and most processes may open 1,024 files
ANSWER_SECS = 60.0  # after which a request counts as failed
_PAUSE_SECS = 0.1  # of a closed loop, after a request without an answer
_BUSY = {429, 503}
_EXPIRED = {504}


@dataclass
class Measured:
    """How requests ended.

    Attributes:
        secs: seconds until the answer, of each request that was answered with outputs.
        rejected: how many the server had no place for (429, 503).
        expired: how many were not computed before their deadline (504).
        failures: the messages of all others.
        late: seconds from each arrival to the moment when the generator handled it.
    """

    secs: list[float] = field(default_factory=list)
    rejected: int = 0
    expired: int = 0
    failures: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def note(self, status: int, secs: float, body: bytes) -> None:
        """Adds an answer."""
        if status == 200:
            self.secs.append(secs)
        elif status in _BUSY:
            self.rejected += 1
        elif status in _EXPIRED:
            self.expired += 1
        else:
            self.failures.append(body.decode(errors="replace"))

    def add(self, other: Measured) -> None:
        """Adds what another connection measured."""
        self.secs += other.secs
        self.rejected += other.rejected
        self.expired += other.expired
        self.failures += other.failures


def arrivals(rate: float, duration: float, seed: int) -> np.ndarray:
    """Returns the times of a Poisson process of ``rate`` arrivals per second, in seconds from the start."""
    rng = np.random.default_rng(seed)
    count = rng.poisson(rate * duration)
    return np.sort(rng.uniform(0, duration, count))  # as the process is, given its number of arrivals


def closed_loop(client: Client, path: str, sent: Message, concurrency: int, duration: float) -> Measured:
    """Sends a request again and again on each connection, when the one before is answered."""
    results = [Measured() for _ in range(concurrency)]
    end = time.perf_counter() + duration
    threads = [threading.Thread(target=_repeat, args=(client, path, sent, end, result)) for result in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = Measured()
    for result in results:
        total.add(result)
    return total


def _repeat(client: Client, path: str, sent: Message, end: float, result: Measured) -> None:
    connection = connect(client.host, client.port, ANSWER_SECS, client.tls)
    while (begin := time.perf_counter()) < end:
        try:
            connection.request("POST", path, sent.body, dict(sent.headers))
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            result.failures.append(str(error))
            connection.close()
            time.sleep(min(_PAUSE_SECS, max(0.0, end - time.perf_counter())))
            continue
        result.note(response.status, time.perf_counter() - begin, body)
    connection.close()


def open_loop(host: str, port: int, path: str, sent: Message, times: Sequence[float]) -> Measured:
    """Sends a request at each time, in seconds from now, whether or not others are answered.

    A request's time counts from its arrival, so it includes a wait for one of :data:`CONNECTIONS`. One thread does it
    all, because threads of Python run one at a time.

    Raises:
        OSError: the host is unknown.
    """
    return _OpenLoop(host, port, path, sent).run(times)


@dataclass(eq=False)
class _Connection:
    """A connection with its request: when it arrived, what is still to send, and what was received."""

    socket: socket.socket
    is_busy: bool = False
    arrival: float = 0
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    received: bytes = b""
    length: int = -1  # of the whole answer; -1: its header is incomplete
    start: int = 0  # of its body


class _OpenLoop:
    def __init__(self, host: str, port: int, path: str, sent: Message) -> None:
        self.family, _, _, _, self.address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self.message = memoryview(post(host, port, path, sent))
        self.poll = select.epoll()
        self.connections: dict[int, _Connection] = {}
        self.idle: list[_Connection] = []
        self.waiting: deque[float] = deque()  # arrivals without a connection
        self.measured = Measured()
        self.begin = 0.0

    def run(self, times: Sequence[float]) -> Measured:
        try:
            self.handle(times)
        finally:
            for connection in self.connections.values():
                connection.socket.close()
            self.poll.close()
        return self.measured

    def handle(self, times: Sequence[float]) -> None:
        """Starts a request at each time, until all are answered or have failed."""
        place, count = 0, len(times)
        self.begin = time.perf_counter()
        end = (times[-1] if count else 0) + ANSWER_SECS
        while place < count or self.waiting or len(self.idle) < len(self.connections):
            now = time.perf_counter() - self.begin
            if now > end:
                break
            while place < count and times[place] <= now:
                self.measured.late.append(now - times[place])
                self.waiting.append(times[place])
                place += 1
            self.start_waiting()
            left = times[place] - time.perf_counter() + self.begin if place < count else 1.0
            # The timeout of epoll has milliseconds, that of select microseconds.
            if select.select([self.poll], [], [], max(0.0, left))[0]:
                for file, _ in self.poll.poll(0):
                    self.move_on(self.connections[file])
        unanswered = len(self.waiting) + len(self.connections) - len(self.idle)
        self.measured.failures += [f"no answer within {ANSWER_SECS:g} s"] * unanswered

    def start_waiting(self) -> None:
        """Sends the requests for which there is a connection. Those for which none can be made have failed."""
        while self.waiting:
            try:
                connection = self.free()
            except OSError as error:
                self.waiting.popleft()
                self.measured.failures.append(str(error))
                continue
            if connection is None:
                return
            self.start(connection, self.waiting.popleft())

    def free(self) -> _Connection | None:
        """Returns an idle connection, or a new one if there may be more.

        Raises:
            OSError: it cannot be made, as without a free file.
        """
        if self.idle:
            return self.idle.pop()
        if len(self.connections) == CONNECTIONS:
            return None
        made = _Connection(socket.socket(self.family, socket.SOCK_STREAM))
        made.socket.setblocking(False)
        made.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = made.socket.connect_ex(self.address)
        if code not in (0, errno.EINPROGRESS):  # one that is in progress has its error with the first send
            made.socket.close()
            raise OSError(code, os.strerror(code))
        self.connections[made.socket.fileno()] = made
        self.poll.register(made.socket, select.EPOLLIN)
        return made

    def start(self, connection: _Connection, arrival: float) -> None:
        """Sends a request."""
        connection.is_busy, connection.arrival, connection.unsent = True, arrival, self.message
        connection.received, connection.length = b"", -1
        try:
            self.send(connection)
            if connection.unsent:
                self.poll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)
        except OSError as error:
            self.drop(connection, str(error))

    def move_on(self, connection: _Connection) -> None:
        """Sends and receives what is possible now."""
        try:
            if connection.unsent:
                self.send(connection)
                if not connection.unsent:
                    self.poll.modify(connection.socket, select.EPOLLIN)
            self.receive(connection)
        except BlockingIOError:
            pass
        except OSError as error:
            self.drop(connection, str(error))

    def send(self, connection: _Connection) -> None:
        with contextlib.suppress(BlockingIOError):
            while connection.unsent:
                connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]

    def receive(self, connection: _Connection) -> None:
        data = connection.socket.recv(1 << 18)
        if not data or not connection.is_busy:
            self.drop(connection, "the server closed the connection before its answer")
            return
        connection.received += data
        if connection.length < 0 and (end := connection.received.find(b"\r\n\r\n")) >= 0:
            connection.start = end + 4
            connection.length = connection.start + (content_length(connection.received[: end + 2]) or 0)
        if not 0 <= connection.length <= len(connection.received):
            return
        secs = time.perf_counter() - self.begin - connection.arrival
        self.measured.note(int(connection.received[9:12]), secs, connection.received[connection.start :])
        connection.is_busy = False
        if connection.unsent:  # an answer to the header alone: what follows is not a request
            self.drop(connection, "")
        else:
            self.idle.append(connection)

    def drop(self, connection: _Connection, reason: str) -> None:
        """Ends a connection. Its request, if it has one, has failed."""
        self.poll.unregister(connection.socket)
        del self.connections[connection.socket.fileno()]
        connection.socket.close()
        if connection.is_busy:
            self.measured.failures.append(reason)
        elif connection in self.idle:
            self.idle.remove(connection)
