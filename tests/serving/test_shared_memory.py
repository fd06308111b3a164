"""Tensors in system shared memory: Triton's clients, ranges that do not fit, and segments that change."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.graph_passes.models import model
from tests.serving.client import Answer, Server
from tests.serving.models import write_version

pytest.importorskip("tritonclient", reason="pip install 'tritonclient[grpc,http]'")
pytest.importorskip("onnxruntime")
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
import tritonclient.utils.shared_memory as triton_shm
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

X = np.array([[1, 2, 3, 4]], np.float32)
SIZE = 4096
KINDS = pytest.mark.parametrize("kind", ["http", "grpc"])


@pytest.fixture(scope="module")
def server(compiled: Callable[[float], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("repository")
    shutil.copytree(compiled(2.0), repository / "affine" / "2" / "model.lw")
    text = model("g (string[n] x) => (string[n] y) { y = Identity (x) }")
    write_version(repository / "text" / "1", text, 'runtime = "onnxruntime"\n')
    running = Server(repository)
    running.wait_for_state(1, "READY", "text")
    yield running
    running.kill()


@pytest.fixture
def segment(server: Server) -> Iterator[SharedMemory]:
    """A segment whose regions are unregistered after the test."""
    made = SharedMemory(create=True, size=SIZE)
    yield made
    server.request("POST", "/v2/systemsharedmemory/unregister")
    made.close()
    made.unlink()


def memory(segment: SharedMemory) -> memoryview:
    assert segment.buf is not None  # it is open
    return segment.buf


def register(server: Server, segment: SharedMemory, name: str = "r", **changes: Any) -> Answer:
    body = {"key": f"/{segment.name}", "offset": 0, "byte_size": SIZE, **changes}
    return server.request("POST", f"/v2/systemsharedmemory/region/{name}/register", json.dumps(body))


def place(region: Any = "r", offset: Any = None, size: Any = 16) -> dict[str, Any]:
    values = {"region": region, "offset": offset, "byte_size": size}
    return {f"shared_memory_{key}": value for key, value in values.items() if value is not None}


def infer(server: Server, source: dict[str, Any], target: dict[str, Any] | None = None) -> Answer:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": source}
    body: dict[str, Any] = {"inputs": [tensor]}
    if target is not None:
        body["outputs"] = [{"name": "y", "parameters": target}]
    return server.request("POST", "/v2/models/affine/infer", json.dumps(body))


@KINDS
def test_tritons_client(server: Server, kind: str) -> None:
    module = {"http": triton_http, "grpc": triton_grpc}[kind]
    client = module.InferenceServerClient(f"127.0.0.1:{server.ports[kind]}")
    key = f"/loopwright-test-{os.getpid()}-{kind}"
    handle = triton_shm.create_shared_memory_region("both", key, SIZE)
    try:
        triton_shm.set_shared_memory_region(handle, [X], offset=128)
        client.register_system_shared_memory("both", key, SIZE - 64, offset=64)
        status = client.get_system_shared_memory_status("both", **({"as_json": True} if kind == "grpc" else {}))
        found = status["regions"]["both"] if kind == "grpc" else status[0]
        assert (found["key"], int(found["offset"]), int(found["byte_size"])) == (key, 64, SIZE - 64)
        x = module.InferInput("x", [1, 4], "FP32")
        x.set_shared_memory("both", 16, offset=64)
        y = module.InferRequestedOutput("y")
        y.set_shared_memory("both", 64, offset=256)
        response = client.infer("affine", [x], outputs=[y]).get_response()
        np.testing.assert_array_equal(triton_shm.get_contents_as_numpy(handle, np.float32, [1, 4], 64 + 256), 2 * X + 1)
        if kind == "http":
            parameters = response["outputs"][0]["parameters"]
            assert response["outputs"][0].keys() == {"name", "datatype", "shape", "parameters"}
        else:
            chosen = response.outputs[0].parameters
            parameters = {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in chosen.items()}
            assert list(response.raw_output_contents) == [b""]
        assert parameters == place("both", 256)
        plain = client.infer("affine", [x]).as_numpy("y")  # shared input, output in the response
        np.testing.assert_array_equal(plain, 2 * X + 1)
        client.unregister_system_shared_memory("both")
        client.unregister_system_shared_memory("both")  # as in Triton, not an error
        with pytest.raises(InferenceServerException, match="no shared memory region 'both'"):
            client.infer("affine", [x])
    finally:
        client.unregister_system_shared_memory()
        triton_shm.destroy_shared_memory_region(handle)
        client.close()


@KINDS
def test_strings(server: Server, segment: SharedMemory, kind: str) -> None:
    module = {"http": triton_http, "grpc": triton_grpc}[kind]
    client = module.InferenceServerClient(f"127.0.0.1:{server.ports[kind]}")
    texts = np.array(["", "one", "ä"], object)
    data = serialize_byte_tensor(texts).item()
    memory(segment)[: len(data)] = data
    client.register_system_shared_memory("r", f"/{segment.name}", SIZE)
    x = module.InferInput("x", [3], "BYTES")
    x.set_shared_memory("r", len(data))
    y = module.InferRequestedOutput("y")
    y.set_shared_memory("r", SIZE // 2, offset=SIZE // 2)
    client.infer("text", [x], outputs=[y])
    assert bytes(memory(segment)[SIZE // 2 : SIZE // 2 + len(data)]) == data
    y.set_shared_memory("r", len(data) - 1, offset=SIZE // 2)
    with pytest.raises(InferenceServerException, match=r"output 'y': it has .* bytes"):
        client.infer("text", [x], outputs=[y])
    x.set_shared_memory("r", len(data) - 1)
    with pytest.raises(InferenceServerException, match="input 'x'"):
        client.infer("text", [x])
    client.close()


def test_regions(server: Server, segment: SharedMemory) -> None:
    assert register(server, segment, "a").status == 200
    assert register(server, segment, "b", offset=1, byte_size=2).status == 200
    again = register(server, segment, "a")
    assert (again.status, "already registered" in again.error) == (409, True)
    key = f"/{segment.name}"
    assert server.request("GET", "/v2/systemsharedmemory/status").json == [
        {"name": "a", "key": key, "offset": 0, "byte_size": SIZE},
        {"name": "b", "key": key, "offset": 1, "byte_size": 2},
    ]
    assert server.request("GET", "/v2/systemsharedmemory/region/none/status").status == 404
    assert server.request("POST", "/v2/systemsharedmemory/region/a/unregister").status == 200
    assert [entry["name"] for entry in server.request("GET", "/v2/systemsharedmemory/status").json] == ["b"]
    statuses = [register(server, segment, f"many{number}").status for number in range(256)]
    assert statuses == [200] * 255 + [429]
    assert "system_shared_memory" in server.request("GET", "/v2").json["extensions"]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "name",
        "/.",
        "/..",
        "/../etc/passwd",
        "//etc",
        "/a/b",
        "/sem.x",
        "/x\x00y",
        "/" + "x" * 256,
        "/does-not-exist",
        7,
        None,
    ],
)
def test_keys(server: Server, segment: SharedMemory, key: object) -> None:
    answer = register(server, segment, key=key)
    assert answer.status == 400
    assert "\n" not in answer.error


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_not_a_segment(server: Server, segment: SharedMemory, tmp_path: Path, kind: str) -> None:
    path = Path("/dev/shm") / f"loopwright-test-{os.getpid()}"  # noqa: S108 - where segments are
    (tmp_path / "secret").write_bytes(bytes(SIZE))
    make = {"link": lambda: path.symlink_to(tmp_path / "secret"), "fifo": lambda: os.mkfifo(path), "folder": path.mkdir}
    make[kind]()
    try:
        assert register(server, segment, key=f"/{path.name}").status == 400
    finally:
        path.rmdir() if kind == "folder" else path.unlink()


LIMITS = st.one_of(
    st.integers(-2, 40), st.integers(SIZE - 40, SIZE + 2), st.sampled_from([2**31, 2**63 - 1, 2**63, 2**64 - 16])
)


@settings(deadline=None)  # the machine may be busy
@given(offset=LIMITS, size=LIMITS)
@example(offset=2**64 - 16, size=16)
@example(offset=2**63, size=2**63)
@example(offset=SIZE - 16, size=16)
def test_each_range_over_rest(server: Server, offset: int, size: int) -> None:
    """triton PR#6914, triton#8335, triton#8936: ranges of shared memory are checked."""
    made = SharedMemory(create=True, size=SIZE)
    try:
        fits = offset >= 0 and size >= 1 and offset + size <= SIZE
        assert (register(server, made, offset=offset, byte_size=size).status == 200) == fits
        server.request("POST", "/v2/systemsharedmemory/unregister")
        assert register(server, made, byte_size=SIZE - 8, offset=8).status == 200
        data = X.tobytes()
        inside = offset >= 0 and size >= 0 and offset + size <= SIZE - 8
        if inside and size == 16:
            memory(made)[8 + offset : 24 + offset] = data
        assert (infer(server, place("r", offset, size)).status == 200) == (inside and size == 16)
        memory(made)[8:24] = data
        answer = infer(server, place(), place("r", offset, size))
        assert (answer.status == 200) == (inside and size >= 16)
        if answer.status == 200:
            found = np.frombuffer(bytes(memory(made)[8 + offset : 24 + offset]), np.float32)
            np.testing.assert_array_equal(found, [3, 5, 7, 9])
        else:
            assert "\n" not in answer.error
    finally:
        server.request("POST", "/v2/systemsharedmemory/unregister")
        made.close()
        made.unlink()


