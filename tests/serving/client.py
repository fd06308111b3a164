"""A server process and requests to it, by the standard library alone."""

from __future__ import annotations

import http.client
import json
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.json["error"]


class Server:
    """A running server. Its ports are free ones, read from its line of readiness."""

    def __init__(self, repository: Path, *options: str, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls  # of its ports but that of metrics
        ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "serving",
                "serve",
                str(repository),
                *ports,
                "--drain-ms",
                "100",
                "--poll-ms",
                "50",
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.line = self.process.stdout.readline()
        if not self.line:
            raise RuntimeError(self.process.communicate()[1])
        self.ports = {name: int(number) for name, number in re.findall(r"(\w+) [0-9.]+:([0-9]+)", self.line)}

    def connect(self, port: str = "http") -> http.client.HTTPConnection:
        if self.tls is None or port == "metrics":
            return http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=60)
        return http.client.HTTPSConnection("127.0.0.1", self.ports[port], timeout=60, context=self.tls)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        port: str = "http",
    ) -> Answer:
        connection = self.connect(port)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def infer(self, values: Any, model: str = "affine", version: str = "", **more: Any) -> Answer:
        """Sends ``values`` as x, float32, as JSON."""
        x = np.asarray(values, np.float32)
        tensor = {"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}
        place = f"/v2/models/{model}" + (f"/versions/{version}" if version else "")
        return self.request("POST", f"{place}/infer", json.dumps({"inputs": [tensor], **more}))

    def scale(self, version: str = "", model: str = "affine") -> float:
        """Returns the factor of the version that answers."""
        answer = self.infer([[1, 1, 1, 1]], model, version)
        assert answer.status == 200, answer.body
        return answer.json["outputs"][0]["data"][0] - 1

    def series(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Returns the labels and the value of each series of a metric."""
        text = self.request("GET", "/metrics", port="metrics").body.decode()
        found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)", text, re.MULTILINE)
        return [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for labels, value in found]

    def index(self, model: str = "affine") -> dict[int, tuple[str, str]]:
        """Returns the state and the reason by version."""
        entries = self.request("POST", "/v2/repository/index").json
        return {int(e["version"]): (e["state"], e["reason"]) for e in entries if e["name"] == model}

    def wait_until(self, condition: Callable[[], bool], secs: float = 30) -> None:
        end = time.monotonic() + secs
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)

    def wait_for_state(self, version: int, state: str, model: str = "affine", secs: float = 20) -> str:
        """Waits until a version is in a state, and returns the reason."""
        end = time.monotonic() + secs
        while time.monotonic() < end:
            found = self.index(model).get(version, ("", ""))
            if found[0] == state:
                return found[1]
            time.sleep(0.02)
        raise AssertionError(f"version {version} is not {state}: {self.index(model)}")

    def stop(self) -> int:
        """Ends the server as an orchestrator does, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
