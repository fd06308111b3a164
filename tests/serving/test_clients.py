"""The protocol as Triton's own clients speak it, over HTTP and gRPC."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.graph_passes.models import model
from tests.serving.client import Server
from tests.serving.models import TYPES, write_gate, write_version

pytest.importorskip("tritonclient", reason="pip install 'tritonclient[grpc,http]'")
import grpc
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

X = np.array([[1, 2, 3, 4]], np.float32)


def client_of(server: Server, kind: str) -> tuple[Any, Any]:
    """Returns a module of Triton's clients and a client."""
    module = {"http": triton_http, "grpc": triton_grpc}[kind]
    return module, module.InferenceServerClient(f"127.0.0.1:{server.ports[kind]}")


@pytest.mark.parametrize("kind", ["http", "grpc"])
@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_infer(server: Server, kind: str, binary_input: bool, binary_output: bool) -> None:
    module, client = client_of(server, kind)
    x = module.InferInput("x", [1, 4], "FP32")
    if kind == "http":
        x.set_data_from_numpy(X, binary_data=binary_input)
        outputs = [module.InferRequestedOutput("y", binary_data=binary_output)]
    else:
        x.set_data_from_numpy(X)
        outputs = [module.InferRequestedOutput("y")]
    result = client.infer("affine", [x], outputs=outputs, request_id="7")
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * X + 1)
    response = result.get_response()
    assert (response["id"] if kind == "http" else response.id) == "7"
    client.close()


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_what_a_server_reports(server: Server, kind: str) -> None:
    _, client = client_of(server, kind)
    json = {"as_json": True} if kind == "grpc" else {}
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata(**json)["name"] == "loopwright"
    metadata = client.get_model_metadata("affine", **json)
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["1", "4"] if kind == "grpc" else [1, 4]}]
    config = client.get_model_config("affine", **json)
    assert (config.get("config") or config)["input"][0]["data_type"] == "TYPE_FP32"
    index = client.get_model_repository_index(**json)
    entry = (index["models"] if kind == "grpc" else index)[0]
    assert (entry["name"], entry["version"], entry["state"]) == ("affine", "2", "READY")
    statistics = client.get_inference_statistics("affine", **json)["model_stats"][0]
    assert statistics["version"] == "2"
    client.close()


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_errors(server: Server, kind: str) -> None:
    module, client = client_of(server, kind)
    x = module.InferInput("x", [4], "FP32")
    x.set_data_from_numpy(X[0])
    with pytest.raises(InferenceServerException, match=r"must have the shape \[1, 4\], got \[4\]"):
        client.infer("affine", [x])
    with pytest.raises(InferenceServerException, match="no model 'none'"):
        client.infer("none", [x])
    client.close()


def test_typed_contents(server: Server) -> None:
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        _check_typed_contents(service_pb2, service_pb2_grpc.GRPCInferenceServiceStub(channel))


def _check_typed_contents(service_pb2: Any, stub: Any) -> None:
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend(X[0])
    response = stub.ModelInfer(service_pb2.ModelInferRequest(model_name="affine", inputs=[tensor]))
    np.testing.assert_array_equal(np.frombuffer(response.raw_output_contents[0], np.float32), 2 * X[0] + 1)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of models that return their input, one for each data type and with its name."""
    pytest.importorskip("onnxruntime")
    repository = tmp_path_factory.mktemp("repository")
    for name, onnx_name in ({name: row[0] for name, row in TYPES.items()} | {"BYTES": "string"}).items():
        made = model(f"g ({onnx_name}[n] x) => ({onnx_name}[n] y) {{ y = Identity (x) }}")
        write_version(repository / name / "1", made, 'runtime = "onnxruntime"\n')
    running = Server(repository)
    yield running
    running.kill()


VALUES = {name: np.array(values, dtype) for name, (_, dtype, values) in TYPES.items()}
VALUES["BYTES"] = np.array([b"", b"one", 'quotes " and \u20ac'.encode()], np.object_)


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_each_data_type_over_http(typed: Server, binary_input: bool, binary_output: bool) -> None:
    """kserve#5907, kserve#6204: each data type passes in each form, and the form of an output is the one requested."""
    _, client = client_of(typed, "http")
    for name, array in VALUES.items():
        if name == "BF16" and not binary_input:
            continue  # the client sends it as binary only; test_runtimes has its JSON
        x = triton_http.InferInput("x", list(array.shape), name)
        x.set_data_from_numpy(array, binary_data=binary_input)
        outputs = [triton_http.InferRequestedOutput("y", binary_data=binary_output)]
        result = client.infer(name, [x], outputs=outputs)
        (output,) = result.get_response()["outputs"]
        assert ("data" in output) == (not binary_output), name
        found = result.as_numpy("y")
        if name == "BYTES":
            found = np.array([text if isinstance(text, bytes) else text.encode() for text in found], np.object_)
        np.testing.assert_array_equal(found, array, name)
    client.close()


