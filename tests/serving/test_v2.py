"""The Open Inference Protocol over HTTP."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.serving.client import Server


def test_health_and_metadata(server: Server) -> None:
    assert server.request("GET", "/v2/health/live").status == 200
    assert server.request("GET", "/v2/health/ready").status == 200
    assert server.request("GET", "/v2/health/live").json == {"live": True}
    assert server.request("GET", "/v2/health/ready").json == {"ready": True}
    assert server.request("GET", "/v2/models/affine/ready").json == {"name": "affine", "ready": True}
    assert server.request("GET", "/v2/models/none/ready").status == 404
    assert server.request("GET", "/v2").json["name"] == "loopwright"
    tensor = {"datatype": "FP32", "shape": [1, 4]}
    assert server.request("GET", "/v2/models/affine").json == {
        "name": "affine",
        "versions": ["2"],
        "platform": "loopwright_lw",
        "inputs": [{"name": "x", **tensor}],
        "outputs": [{"name": "y", **tensor}],
    }
    config = server.request("GET", "/v2/models/affine/config").json
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [1, 4]}]


def test_json(server: Server) -> None:
    answer = server.infer([[0, 1, -2, 0.1]], id="one")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    expected = (np.array([0, 1, -2, 0.1], np.float32) * 2 + 1).tolist()
    output = {"name": "y", "datatype": "FP32", "shape": [1, 4], "data": pytest.approx(expected)}
    assert answer.json == {"model_name": "affine", "model_version": "2", "id": "one", "outputs": [output]}


def test_nested_data_and_numbers_that_json_does_not_have(server: Server) -> None:
    """triton#3711: NaN and infinity pass through JSON in both directions."""
    body = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [["NaN", "Infinity", "-Infinity", 1]]}]
    }
    answer = server.request("POST", "/v2/models/affine/infer", json.dumps(body))
    assert answer.json["outputs"][0]["data"] == ["NaN", "Infinity", "-Infinity", 3]
    again = server.infer([[math.nan, math.inf, 0, 0]])  # Python's json writes NaN, which is not JSON
    assert again.status == 400


@pytest.mark.parametrize("binary_output", [False, True])
def test_binary(server: Server, binary_output: bool) -> None:
    x = np.array([[1, 2, 3, 4]], np.float32)
    header = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": x.nbytes}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": binary_output}}],
    }
    text = json.dumps(header).encode()
    lengths = {"Inference-Header-Content-Length": str(len(text))}
    answer = server.request("POST", "/v2/models/affine/infer", text + x.tobytes(), lengths)
    assert answer.status == 200, answer.body
    if binary_output:
        size = int(answer.headers["Inference-Header-Content-Length"])
        assert json.loads(answer.body[:size])["outputs"][0]["parameters"] == {"binary_data_size": 16}
        y = np.frombuffer(answer.body[size:], np.float32)
    else:
        y = np.float32(answer.json["outputs"][0]["data"])
    np.testing.assert_array_equal(y, [3, 5, 7, 9])


def test_the_index_of_what_is_ready(server: Server) -> None:
    for body in ("", "{}", '{"ready": true}'):
        assert [entry["name"] for entry in server.request("POST", "/v2/repository/index", body).json] == ["affine"]
    for body in ("[]", "1", '{"ready": 1}', '{"ready": {}}', "{"):
        assert server.request("POST", "/v2/repository/index", body).status == 400


def tensor(**changes: object) -> dict[str, object]:
    return {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4], **changes}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ("{}", '"inputs" is missing'),
        ('{"inputs": ' + "[" * 5000, "not valid JSON"),
        ({"inputs": []}, "input 'x' is missing"),
        ({"inputs": [tensor(), tensor()]}, "given twice"),
        ({"inputs": [tensor(name="z")]}, "no input 'z'; choose from: x"),
        ({"inputs": [tensor(datatype="FP31")]}, "there is no data type 'FP31'"),
        ({"inputs": [tensor(datatype="FP64")]}, "must be of FP32, got FP64"),
        ({"inputs": [tensor(shape=[4])]}, "must have the shape [1, 4], got [4]"),
        ({"inputs": [tensor(shape=[-1, 4])]}, "numbers from 0 up"),
        ({"inputs": [tensor(shape=[2**40, 2**40])]}, "more than 2^48 elements"),
        ({"inputs": [tensor(data=[1, 2, 3])]}, "3 elements, the shape has 4"),
        ({"inputs": [tensor(data=[1, 2, 3, "four"])]}, "not a number"),
        ({"inputs": [tensor(data=7)]}, "must be an array"),
        ({"inputs": [tensor(parameters={"binary_data_size": 16})]}, 'both "data" and "binary_data_size"'),
        ({"inputs": [tensor()], "outputs": [{"name": "z"}]}, "no output 'z'; choose from: y"),
        ({"inputs": [tensor()], "parameters": {"sequence_id": -7}}, '"sequence_id" must be'),
        ({"inputs": [tensor()], "parameters": {"sequence_start": 1}}, '"sequence_start" must be a boolean'),
    ],
)
def test_a_wrong_request_is_one_line(server: Server, body: object, message: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = server.request("POST", "/v2/models/affine/infer", text)
    assert answer.status == 400
    assert message in answer.error
    assert "\n" not in answer.error


@pytest.mark.parametrize(
    ("size", "given", "length", "message"),
    [
        (16, 12, None, "fewer binary bytes"),
        (12, 12, None, "has 16 bytes, got 12"),
        (16, 20, None, "4 binary bytes that no input takes"),
        (16, 16, "100000", "above the length of the body"),
        (16, 16, "-1", "must be a number"),
    ],
)
def test_binary_sizes_are_checked(server: Server, size: int, given: int, length: str | None, message: str) -> None:
    parameters = {"binary_data_size": size}
    text = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": parameters}]}
    ).encode()
    lengths = {"Inference-Header-Content-Length": length or str(len(text))}
    answer = server.request("POST", "/v2/models/affine/infer", text + bytes(given), lengths)
    assert (answer.status, message in answer.error) == (400, True), answer.body


