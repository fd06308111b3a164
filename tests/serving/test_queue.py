"""Full queues, deadlines, priorities and callers that leave, on a model whose runs take a while."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.graph_passes.models import model
from tests.serving.client import Answer, Server
from tests.serving.models import write_version

pytest.importorskip("onnxruntime")
LIMIT = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves a loop of ``n`` products of matrices."""
    repository: Path = tmp_path_factory.mktemp("repository")
    made = model(
        "g (int64[1] n, float[256,256] w) => (float[256,256] y) <bool keep> {"
        " one = Squeeze (n)"
        " y = Loop (one, keep, w) <body = b (int64 i, bool c, float[256,256] a) => (bool d, float[256,256] e)"
        " { d = Identity (c) e = MatMul (a, a) }> }",
        keep=True,
    )
    write_version(repository / "slow" / "1", made, f'runtime = "onnxruntime"\nthreads = 1\nmax_queue = {LIMIT}\n')
    running = Server(repository)
    running.wait_for_state(1, "READY", "slow")
    yield running
    running.kill()


def body_of(rounds: int, **parameters: Any) -> bytes:
    n = {"name": "n", "datatype": "INT64", "shape": [1], "data": [rounds]}
    w = {"name": "w", "datatype": "FP32", "shape": [256, 256], "data": [0] * 65536}
    return json.dumps(
        {"inputs": [n, w], "outputs": [], "parameters": {"binary_data_output": True, **parameters}}
    ).encode()


def run(server: Server, rounds: int, **parameters: Any) -> Answer:
    return server.request("POST", "/v2/models/slow/infer", body_of(rounds, **parameters))


@pytest.fixture(scope="module")
def rounds_per_sec(server: Server) -> float:
    run(server, 10)
    begin = time.monotonic()
    run(server, 200)
    return 200 / (time.monotonic() - begin)