@settings(deadline=None)  # the machine may be busy
@given(offset=LIMITS.filter(lambda n: -(2**63) <= n < 2**63), size=LIMITS.filter(lambda n: n < 2**63))
def test_each_range_over_grpc(server: Server, offset: int, size: int) -> None:
    made = SharedMemory(create=True, size=SIZE)
    client = triton_grpc.InferenceServerClient(f"127.0.0.1:{server.ports['grpc']}")
    try:
        client.register_system_shared_memory("r", f"/{made.name}", SIZE)
        x = triton_grpc.InferInput("x", [1, 4], "FP32")
        x.set_shared_memory("r", size, offset=offset)
        fits = offset >= 0 and size == 16 and offset + size <= SIZE
        with nullcontext() if fits else pytest.raises(InferenceServerException):
            client.infer("affine", [x])
    finally:
        client.unregister_system_shared_memory()
        client.close()
        made.close()
        made.unlink()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (place(None), '"shared_memory_region" is missing'),
        (place(size=None), '"shared_memory_byte_size" is missing'),
        (place(region=7), "must be a string"),
        (place(offset="1"), "must be a number"),
        (place(offset=1.5), "must be a number"),
        ({**place(), "binary_data_size": 16}, "both in the request and in shared memory"),
    ],
)
def test_wrong_parameters(server: Server, segment: SharedMemory, source: dict[str, Any], message: str) -> None:
    register(server, segment)
    answer = infer(server, source)
    assert (answer.status, message in answer.error) == (400, True), answer.error