FIELDS = {
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    **{name: f"{name.lower()}_contents" for name in ("BOOL", "INT64", "UINT64", "FP32", "FP64", "BYTES")},
}


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_each_data_type_over_grpc(typed: Server, form: str) -> None:
    """kserve#6204: each data type passes as raw bytes and as typed contents."""
    from tritonclient.grpc import service_pb2, service_pb2_grpc
    from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

    with grpc.insecure_channel(f"127.0.0.1:{typed.ports['grpc']}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for name, array in VALUES.items():
            kinds: Any = service_pb2
            tensor = kinds.ModelInferRequest.InferInputTensor(name="x", datatype=name, shape=array.shape)
            message = kinds.ModelInferRequest(model_name=name)
            if form == "raw":
                raw = serialize_byte_tensor(array).item() if name == "BYTES" else array.tobytes()
                message.raw_input_contents.append(raw)
            elif name in FIELDS:
                getattr(tensor.contents, FIELDS[name]).extend(array.tolist())
            else:
                continue  # the protocol has no typed contents for them
            message.inputs.append(tensor)
            response = stub.ModelInfer(message)
            assert response.outputs[0].datatype == name
            (data,) = response.raw_output_contents
            found = deserialize_bytes_tensor(data) if name == "BYTES" else np.frombuffer(data, array.dtype)
            np.testing.assert_array_equal(found, array, name)


def test_messages_that_triton_rejects_too(typed: Server) -> None:
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    kinds: Any = service_pb2
    with grpc.insecure_channel(f"127.0.0.1:{typed.ports['grpc']}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def error(datatype: str, shape: list[int], parameters: dict[str, str], **contents: list[Any]) -> str:
            message = kinds.ModelInferRequest(model_name=datatype)
            for name, value in parameters.items():
                message.parameters[name].string_param = value
            tensor = message.inputs.add(name="x", datatype=datatype, shape=shape)
            for field, values in contents.items():
                getattr(tensor.contents, field).extend(values)
            try:
                stub.ModelInfer(message)
            except grpc.RpcError as found:
                call: Any = found
                assert call.code() == grpc.StatusCode.INVALID_ARGUMENT
                return call.details()
            return ""

        assert error("FP32", [1], {}, fp32_contents=[1]) == ""
        assert "contents of another type" in error("FP32", [1], {}, fp32_contents=[1], int_contents=[1])
        assert '"timeout" must be a number' in error("FP32", [1], {"timeout": "soon"}, fp32_contents=[1])
        assert '"priority" must be a number' in error("FP32", [1], {"priority": "first"}, fp32_contents=[1])
        assert error("FP16", [0], {}) == ""
        assert "FP16 has no typed contents" in error("FP16", [1], {}, fp32_contents=[1])


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_messages_above_four_mebibytes(typed: Server, kind: str) -> None:
    """triton#1776: gRPC's limit of 4 MiB is not the server's."""
    module, client = client_of(typed, kind)
    array = np.arange(2 << 20, dtype=np.float32)  # 8 MiB
    x = module.InferInput("x", list(array.shape), "FP32")
    x.set_data_from_numpy(array)
    np.testing.assert_array_equal(client.infer("FP32", [x]).as_numpy("y"), array)
    client.close()


def test_messages_above_the_limit(start: Callable[..., Server]) -> None:
    """dali_backend#241: what is above the limit is rejected with the limit, and not cut off."""
    server = start("--max-body-mib", "1")
    answer = server.request("POST", "/v2/models/none/infer", bytes((1 << 20) + 1))
    assert (answer.status, f"at most {1 << 20}" in answer.error) == (413, True)
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer").future(bytes((1 << 20) + 1))
        assert call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(1 << 20) in call.details()


def test_a_stream(server: Server) -> None:
    import queue

    _, client = client_of(server, "grpc")
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(600):
        x = triton_grpc.InferInput("x", [1, 4], "FP32")
        x.set_data_from_numpy(X * number)
        client.async_stream_infer("affine", [x], request_id=str(number))
    seen = {}
    for _ in range(600):
        result, error = answers.get(timeout=60)
        assert error is None
        assert result.get_response().parameters["triton_final_response"].bool_param  # what clients of streams wait for
        seen[int(result.get_response().id)] = result.as_numpy("y")
    client.stop_stream()
    for number in range(600):
        np.testing.assert_array_equal(seen[number], 2 * X * number + 1)


def test_a_stream_with_bytes_that_are_not_a_request(server: Server) -> None:
    from tritonclient.grpc import service_pb2

    kinds: Any = service_pb2
    tensor = kinds.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend(X[0])
    good = kinds.ModelInferRequest(model_name="affine", inputs=[tensor]).SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")(iter([good, b"\xff", good]))
        answers: list[bytes] = []
        with pytest.raises(grpc.RpcError):
            answers.extend(stream)
        assert stream.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert stream.details() == "a message of the stream is not a ModelInferRequest"
    (answer,) = answers  # of the first request; what follows the error is not read
    assert kinds.ModelStreamInferResponse.FromString(answer).infer_response.outputs[0].name == "y"


def test_streams_that_are_cancelled_while_requests_are_computed(start: Callable[..., Server], tmp_path: Path) -> None:
    from tritonclient.grpc import service_pb2

    kinds: Any = service_pb2
    folder = write_gate(tmp_path / "repository", "gate")
    server = start()
    server.wait_for_state(1, "READY", "gate")
    waits = kinds.ModelInferRequest(model_name="gate", raw_input_contents=[np.full(4, -1, np.float32).tobytes()])
    waits.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    ended = threading.Event()

    def requests() -> Iterator[bytes]:
        yield waits.SerializeToString()
        yield waits.SerializeToString()
        ended.wait(60)

    for _ in range(3):
        (folder / "gate").unlink(missing_ok=True)
        (folder / "runs").unlink(missing_ok=True)
        with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
            stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")(requests())
            server.wait_until((folder / "runs").exists)  # the first is computed, the second waits
            stream.cancel()
        (folder / "gate").touch()
        assert server.infer([[1] * 4], "gate").status == 200
    ended.set()
    assert server.stop() == 0


@pytest.mark.parametrize("timeout", ["99999999H", "2562047H"])  # the longest, and that of Go's longest Duration
def test_a_deadline_in_centuries(server: Server, timeout: str) -> None:
    """Sends a call as frames of HTTP/2: clients in Python cannot wait as long."""
    from tritonclient.grpc import service_pb2

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    kinds: Any = service_pb2
    tensor = kinds.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend(X[0])
    message = kinds.ModelInferRequest(model_name="affine", inputs=[tensor]).SerializeToString()
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/inference.GRPCInferenceService/ModelInfer",
        ":authority": "h",
        "te": "trailers",
        "content-type": "application/grpc",
        "grpc-timeout": timeout,
    }
    headers = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    with socket.create_connection(("127.0.0.1", server.ports["grpc"]), 30) as connection:
        data = b"\0" + struct.pack(">I", len(message)) + message
        frames = frame(4, 0, 0, b"") + frame(1, 4, 1, headers) + frame(0, 1, 1, data)
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames)
        received = b""
        while b"grpc-status" not in received:
            received += connection.recv(65536)
    assert b"grpc-status\x010" in received  # OK