@pytest.mark.parametrize(
    ("method", "path", "port", "allowed"),
    [
        ("GET", "/v2/models/affine/infer", "http", "POST"),
        ("GET", "/v2/models/affine/versions/2/infer", "http", "POST"),
        ("POST", "/v2/models/affine", "http", "GET, HEAD"),
        ("POST", "/v2/models/stats", "http", "GET, HEAD"),
        ("DELETE", "/v2/repository/index", "http", "POST, GET, HEAD"),
        ("PUT", "/v2", "http", "GET, HEAD"),
        ("POST", "/v2/systemsharedmemory/status", "http", "GET, HEAD"),
        ("GET", "/v1/models/affine:predict", "http", "POST"),
        ("POST", "/v1/models/affine", "http", "GET, HEAD"),
        ("POST", "/metrics", "metrics", "GET, HEAD"),
        ("DELETE", "/", "metrics", "GET, HEAD"),
    ],
)
def test_a_path_that_takes_other_methods(server: Server, method: str, path: str, port: str, allowed: str) -> None:
    answer = server.request(method, path, port=port)
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)
    assert answer.error == f"this path takes {allowed}, not {method}"


@pytest.mark.parametrize("sequence", [7, 2**64 - 1, "e333c95a"])
def test_a_sequence_changes_nothing(server: Server, sequence: int | str) -> None:
    parameters = {"sequence_id": sequence, "sequence_start": True, "sequence_end": True}
    assert server.infer([[1, 1, 1, 1]], parameters=parameters).status == 200


@pytest.mark.parametrize(
    "path", ["/", "/v2/models/a%2f..%2fb/infer", "/v2/models/..%2f../infer", "/v2/models/affine/none"]
)
def test_a_path_that_does_not_exist(server: Server, path: str) -> None:
    assert server.request("POST", path, "{}").status in (400, 404)


def test_limits_come_before_the_body(add_version: Callable[..., Path], start: Callable[..., Server]) -> None:
    """triton#8770: chunks, long headers, announced sizes and deep arrays are rejected before they take memory."""
    add_version(1)
    server = start("--max-body-mib", "1")
    answer = server.request("POST", "/v2/models/affine/infer", headers={"Content-Length": str(1 << 40)})
    assert answer.status == 413
    assert server.request("GET", "/v2", headers={"X": "x" * 100_000}).status == 431
    chunked = {"Transfer-Encoding": "chunked"}
    assert server.request("POST", "/v2/models/affine/infer", headers=chunked).status == 411
    for nested in ("[" * 100_000, '{"inputs": ' * 100_000, '{"inputs": [{"data": ' + "[" * 1000 + "]" * 1000 + "}]}"):
        assert server.request("POST", "/v2/models/affine/infer", nested).status in (400, 413)
    assert server.scale() == 1


def test_statistics_and_metrics(add_version: Callable[..., Path], start: Callable[..., Server]) -> None:
    """triton#3060, #7672, #6011: times are histograms of fixed bounds, which can be added over servers."""
    add_version(2)
    server = start()
    for _ in range(3):
        server.scale()
    server.infer([[1]])
    stats = server.request("GET", "/v2/models/affine/stats").json["model_stats"][0]
    assert (stats["version"], stats["inference_count"], stats["inference_stats"]["success"]["count"]) == ("2", 3, 3)
    text = server.request("GET", "/metrics", port="metrics").body.decode()
    assert 'loopwright_requests_total{code="OK",model="affine",version="2"} 3' in text
    assert 'loopwright_request_seconds_count{model="affine",version="2"} 3' in text
    kinds = dict(line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE "))
    assert {name for name, kind in kinds.items() if kind == "histogram"} >= {
        f"loopwright_{part}_seconds" for part in ("queue", "compute", "request")
    }
    assert "summary" not in kinds.values()
    page = server.request("GET", "/", port="metrics")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "affine" in page.body.decode()
