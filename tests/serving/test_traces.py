"""Traces: spans that a collector of OTLP over HTTP receives."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.program import server_program
from tests.graph_passes.models import model
from tests.serving.client import Answer, Server
from tests.serving.models import write_version

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, INTERNAL = 2, 1  # kinds of spans
HAS_IS_REMOTE, IS_REMOTE = 0x100, 0x200  # their flags
FAILED = 2  # a status
PATH = "/v2/models/affine/infer"
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]})
TWICE = """
[[steps]]
model = "affine"
outputs = {y = "middle"}
[[steps]]
model = "affine"
inputs = {x = "middle"}
"""
X = np.array([[1, 2, 3, 4]], np.float32)


class Collector(ThreadingHTTPServer):
    """Keeps the spans that it receives, with the attributes of their server under ``resource``."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.spans: list[dict[str, Any]] = []
        self.paths: set[tuple[str, str]] = set()
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def of_trace(self, trace: str, count: int) -> list[dict[str, Any]]:
        """Waits for spans of a trace, and returns them by the time of their start."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            found = [span for span in self.spans if span["traceId"] == trace]
            if len(found) >= count:
                return sorted(found, key=lambda span: (span["kind"] != SERVER, int(span["startTimeUnixNano"])))
            time.sleep(0.02)
        raise AssertionError(f"{count} spans of {trace} did not come: {self.spans}")


class Handler(BaseHTTPRequestHandler):
    server: Collector  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.paths.add((self.path, self.headers["Content-Type"]))
        for resource in request["resourceSpans"]:
            about = attributes(resource["resource"])
            for scope in resource["scopeSpans"]:
                self.server.spans += [{**span, "resource": about} for span in scope["spans"]]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_request(self, code: object = "-", size: object = "-") -> None:
        pass


def attributes(of: dict[str, Any]) -> dict[str, Any]:
    """Returns attributes by name. Integers of 64 bits are texts in JSON."""
    found = {}
    for entry in of["attributes"]:
        ((kind, value),) = entry["value"].items()
        found[entry["key"]] = int(value) if kind == "intValue" else value
        assert isinstance(value, str)
    return found


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="module")
def server(
    compiled: Callable[[float], Path], collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("repository")
    shutil.copytree(compiled(2.0), repository / "affine" / "2" / "model.lw")
    rows = model("g (float[n,4] x) => (float[n,4] y) { y = Add (x, x) }")
    write_version(repository / "rows" / "1", rows, 'runtime = "onnxruntime"\nbatches = [1, 2]\n')
    (repository / "twice").mkdir()
    (repository / "twice" / "config.toml").write_text(TWICE)
    running = Server(repository, "--trace-endpoint", collector.address)
    yield running
    running.kill()


def new_trace(number: int) -> str:
    return f"{number:032x}"


def infer(server: Server, traceparent: str | None, path: str = PATH, body: str = BODY) -> Answer:
    return server.request("POST", path, body, {"traceparent": traceparent} if traceparent else {})


def check_tree(spans: list[dict[str, Any]], parent: str) -> dict[str, Any]:
    """Checks the span of a request and its children, and returns the attributes of the request."""
    root, *children = spans
    assert (root["kind"], root["parentSpanId"]) == (SERVER, parent)
    assert root["flags"] == 1 | HAS_IS_REMOTE | IS_REMOTE
    assert [child["name"] for child in children] == ["queue", "compute"]
    moments = []
    for child in children:
        assert (child["kind"], child["parentSpanId"]) == (INTERNAL, root["spanId"])
        assert child["flags"] == 1 | HAS_IS_REMOTE
        assert attributes(child) | {"loopwright.model": "affine", "loopwright.version": 2} == attributes(child)
        moments += [int(child["startTimeUnixNano"]), int(child["endTimeUnixNano"])]
    begin, end = int(root["startTimeUnixNano"]), int(root["endTimeUnixNano"])
    assert [begin, *moments, end] == sorted([begin, *moments, end])
    assert abs(begin / 1e9 - time.time()) < 60
    assert len({span["spanId"] for span in spans}) == 3
    assert all(len(span["spanId"]) == 16 and int(span["spanId"], 16) for span in spans)
    return attributes(root)


def test_a_request_over_http(server: Server, collector: Collector) -> None:
    answer = infer(server, f"00-{TRACE}-{PARENT}-01")
    assert answer.status == 200
    assert not [name for name in answer.headers if name.lower().startswith("trace")]
    spans = collector.of_trace(TRACE, 3)
    assert check_tree(spans, PARENT) == {
        "loopwright.model": "affine",
        "loopwright.version": 2,
        "network.protocol.name": "http",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.path": PATH,
    }
    assert spans[0]["name"] == "POST /v2/models/{model}/infer"
    assert spans[0]["resource"]["service.name"] == "loopwright"
    assert collector.paths == {("/v1/traces", "application/json")}


def test_a_request_of_tensorflow(server: Server, collector: Collector) -> None:
    trace = new_trace(1)
    body = json.dumps({"instances": [[1, 2, 3, 4]]})
    assert infer(server, f"00-{trace}-{PARENT}-01", "/v1/models/affine:predict", body).status == 200
    spans = collector.of_trace(trace, 3)
    check_tree(spans, PARENT)
    assert spans[0]["name"] == "POST /v1/models/{model}:predict"


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_over_grpc(server: Server, collector: Collector, stream: bool) -> None:
    triton = pytest.importorskip("tritonclient.grpc", reason="pip install 'tritonclient[grpc,http]'")
    trace = new_trace(2 + stream)
    headers = {"traceparent": f"00-{trace}-{PARENT}-01"}
    x = triton.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(X)
    client = triton.InferenceServerClient(f"127.0.0.1:{server.ports['grpc']}")
    if stream:
        answered = threading.Event()
        client.start_stream(lambda result, error: answered.set(), headers=headers)  # noqa: ARG005
        client.async_stream_infer("affine", [x])
        assert answered.wait(20)
        client.stop_stream()
    else:
        client.infer("affine", [x], headers=headers)
    client.close()
    assert check_tree(collector.of_trace(trace, 3), PARENT) == {
        "loopwright.model": "affine",
        "loopwright.version": 2,
        "rpc.system": "grpc",
        "rpc.service": "inference.GRPCInferenceService",
        "rpc.method": "ModelStreamInfer" if stream else "ModelInfer",
        "rpc.grpc.status_code": 0,
    }


def test_requests_that_fail(server: Server, collector: Collector) -> None:
    for number, path, body, status in (
        (10, "/v2/models/none/infer", BODY, 404),
        (11, PATH, "{", 400),
    ):
        assert infer(server, f"00-{new_trace(number)}-{PARENT}-01", path, body).status == status
        (span,) = collector.of_trace(new_trace(number), 1)
        assert attributes(span)["http.response.status_code"] == status
        assert "status" not in span  # the client's failure, not the server's
    (span,) = collector.of_trace(new_trace(10), 1)
    assert attributes(span)["error.type"] == "NOT_FOUND"


def test_what_is_not_traced(server: Server, collector: Collector) -> None:
    before = len(collector.spans)
    for traceparent in (
        f"00-{new_trace(20)}-{PARENT}-00",
        None,
        "",
        f"00-{TRACE}-{PARENT}",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-00",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-0x",
        f"00_{TRACE}-{PARENT}-01",
        f"{'z' * 2}-{TRACE}-{PARENT}-01",
    ):
        assert infer(server, traceparent).status == 200
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "Traceparent": f"00-{TRACE}-{PARENT}-01"}
    assert server.request("POST", PATH, BODY, headers).status == 200
    one = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    assert server.request("GET", "/v2/models/affine", headers=one).status == 200
    # Spans come in the order in which they end, so this one is behind those.
    later = f"cc-{new_trace(21)}-{PARENT}-09-more"  # a later version of the header, with another flag
    assert infer(server, later).status == 200
    check_tree(collector.of_trace(new_trace(21), 3), PARENT)
    assert len(collector.spans) == before + 3


def test_a_share_of_the_other_requests(
    start: Callable[..., Server], add_version: Callable[..., Path], collector: Collector
) -> None:
    add_version(2)
    server = start("--trace-endpoint", collector.address + "/other/path", "--trace-rate", "1")
    before = len(collector.spans)
    assert infer(server, None).status == 200
    assert infer(server, f"ff-{TRACE}-{PARENT}-01").status == 200
    assert infer(server, f"00-{TRACE}-{PARENT}-00").status == 200
    assert server.stop() == 0  # it sends what it has before it ends
    spans = collector.spans[before:]
    assert len(spans) == 6
    roots = [span for span in spans if span["kind"] == SERVER]
    assert all("parentSpanId" not in root and root["traceId"] != TRACE for root in roots)
    assert len({root["traceId"] for root in roots}) == 2
    assert all(root["flags"] == 1 | HAS_IS_REMOTE for root in roots)
    assert ("/other/path", "application/json") in collector.paths


def test_the_batch(server: Server, collector: Collector) -> None:
    pytest.importorskip("onnxruntime")
    server.wait_for_state(1, "READY", "rows", 60)
    trace = new_trace(30)
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [3, 4], "data": [1] * 12}]})
    assert infer(server, f"00-{trace}-{PARENT}-01", "/v2/models/rows/infer", body).status == 200
    root, _, compute = collector.of_trace(trace, 3)
    assert attributes(root)["loopwright.items"] == 3
    assert attributes(compute)["loopwright.items"] == attributes(compute)["loopwright.batch_items"] == 3


def test_the_steps_of_a_pipeline(server: Server, collector: Collector) -> None:
    server.wait_for_state(1, "READY", "twice")
    trace = new_trace(40)
    assert infer(server, f"00-{trace}-{PARENT}-01", "/v2/models/twice/infer").status == 200
    root, *children = collector.of_trace(trace, 5)
    assert attributes(root)["loopwright.model"] == "twice"
    assert [child["name"] for child in children] == ["queue", "compute"] * 2
    for child in children:
        assert child["parentSpanId"] == root["spanId"]
        assert attributes(child)["loopwright.model"] == "affine"


def counters(server: Server) -> dict[str, float]:
    text = server.request("GET", "/metrics", port="metrics").body.decode()
    lines = [line.split() for line in text.splitlines() if line.startswith("loopwright_span")]
    return {name: float(value) for name, value in lines}


def test_a_collector_that_is_down(start: Callable[..., Server], add_version: Callable[..., Path]) -> None:
    add_version(2)
    collector = Collector()
    port = collector.server_port
    collector.shutdown()
    collector.server_close()
    server = start("--trace-endpoint", f"http://127.0.0.1:{port}", "--trace-rate", "1")
    for _ in range(10):
        assert server.infer(X).status == 200
    end = time.monotonic() + 20
    while counters(server)["loopwright_span_batches_failed_total"] < 2 and time.monotonic() < end:
        time.sleep(0.1)
    assert counters(server)["loopwright_span_batches_failed_total"] >= 2
    connection = server.connect()
    for _ in range(3000):  # more spans than the buffer and a batch have places for
        connection.request("POST", PATH, BODY)
        assert connection.getresponse().read()
    connection.close()
    assert counters(server)["loopwright_spans_dropped_total"] > 0
    assert counters(server)["loopwright_spans_sent_total"] == 0
    collector = Collector(port)  # it comes back
    end = time.monotonic() + 20
    while len(collector.spans) < 30 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(collector.spans) >= 30  # of the first requests, which were kept
    assert server.stop() == 0
    collector.shutdown()
    collector.server_close()
    assert server.process.stderr
    assert server.process.stderr.read().count("traces are not sent") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trace-endpoint", "https://127.0.0.1:4318"], "must be http://HOST:PORT"),
        (["--trace-endpoint", "http://127.0.0.1"], "must be http://HOST:PORT"),
        (["--trace-endpoint", "http://h:4318/a b"], "must be http://HOST:PORT"),
        (["--trace-rate", "0.5"], "needs --trace-endpoint"),
        (["--trace-endpoint", "http://h:1", "--trace-rate", "2"], "from 0 to 1"),
    ],
)
def test_bad_options_are_one_line(options: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run([server_program(), tmp_path, *options], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