def test_an_output_that_is_named_too_often(server: Server) -> None:
    """A small request must not have a large response."""
    answer = server.infer(X, outputs=[{"name": "y"}] * 5)
    assert (answer.status, "names each output at most 4 times" in answer.error) == (400, True)
    assert len(server.infer(X, outputs=[{"name": "y"}] * 2).json["outputs"]) == 2


def test_our_messages_are_those_of_the_protocol() -> None:
    """Each field that we have has the number, type and label of Triton's."""
    import subprocess
    import tempfile

    from google.protobuf import descriptor_pb2
    from tritonclient.grpc import model_config_pb2, service_pb2

    import serving

    proto = Path(serving.__file__).parent / "proto"
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run(["protoc", f"-I{proto}", f"--descriptor_set_out={file.name}", "inference.proto"], check=True)
        ours = descriptor_pb2.FileDescriptorSet.FromString(Path(file.name).read_bytes()).file[0]
    theirs: dict[str, Any] = {}
    for module in (service_pb2, model_config_pb2):
        described = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(described)
        theirs |= {message.name: message for message in described.message_type}

    def fields(message: Any) -> set[tuple[object, ...]]:
        own = {(f.name, f.number, f.type, f.label) for f in message.field}
        return own | {(nested.name, *field) for nested in message.nested_type for field in fields(nested)}

    for message in ours.message_type:
        assert fields(message) <= fields(theirs[message.name]), message.name