def in_threads(calls: list[tuple[int, dict[str, Any]]], server: Server) -> list[tuple[float, Answer]]:
    """Sends requests 50 ms apart, and returns when each was answered, in their order."""
    found: dict[int, tuple[float, Answer]] = {}

    def send(place: int) -> None:
        rounds, parameters = calls[place]
        answer = run(server, rounds, **parameters)
        found[place] = (time.monotonic(), answer)

    threads = [threading.Thread(target=send, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    return [found[place] for place in range(len(calls))]


def test_a_full_queue_rejects_at_once(server: Server, rounds_per_sec: float) -> None:
    long = int(rounds_per_sec * 3)
    answers = in_threads([(long, {})] + [(1, {})] * (LIMIT + 2), server)
    statuses = [answer.status for _, answer in answers]
    assert statuses.count(200) == 1 + LIMIT
    assert statuses.count(429) == 2
    first = answers[0][0]
    for when, answer in answers:
        if answer.status == 429:
            assert "is full" in answer.error
            assert when < first, "it waited"


def test_an_expired_request_is_not_computed(server: Server, rounds_per_sec: float) -> None:
    """triton#6920, triton#7532, ray#41057: a request whose deadline has passed is not computed."""
    long = int(rounds_per_sec)
    executions = server.request("GET", "/v2/models/slow/stats").json["model_stats"][0]["execution_count"]
    answers = in_threads([(long, {}), (1, {"timeout": 100_000})], server)
    assert [answer.status for _, answer in answers] == [200, 504]
    assert answers[1][0] < answers[0][0], "it waited for the run before it"
    after = server.request("GET", "/v2/models/slow/stats").json["model_stats"][0]["execution_count"]
    assert after == executions + 1


def test_a_deadline_is_not_early(server: Server, rounds_per_sec: float) -> None:
    """mlserver#1936, mlserver#2065: a limit of time does not fire before it has passed."""
    begin = time.monotonic()
    answers = in_threads([(int(rounds_per_sec), {}), (1, {"timeout": 400_000}), (1, {"timeout": 60_000_000})], server)
    assert [answer.status for _, answer in answers] == [200, 504, 200]
    assert answers[1][0] - begin > 0.4


def test_time_in_the_queue_is_reported(server: Server, rounds_per_sec: float) -> None:
    """triton#8251, triton#7492: the time in the queue is apart from the time of the run."""

    def queue() -> tuple[float, float]:
        stats = server.request("GET", "/v2/models/slow/stats").json["model_stats"][0]["inference_stats"]
        text = server.request("GET", "/metrics", port="metrics").body.decode()
        sums = re.search(r'^loopwright_queue_seconds_sum{model="slow",version="1"} (\S+)', text, re.MULTILINE)
        assert sums
        return stats["queue"]["ns"] * 1e-9, float(sums[1])

    before = queue()
    in_threads([(int(rounds_per_sec), {}), (1, {})], server)
    for earlier, later in zip(before, queue(), strict=True):
        assert later - earlier > 0.1  # of the second, which waits about a second less 50 ms


def test_a_slow_run_keeps_no_deadline_out(server: Server, rounds_per_sec: float) -> None:
    run(server, int(rounds_per_sec))
    assert run(server, 1, timeout=300_000).status == 200


def rejections(server: Server) -> Counter[tuple[str, str]]:
    """Returns the rejections so far, by protocol and reason."""
    series = server.series("loopwright_rejection_seconds_count")
    return Counter({(labels["protocol"], labels["reason"]): int(count) for labels, count in series})


def test_rejections_have_reasons_in_the_metrics(server: Server, rounds_per_sec: float) -> None:
    before, long = rejections(server), int(rounds_per_sec * 2)
    answers = in_threads(
        [(long, {}), (1, {"priority": 2}), (1, {"timeout": 1}), (1, {"timeout": 100_000, "priority": 1})]
        + [(1, {})] * (LIMIT + 1),
        server,
    )
    statuses = [answer.status for _, answer in answers]
    assert statuses[:4] == [200, 200, 429, 504]
    assert 429 in statuses[4:]
    expected = Counter({("http", "too_late"): 1, ("http", "expired"): 1})
    expected["http", "queue_full"] = statuses[4:].count(429)
    server.wait_until(lambda: rejections(server) - before == expected)  # noted after the answers


@pytest.mark.parametrize("stream", [False, True])
def test_rejections_of_grpc_are_in_the_metrics(server: Server, rounds_per_sec: float, stream: bool) -> None:
    grpc = pytest.importorskip("grpc")
    service_pb2 = pytest.importorskip("tritonclient.grpc").service_pb2
    message = service_pb2.ModelInferRequest(model_name="slow")
    for name, kind, shape in (("n", "INT64", [1]), ("w", "FP32", [256, 256])):
        message.inputs.add(name=name, datatype=kind, shape=shape)
    message.raw_input_contents.extend([(1).to_bytes(8, "little"), bytes(4 * 256 * 256)])
    before = rejections(server)
    threads = [
        threading.Thread(target=run, args=(server, rounds)) for rounds in [int(rounds_per_sec * 2)] + [1] * LIMIT
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    place = "/inference.GRPCInferenceService/Model"
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        if stream:
            call = channel.stream_stream(place + "StreamInfer")
            answers = list(call(iter([message.SerializeToString()] * 2), timeout=20))
            assert all(b"is full" in answer for answer in answers)
        else:
            call = channel.unary_unary(place + "Infer")
            codes = [call.future(message.SerializeToString(), timeout=20).code() for _ in range(2)]
            assert codes == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2
    for thread in threads:
        thread.join()
    server.wait_until(lambda: rejections(server) - before == Counter({("grpc", "queue_full"): 2}))


def test_priorities(server: Server, rounds_per_sec: float) -> None:
    long = int(rounds_per_sec * 2)
    answers = in_threads([(long, {}), (20, {}), (20, {"priority": 2}), (20, {"priority": 1})], server)
    assert {answer.status for _, answer in answers} == {200}
    when = [moment for moment, _ in answers]
    assert when[0] < when[3] < when[2] < when[1]


def test_a_cancelled_call_is_not_computed(server: Server, rounds_per_sec: float) -> None:
    """ray#41057 over gRPC: a call that its client cancels is dropped from the queue."""
    grpc = pytest.importorskip("grpc")
    service_pb2 = pytest.importorskip("tritonclient.grpc").service_pb2
    tensor = service_pb2.ModelInferRequest.InferInputTensor
    inputs = [tensor(name="n", datatype="INT64", shape=[1]), tensor(name="w", datatype="FP32", shape=[256, 256])]
    message = service_pb2.ModelInferRequest(model_name="slow", inputs=inputs)
    message.raw_input_contents.extend([(1).to_bytes(8, "little"), bytes(4 * 256 * 256)])
    executions = server.request("GET", "/v2/models/slow/stats").json["model_stats"][0]["execution_count"]
    blocker = threading.Thread(target=run, args=(server, int(rounds_per_sec)))
    blocker.start()
    time.sleep(0.1)
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer").future(message.SerializeToString())
        time.sleep(0.2)
        call.cancel()
        blocker.join()
        assert run(server, 1).status == 200
    after = server.request("GET", "/v2/models/slow/stats").json["model_stats"][0]["execution_count"]
    assert after == executions + 2


def test_a_caller_who_leaves_frees_the_queue(server: Server, rounds_per_sec: float) -> None:
    """triton#6920, triton#7532, ray#41057: a request whose caller has left is not computed, and makes room."""
    long = int(rounds_per_sec)
    executions = server.request("GET", "/v2/models/slow/stats").json["model_stats"][0]["execution_count"]
    blocker = threading.Thread(target=run, args=(server, long))
    blocker.start()
    time.sleep(0.1)
    body = body_of(1)
    head = f"POST /v2/models/slow/infer HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for _ in range(LIMIT):
        with socket.create_connection(("127.0.0.1", server.ports["http"])) as connection:
            connection.sendall(head + body)
            time.sleep(0.1)
    time.sleep(0.1)
    assert run(server, 1).status == 200  # the queue was full of requests whose callers have left
    blocker.join()
    after = server.request("GET", "/v2/models/slow/stats").json["model_stats"][0]["execution_count"]
    assert after == executions + 2
