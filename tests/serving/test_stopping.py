"""SIGTERM."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.serving.client import Server


def test_a_server_drains(add_version: Callable[..., Path], start: Callable[..., Server]) -> None:
    """triton#6230, #6939: a server that stops is not ready and serves on; it never says that a model is unknown."""
    add_version(1)
    server = start("--drain-ms", "3000")
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


def test_a_connection_that_is_kept_open_loses_no_request(
    add_version: Callable[..., Path], start: Callable[..., Server]
) -> None:
    """ray#63995, kuberay#3166, kserve#3360: a roll-out drops no request: its answer says that the connection ends."""
    add_version(1)
    server = start("--drain-ms", "300")
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}
    body = json.dumps({"inputs": [tensor]})
    connection = HTTPConnection("127.0.0.1", server.ports["http"], timeout=20)
    answered, announced = 0, False
    while not announced:
        if answered == 20:
            server.process.terminate()
        connection.request("POST", "/v2/models/affine/infer", body)
        response = connection.getresponse()
        assert (response.status, "outputs" in json.loads(response.read())) == (200, True)
        announced = response.getheader("Connection") == "close"
        answered += 1
    assert answered > 20
    assert server.process.wait(20) == 0


def test_a_channel_of_grpc_loses_no_request(add_version: Callable[..., Path], start: Callable[..., Server]) -> None:
    """triton#6230, kserve#3360 over gRPC: calls succeed until the server takes none; it never says NOT_FOUND."""
    grpc = pytest.importorskip("grpc")
    service_pb2 = pytest.importorskip("tritonclient.grpc").service_pb2
    add_version(1)
    server = start("--drain-ms", "300")
    x = service_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    message = service_pb2.ModelInferRequest(model_name="affine", inputs=[x], raw_input_contents=[bytes(16)])
    codes = []
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        while not codes or codes[-1] == grpc.StatusCode.OK:
            if len(codes) == 20:
                server.process.terminate()
            codes.append(infer.future(message.SerializeToString(), timeout=20).code())
    assert len(codes) > 20
    # gRPC cancels a call that comes between its end and the client's notice of it.
    assert codes[-1] in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert server.process.wait(20) == 0


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


def test_an_idle_stream_does_not_hold_it(add_version: Callable[..., Path], start: Callable[..., Server]) -> None:
    grpc = pytest.importorskip("grpc")
    service_pb2: Any = pytest.importorskip("tritonclient.grpc.service_pb2")
    service_pb2_grpc: Any = pytest.importorskip("tritonclient.grpc.service_pb2_grpc")
    add_version(1)
    server = start("--grace-ms", "600000")
    sent: queue.Queue[Any] = queue.Queue()
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        stream = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(sent.get, None))
        tensor = service_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
        tensor.contents.fp32_contents.extend([1, 1, 1, 1])
        sent.put(service_pb2.ModelInferRequest(model_name="affine", inputs=[tensor]))
        assert next(stream).error_message == ""
        assert server.stop() == 0  # within a minute, not after the grace
        with pytest.raises(grpc.RpcError) as raised:
            next(stream)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        sent.put(None)


def test_an_unusable_port_is_one_line(start: Callable[..., Server]) -> None:
    server = start()
    with pytest.raises(RuntimeError, match="Address already in use") as raised:
        start("--http-port", str(server.ports["http"]))
    assert str(raised.value).count("\n") == 1
