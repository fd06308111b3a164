"""The classes of the largest values of an output, as Triton's clients request them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.graph_passes.models import model
from tests.serving.client import Answer, Server
from tests.serving.models import write_version

pytest.importorskip("tritonclient", reason="pip install 'tritonclient[grpc,http]'")
pytest.importorskip("onnxruntime")
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

LABELS = ["apple", "pickle", "ä b"]
MODELS = {"rows": "float[n,5]", "halves": "float16[2,3]", "counts": "int64[5]", "text": "string[n]", "flags": "bool[2]"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves identities; ``rows`` has labels for three of its five classes."""
    repository: Path = tmp_path_factory.mktemp("repository")
    for name, kind in MODELS.items():
        made = model(f"g ({kind} x) => ({kind} y) {{ y = Identity (x) }}")
        write_version(repository / name / "1", made, 'runtime = "onnxruntime"\n')
    shaped = model("g (float[a] x, int64[b] s) => (float[n,m] y) { y = Reshape (x, s) }")
    write_version(repository / "shaped" / "1", shaped, 'runtime = "onnxruntime"\n')
    (repository / "rows" / "labels.txt").write_bytes("\r\n".join(LABELS).encode())
    running = Server(repository)
    for name in (*MODELS, "shaped"):
        running.wait_for_state(1, "READY", name)
    yield running
    running.kill()


def expected(values: np.ndarray, count: int, labels: list[str]) -> list[str]:
    """Returns the classes of one row, by a stable sort."""
    order = sorted(range(len(values)), key=lambda place: (np.isnan(values[place]), -float(values[place])))
    texts = []
    for place in order[:count]:
        value = str(values[place]) if values.dtype.kind == "i" else f"{float(values[place]):f}"
        texts.append(f"{value}:{place}" + (f":{labels[place]}" if place < len(labels) else ""))
    return texts


def classify(server: Server, name: str, tensor: dict[str, Any], count: Any) -> Answer:
    output = {"name": "y", "parameters": {"classification": count}}
    return server.request(
        "POST", f"/v2/models/{name}/infer", json.dumps({"inputs": [{"name": "x", **tensor}], "outputs": [output]})
    )


@settings(deadline=None)  # the machine may be busy
@given(
    values=arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 4), st.just(5)),
        elements=st.floats(-4, 4, width=32) | st.sampled_from([0.0, 1.0, np.inf, -np.inf]),
    ),
    count=st.integers(1, 7) | st.just(2**64 - 1),
)
def test_rows(server: Server, values: np.ndarray, count: int) -> None:
    data = [{np.inf: "Infinity", -np.inf: "-Infinity"}.get(value, float(value)) for value in values.ravel()]
    answer = classify(server, "rows", {"datatype": "FP32", "shape": list(values.shape), "data": data}, count)
    assert answer.status == 200, answer.body
    output = answer.json["outputs"][0]
    assert (output["datatype"], output["shape"]) == ("BYTES", [len(values), min(count, 5)])
    assert output["data"] == [text for row in values for text in expected(row, count, LABELS)]


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_tritons_client(server: Server, kind: str) -> None:
    module: Any = {"http": triton_http, "grpc": triton_grpc}[kind]
    client = module.InferenceServerClient(f"127.0.0.1:{server.ports[kind]}")
    values = np.array([[1, 5, np.nan, 4, 5], [-1, -2, -3, -4, np.inf]], np.float32)
    x = module.InferInput("x", [2, 5], "FP32")
    x.set_data_from_numpy(values)
    outputs = [module.InferRequestedOutput("y", class_count=5)]
    found = client.infer("rows", [x], outputs=outputs).as_numpy("y")
    texts = [[text.decode() for text in row] for row in found]
    assert texts == [expected(row, 5, LABELS) for row in values]
    assert texts[0][0] == "5.000000:1:pickle"
    with pytest.raises(InferenceServerException, match="classification"):
        client.infer("rows", [x], outputs=[module.InferRequestedOutput("y", class_count=-1)])
    client.close()


def test_without_a_batch_all_values_are_one_row(server: Server) -> None:
    halves = np.array([1.5, -2, 3, 0, 7, 7], np.float16)
    tensor = {"datatype": "FP16", "shape": [2, 3], "data": halves.astype(float).tolist()}
    output = classify(server, "halves", tensor, 4).json["outputs"][0]
    assert (output["shape"], output["data"]) == ([4], expected(halves, 4, []))
    counts = np.array([1, -(2**63), 2**63 - 1, 0, 2**53 + 1], np.int64)
    tensor = {"datatype": "INT64", "shape": [5], "data": counts.tolist()}
    output = classify(server, "counts", tensor, 9).json["outputs"][0]
    assert output["data"] == [f"{counts[place]}:{place}" for place in (2, 4, 0, 3, 1)]
    assert classify(server, "counts", tensor, 0).json["outputs"][0]["data"] == counts.tolist()


@pytest.mark.parametrize(("shape", "classes"), [([], [1]), ([6], [2]), ([2, 3], [2, 2])])
def test_an_output_of_another_rank_than_declared(server: Server, shape: list[int], classes: list[int]) -> None:
    values = list(range(math.prod(shape)))
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [len(values)], "data": values},
        {"name": "s", "datatype": "INT64", "shape": [len(shape)], "data": shape},
    ]
    output = {"name": "y", "parameters": {"classification": 2}}
    answer = server.request("POST", "/v2/models/shaped/infer", json.dumps({"inputs": inputs, "outputs": [output]}))
    assert (answer.status, answer.json["outputs"][0]["shape"]) == (200, classes)


@pytest.mark.parametrize(
    ("name", "tensor", "count", "message"),
    [
        ("text", {"datatype": "BYTES", "shape": [1], "data": ["a"]}, 1, "of BYTES, which has no classes"),
        ("flags", {"datatype": "BOOL", "shape": [2], "data": [True, False]}, 1, "of BOOL, which has no classes"),
        ("counts", {"datatype": "INT64", "shape": [5], "data": [0] * 5}, -1, '"classification" must be a number'),
        ("counts", {"datatype": "INT64", "shape": [5], "data": [0] * 5}, "2", '"classification" must be a number'),
    ],
)
def test_errors(server: Server, name: str, tensor: dict[str, Any], count: Any, message: str) -> None:
    answer = classify(server, name, tensor, count)
    assert (answer.status, message in answer.error) == (400, True), answer.body
