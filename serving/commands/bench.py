"""``python -m serving bench``: measures latency, throughput and CPU time of a running server."""

from __future__ import annotations

import argparse
import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

from compiler.commands import arrays
from compiler.commands.command_line import at_least, check_file, positive, seconds
from compiler.commands.output import write_json
from serving.client import Client, Message, call, open_shape, place, request
from serving.commands.options import add_server, port, tls
from serving.commands.specs import tensor_specs
from serving.load import arrivals, closed_loop, open_loop
from serving.worker.datatypes import DTYPES

ABOUT = "measures a model of a running server"
_MOST_REQUESTS = 50_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the model's name")
    parser.add_argument(
        "--version", default="", metavar="V", help="or a label (default: that which the server selects)"
    )
    add_server(parser)
    parser.add_argument("--metrics-port", type=port, help="of the server's CPU time (default: it is not measured)")
    loop = parser.add_mutually_exclusive_group()
    loop.add_argument(
        "--concurrency",
        type=at_least(1),
        default=1,
        help="requests at a time, each sent when one before it is answered (default: %(default)s)",
    )
    loop.add_argument(
        "--rate",
        type=positive("requests per second"),
        metavar="R",
        help="instead, R requests per second at random times, whether or not others are answered; their latency counts "
        "from these times",
    )
    parser.add_argument("--duration", type=seconds, default=5, metavar="S", help="seconds (default: %(default)s)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of inputs and times (default: %(default)s)")
    parser.add_argument("--input", type=Path, metavar="FILE.npz", help="the inputs by name (default: random numbers)")
    parser.add_argument(
        "--timeout-ms", type=at_least(1), metavar="T", help="the deadline of each request (default: none)"
    )
    parser.add_argument("--json-tensors", action="store_true", help="send and receive JSON (default: binary)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")


def run(arguments: argparse.Namespace) -> int:
    check_file(arguments.json)
    if arguments.rate and arguments.rate * arguments.duration > _MOST_REQUESTS:
        raise ValueError(f"--rate times --duration must be at most {_MOST_REQUESTS:,} requests")
    client = Client(arguments.host, arguments.http_port, tls=tls(arguments))
    if arguments.rate and client.tls:
        raise ValueError("--rate measures without TLS; leave out --rate or --tls-ca")
    metadata = client.metadata(arguments.model, arguments.version)
    inputs = _random(metadata, arguments.seed) if arguments.input is None else _read(arguments.input, metadata)
    sent = request(inputs, as_json=arguments.json_tensors, timeout_ms=arguments.timeout_ms)
    path = place(arguments.model, arguments.version) + "/infer"
    before = _cpu_secs(arguments)
    begin = time.perf_counter()
    if arguments.rate is None:
        measured = closed_loop(client, path, sent, arguments.concurrency, arguments.duration)
    else:
        times = arrivals(arguments.rate, arguments.duration, arguments.seed).tolist()
        if not times:
            raise ValueError("no request arrives within --duration at this --rate")
        measured = open_loop(client.host, client.port, path, sent, times)
    # An open loop that ends early has still offered its rate for the duration.
    elapsed = max(time.perf_counter() - begin, arguments.duration if arguments.rate else 0)
    after = _cpu_secs(arguments)
    secs, failures = np.array(measured.secs), measured.failures
    if not len(secs):
        raise RuntimeError(f"no request succeeded: {_why_none(measured.rejected, measured.expired, failures)}")
    limit = math.inf if arguments.timeout_ms is None else arguments.timeout_ms / 1e3
    found: dict[str, Any] = {
        "requests": len(secs),
        "rejected": measured.rejected,
        "expired": measured.expired,
        "failures": len(failures),
        "requests_per_second": len(secs) / elapsed,
        "goodput_per_second": float((secs <= limit).sum()) / elapsed,
        **{f"p{q}_ms": float(np.percentile(secs, q)) * 1e3 for q in (50, 90, 99)},
    }
    if measured.late:
        found["generator_late_p99_ms"] = float(np.percentile(measured.late, 99)) * 1e3
    if before is not None and after is not None:
        count = len(secs) + measured.rejected + measured.expired + len(failures)
        found["server_cpu_us_per_request"] = (after - before) / count * 1e6
    for name, value in found.items():
        digits = 0 if isinstance(value, int) else 3 if name.endswith("_ms") else 1
        print(f"{name.replace('_', ' '):26}{value:12.{digits}f}")
    if failures:
        print(f"first failure: {failures[0]}")
    if arguments.json:
        write_json(arguments.json, found)
    return 1 if failures else 0


def _why_none(rejected: int, expired: int, failures: list[str]) -> str:
    if failures:
        return failures[0]
    return f"{rejected} were rejected and {expired} expired" if rejected + expired else "none ended in time"


def _cpu_secs(arguments: argparse.Namespace) -> float | None:
    if arguments.metrics_port is None:
        return None
    text = call(arguments.host, arguments.metrics_port, "GET", "/metrics", Message(b"", {}), 60).body.decode()
    found = re.search(r"^process_cpu_seconds_total (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else None


def _read(path: Path, metadata: dict[str, Any]) -> dict[str, np.ndarray]:
    shapes = {name: array.shape for name, array in arrays.read_archive(path).items()}
    return arrays.archived(path, tensor_specs(metadata, shapes))


def _random(metadata: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = {}
    for spec in metadata["inputs"]:
        if spec["datatype"] not in DTYPES:
            raise ValueError(
                f"input {spec['name']} is of {spec['datatype']}, for which there are no random numbers; give --input"
            )
        inputs[spec["name"]] = rng.uniform(0, 1, open_shape(spec["shape"], None)).astype(DTYPES[spec["datatype"]])
    return inputs