def test_a_segment_that_shrinks(server: Server, segment: SharedMemory) -> None:
    """A mapped segment would end the server here with a SIGBUS."""
    register(server, segment)
    path = f"/dev/shm/{segment.name}"  # noqa: S108 - where segments are
    assert infer(server, place(), place(offset=SIZE - 16)).status == 200
    os.truncate(path, 20)
    source, target = infer(server, place(offset=16)), infer(server, place(), place(offset=SIZE - 16))
    assert (source.status, target.status) == (400, 400)
    assert "truncated" in source.error
    assert "output 'y'" in target.error
    assert os.stat(path).st_size == 20, "an output made it longer again"
    assert server.scale() == 2


def test_regions_that_come_and_go_during_requests(server: Server, segment: SharedMemory) -> None:
    memory(segment)[:16] = X.tobytes()
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            register(server, segment)
            server.request("POST", "/v2/systemsharedmemory/region/r/unregister")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        answers = [infer(server, place(), place(offset=64)) for _ in range(200)]
    finally:
        done.set()
        thread.join()
    assert {answer.status for answer in answers} <= {200, 404}
    assert bytes(memory(segment)[:16]) == X.tobytes()
    register(server, segment)
    assert infer(server, place()).json["outputs"][0]["data"] == [3, 5, 7, 9]


@pytest.mark.parametrize("options", [("--no-shared-memory",), ("--host", "0.0.0.0")])  # noqa: S104
def test_it_is_off(start: Callable[..., Server], segment: SharedMemory, options: tuple[str, ...]) -> None:
    server = start(*options)
    answer = register(server, segment)
    assert (answer.status, "--shared-memory" in answer.error) == (400, True)
    assert "system_shared_memory" not in server.request("GET", "/v2").json["extensions"]
    allowed = start("--host", "0.0.0.0", "--shared-memory")  # noqa: S104
    assert register(allowed, segment).status == 200
