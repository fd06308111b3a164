"""The predict form of TensorFlow Serving."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.graph_passes.models import model
from tests.serving.client import Answer, Server
from tests.serving.models import write_version

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves ``one`` (y = -x) and ``two`` (s = a + b, d = a - b), of any number of rows."""
    repository = tmp_path_factory.mktemp("repository")
    one = model("g (float[n,2] x) => (float[n,2] y) { y = Neg (x) }")
    two = model("g (int32[n] a, int32[n] b) => (int32[n] s, int32[n] d) { s = Add (a, b) d = Sub (a, b) }")
    for name, made in (("one", one), ("two", two)):
        write_version(repository / name / "1", made, 'runtime = "onnxruntime"\n')
    running = Server(repository)
    yield running
    running.kill()


def predict(server: Server, body: object, place: str = "one") -> Answer:
    return server.request("POST", f"/v1/models/{place}:predict", json.dumps(body))


@pytest.mark.parametrize("place", ["one", "one/versions/1"])
def test_rows_and_columns(server: Server, place: str) -> None:
    rows = [[1, 2], [3, 4], [5, 6]]
    expected = [[-1, -2], [-3, -4], [-5, -6]]
    assert predict(server, {"instances": rows}, place).json == {"predictions": expected}
    assert predict(server, {"instances": [{"x": row} for row in rows]}, place).json == {"predictions": expected}
    assert predict(server, {"inputs": rows}, place).json == {"outputs": expected}
    assert predict(server, {"inputs": {"x": rows}}, place).json == {"outputs": expected}


def test_several_inputs_and_outputs(server: Server) -> None:
    rows = [{"a": 5, "b": 2}, {"a": 1, "b": 9}]
    assert predict(server, {"instances": rows}, "two").json == {"predictions": [{"s": 7, "d": 3}, {"s": 10, "d": -8}]}
    columns = {"a": [5, 1], "b": [2, 9]}
    assert predict(server, {"inputs": columns}, "two").json == {"outputs": {"s": [7, 10], "d": [3, -8]}}


def test_status(server: Server) -> None:
    status = server.request("GET", "/v1/models/one").json["model_version_status"]
    assert [(entry["version"], entry["state"]) for entry in status] == [("1", "AVAILABLE")]
    assert server.request("GET", "/v1/models/none").status == 404


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        ({}, "one", 'either "instances" or "inputs"'),
        ({"instances": [], "inputs": []}, "one", 'either "instances" or "inputs"'),
        ({"instances": []}, "one", "at least one"),
        ({"instances": [[1, 2], [3], [4, 5, 6]]}, "one", "different lengths"),
        ({"instances": [[1, 2, 3]]}, "one", "must have the shape"),
        ({"instances": [[1, "b"]]}, "one", "not a number"),
        ({"instances": [1, 2]}, "two", "give them by name"),
        ({"instances": [{"a": 1}]}, "two", "no input 'b'"),
        ({"instances": [{"a": 1, "b": 2}, 3]}, "two", "all objects or none"),
        ({"inputs": {"a": [1]}}, "two", "no input 'b'"),
    ],
)
def test_a_wrong_request_is_one_line(server: Server, body: object, place: str, message: str) -> None:
    answer = predict(server, body, place)
    assert (answer.status, message in answer.error) == (400, True), answer.error
