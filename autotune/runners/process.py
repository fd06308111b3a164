"""The parent's end of a worker process: sends requests, receives answers, and reports why a process has ended."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

_TAIL_BYTES = 4096
_REASON_CHARS = 300
_EXIT_SECS = 5.0  # how long a process may take to end once it has closed its socket


class ProcessLostError(Exception):
    """The process cannot answer any more; the message has the reason."""


class WorkerProcess:
    """Starts ``python -m autotune.runners.worker`` on the given cores, in its own session, and returns at once."""

    def __init__(self, cores: Sequence[int], space: str) -> None:
        self._answers, theirs = socket.socketpair()
        # Both ends of the output stay open here, so that reading it never returns the end of file.
        self._output, self._their_output = socket.socketpair()
        self._output.setblocking(False)
        command = [sys.executable, "-m", "autotune.runners.worker", "--space", space, "--socket", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                [*command, "--cores", *map(str, cores)],
                stdin=subprocess.PIPE,  # the worker ends when its other end closes
                stdout=self._their_output.fileno(),
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=_environment(threads=len(cores)),
            )
        self._received = b""
        self._tail = b""  # the end of the output since the last request
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._selector.register(self._output, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, request: Mapping[str, Any]) -> None:
        """Sends a request and does not wait for the answer. If the process has ended, ``receive`` raises."""
        self._drain_output()
        self._tail = b""
        with suppress(ConnectionError):
            self._answers.sendall(json.dumps(request).encode() + b"\n")

    def receive(self, timeout_secs: float) -> dict[str, Any]:
        """Returns the next answer.

        Raises:
            ProcessLostError: the process has ended or has not answered in time.
        """
        deadline = time.monotonic() + timeout_secs
        while b"\n" not in self._received:
            ready = [key.fileobj for key, _ in self._selector.select(max(0.0, deadline - time.monotonic()))]
            if not ready:
                raise ProcessLostError(f"timed out: no answer within {timeout_secs:g} s")
            if self._output in ready:
                self._drain_output()
            if self._answers in ready:
                self._received += self._read_answer()
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)

    def kill(self) -> None:
        """Kills the process and all its children, and releases all resources."""
        if self.is_alive():
            os.killpg(self.pid, signal.SIGKILL)
        self._selector.close()
        self._answers.close()
        self._output.close()
        self._their_output.close()
        with self._process:
            pass  # closes the pipe and waits

    def _read_answer(self) -> bytes:
        try:
            chunk = self._answers.recv(65536)
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            raise ProcessLostError(self._reason())
        return chunk

    def _drain_output(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self._tail = (self._tail + self._output.recv(65536))[-_TAIL_BYTES:]

    def _reason(self) -> str:
        """Returns why a process has closed its socket: its exit code or signal, and its last line of output."""
        try:
            code = self._process.wait(_EXIT_SECS)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        self._drain_output()
        how = f"exited with code {code}" if code >= 0 else f"crashed: {_signal_name(-code)}"
        last_line = self._tail.decode(errors="replace").strip().rpartition("\n")[2]
        return f"{how}: {last_line}"[:_REASON_CHARS] if last_line else how


def _signal_name(number: int) -> str:
    return next((s.name for s in signal.Signals if s == number), f"signal {number}")


def _environment(threads: int) -> dict[str, str]:
    """Returns the environment that limits TVM and any BLAS to the given number of threads. They read it when loaded."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),  # the same code as here
        "OMP_NUM_THREADS": str(threads),
        "TVM_NUM_THREADS": str(threads),
        "TVM_BIND_THREADS": "0",  # TVM would bind to cores from 0 on and ignore the affinity
    }
