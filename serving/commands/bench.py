"""``python -m serving bench``: measures latency, throughput and CPU time of a running server."""

from __future__ import annotations

import argparse
import http.client
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compiler.commands.command_line import at_least, check_file, seconds
from compiler.commands.output import write_json
from serving.client import DTYPES, Client, Message, call, connect, open_shape, place, request
from serving.commands.options import add_server, port, tls

ABOUT = "measures a model of a running server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the model's name")
    add_server(parser)
    parser.add_argument("--metrics-port", type=port, help="of the server's CPU time (default: it is not measured)")
    parser.add_argument("--concurrency", type=at_least(1), default=1, help="requests at a time (default: %(default)s)")
    parser.add_argument("--duration", type=seconds, default=5, metavar="S", help="seconds (default: %(default)s)")
    parser.add_argument("--json-tensors", action="store_true", help="send and receive JSON (default: binary)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")


@dataclass
class Measured:
    """What one connection measured: seconds per request, and the messages of those that failed."""

    secs: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def run(arguments: argparse.Namespace) -> int:
    check_file(arguments.json)
    client = Client(arguments.host, arguments.http_port, tls=tls(arguments))
    metadata = client.metadata(arguments.model)
    sent = _random_request(metadata, as_json=arguments.json_tensors)
    path = place(arguments.model) + "/infer"
    results = [Measured() for _ in range(arguments.concurrency)]
    before = _cpu_secs(arguments)
    begin = time.perf_counter()
    end = begin + arguments.duration
    threads = [threading.Thread(target=_send, args=(client, path, sent, end, result)) for result in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begin
    after = _cpu_secs(arguments)
    secs = np.array([each for result in results for each in result.secs])
    failures = [message for result in results for message in result.failures]
    if not len(secs):
        raise RuntimeError(f"no request succeeded: {failures[0] if failures else 'none ended in time'}")
    found: dict[str, Any] = {
        "requests": len(secs),
        "failures": len(failures),
        "requests_per_second": len(secs) / elapsed,
        **{f"p{q}_ms": float(np.percentile(secs, q)) * 1e3 for q in (50, 90, 99)},
    }
    if before is not None and after is not None:
        found["server_cpu_us_per_request"] = (after - before) / (len(secs) + len(failures)) * 1e6
    for name, value in found.items():
        digits = 0 if isinstance(value, int) else 3 if name.endswith("_ms") else 1
        print(f"{name.replace('_', ' '):26}{value:12.{digits}f}")
    if failures:
        print(f"first failure: {failures[0]}")
    if arguments.json:
        write_json(arguments.json, found)
    return 1 if failures else 0


def _cpu_secs(arguments: argparse.Namespace) -> float | None:
    if arguments.metrics_port is None:
        return None
    text = call(arguments.host, arguments.metrics_port, "GET", "/metrics", Message(b"", {}), 60).body.decode()
    found = re.search(r"^process_cpu_seconds_total (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else None


def _random_request(metadata: dict[str, Any], *, as_json: bool) -> Message:
    """Returns a request with random numbers."""
    rng = np.random.default_rng(0)
    inputs = {}
    for spec in metadata["inputs"]:
        if spec["datatype"] not in DTYPES:
            raise ValueError(f"input {spec['name']} is of {spec['datatype']}, for which there are no random numbers")
        inputs[spec["name"]] = rng.uniform(0, 1, open_shape(spec["shape"], None)).astype(DTYPES[spec["datatype"]])
    return request(inputs, as_json=as_json)


def _send(client: Client, path: str, sent: Message, end: float, result: Measured) -> None:
    """Sends the request again and again until ``end``."""
    connection = connect(client.host, client.port, client.timeout, client.tls)
    while (begin := time.perf_counter()) < end:
        try:
            connection.request("POST", path, sent.body, dict(sent.headers))
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            result.failures.append(str(error))
            connection.close()
            continue
        if response.status == 200:
            result.secs.append(time.perf_counter() - begin)
        else:
            result.failures.append(answer.decode(errors="replace"))
    connection.close()
