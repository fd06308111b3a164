"""ONNX Runtime and OpenVINO behind the same interface: all data types, strings and open sizes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.graph_passes.models import model
from tests.serving.client import Answer, Server
from tests.serving.models import TYPES, write_version


@pytest.fixture
def serve(start: Callable[..., Server], tmp_path: Path) -> Callable[..., Server]:
    """Returns a function that serves a model as ``m`` in a runtime."""

    def begin(made: onnx.ModelProto, runtime: str = "onnxruntime") -> Server:
        pytest.importorskip(runtime)
        write_version(tmp_path / "repository" / "m" / "1", made, f'runtime = "{runtime}"\n')
        server = start()
        server.wait_for_state(1, "READY", "m")
        return server

    return begin


def infer(server: Server, tensor: Mapping[str, object], binary: bytes = b"", binary_output: bool = False) -> Answer:
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": binary_output}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))} if binary else {}
    return server.request("POST", "/v2/models/m/infer", text + binary, headers)


def binary_of(answer: Answer) -> bytes:
    return answer.body[int(answer.headers["Inference-Header-Content-Length"]) :]


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_each_data_type_in_both_forms(serve: Callable[..., Server], name: str, runtime: str) -> None:
    onnx_name, dtype, values = TYPES[name]
    if runtime == "openvino" and name.endswith("64"):
        values = [0, 1, 2**24]  # it computes in 32 bits
    made = model(f"g ({onnx_name}[n,1] x) => ({onnx_name}[1,n] y) {{ y = Transpose <perm = [1, 0]> (x) }}")
    server = serve(made, runtime)
    array = np.array(values, dtype)
    plain = {"name": "x", "datatype": name, "shape": [3, 1]}
    as_json = plain | {"data": values}
    as_binary = plain | {"parameters": {"binary_data_size": array.nbytes}}
    for tensor, binary in ((as_json, b""), (as_binary, array.tobytes())):
        answer = infer(server, tensor, binary)
        assert answer.status == 200, answer.body
        output = answer.json["outputs"][0]
        assert (output["datatype"], output["shape"]) == (name, [1, 3])
        np.testing.assert_array_equal(np.array(output["data"], dtype), array)
        answer = infer(server, tensor, binary, binary_output=True)
        np.testing.assert_array_equal(np.frombuffer(binary_of(answer), dtype), array)


@pytest.mark.parametrize(
    ("name", "value"), [("INT8", 128), ("UINT8", -1), ("INT32", 0.5), ("BOOL", 2), ("UINT32", 2**32)]
)
def test_a_number_that_does_not_fit(serve: Callable[..., Server], name: str, value: float) -> None:
    onnx_name = TYPES[name][0]
    server = serve(model(f"g ({onnx_name}[n] x) => ({onnx_name}[n] y) {{ y = Identity (x) }}"))
    answer = infer(server, {"name": "x", "datatype": name, "shape": [1], "data": [value]})
    assert (answer.status, answer.error.startswith("input 'x': ")) == (400, True)


def test_strings(serve: Callable[..., Server]) -> None:
    server = serve(model("g (string[n] x) => (string[n] y) { y = Identity (x) }"))
    texts = ["", "one", 'quotes " and \\', "\u20ac \U0001f600", "line\nbreak"]
    answer = infer(server, {"name": "x", "datatype": "BYTES", "shape": [5], "data": texts})
    assert answer.json["outputs"][0]["data"] == texts
    packed = b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in texts)
    tensor = {"name": "x", "datatype": "BYTES", "shape": [5], "parameters": {"binary_data_size": len(packed)}}
    assert binary_of(infer(server, tensor, packed, binary_output=True)) == packed
    assert infer(server, tensor | {"shape": [4]}, packed).status == 400
    cut = packed[:-1]
    short = tensor | {"parameters": {"binary_data_size": len(cut)}}
    assert "longer than its data" in infer(server, short, cut).error


def test_open_sizes(serve: Callable[..., Server]) -> None:
    server = serve(model("g (float[n,m] x) => (float[m,n] y) { y = Transpose <perm = [1, 0]> (x) }"))
    assert server.request("GET", "/v2/models/m").json["inputs"][0]["shape"] == [-1, -1]
    answer = infer(server, {"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [[1, 2, 3], [4, 5, 6]]})
    assert answer.json["outputs"][0]["data"] == [1, 4, 2, 5, 3, 6]
    empty = infer(server, {"name": "x", "datatype": "FP32", "shape": [0, 3], "data": []})
    assert empty.json["outputs"][0] == {"name": "y", "datatype": "FP32", "shape": [3, 0], "data": []}


def test_a_run_that_fails_costs_its_request_only(serve: Callable[..., Server]) -> None:
    server = serve(model("g (float[n] x, int64[1] i) => (float[1] y) { y = Gather (x, i) }"))

    def gather(index: int) -> Answer:
        x = {"name": "x", "datatype": "FP32", "shape": [2], "data": [5, 7]}
        i = {"name": "i", "datatype": "INT64", "shape": [1], "data": [index]}
        return server.request("POST", "/v2/models/m/infer", json.dumps({"inputs": [x, i]}))

    failed = gather(9)
    assert (failed.status, "onnxruntime failed" in failed.error) == (500, True)
    assert gather(1).json["outputs"][0]["data"] == [7]


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ('provider = "CUDA"', "parameters.provider 'CUDA' is not supported: ONNX Runtime runs on CPU here"),
        ('device = "GPU"', "parameters.device: onnxruntime takes only provider"),
    ],
)
def test_parameters_that_onnx_runtime_does_not_take(
    start: Callable[..., Server], tmp_path: Path, parameter: str, reason: str
) -> None:
    made = model("g (float[n] x) => (float[n] y) { y = Identity (x) }")
    config = f'runtime = "onnxruntime"\n[parameters]\n{parameter}\n'
    write_version(tmp_path / "repository" / "m" / "1", made, config)
    assert reason in start().wait_for_state(1, "UNAVAILABLE", "m")
