"""Several requests in one run: who gets which answer, and which sizes run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.graph_passes.models import model
from tests.serving.client import Server
from tests.serving.models import write_gate, write_version


@pytest.fixture(scope="module", params=["loopwright", "onnxruntime", "openvino"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves ``y = x @ w`` and the sums of the rows of y, in batches of 1, 2 and 4."""
    if request.param != "loopwright":
        pytest.importorskip(request.param)
    repository = tmp_path_factory.mktemp("repository")
    made = model(
        "g (float[n,256] x) => (float[n,256] y, float[n] z) <float[256,256] w, int64[1] axes>"
        "{ y = MatMul (x, w) z = ReduceSum <keepdims = 0> (y, axes) }",
        w=np.eye(256, dtype=np.float32) * 2,
        axes=[1],
    )
    write_version(repository / "rows" / "1", made, f'runtime = "{request.param}"\nbatches = [1, 2, 4]\n')
    running = Server(repository)
    running.wait_for_state(1, "READY", "rows", secs=60)
    yield running
    running.kill()


def rows(server: Server, numbers: list[int], outputs: list[str] | None = None) -> dict[str, np.ndarray]:
    """Sends a row of each number, and returns the outputs."""
    data = np.repeat(np.array(numbers, np.float32), 256).tolist()
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(numbers), 256], "data": data}
    body: dict[str, object] = {"inputs": [tensor]}
    if outputs:
        body["outputs"] = [{"name": name} for name in outputs]
    answer = server.request("POST", "/v2/models/rows/infer", json.dumps(body))
    assert answer.status == 200, answer.body
    return {o["name"]: np.reshape(o["data"], o["shape"]) for o in answer.json["outputs"]}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 13])
def test_any_number_of_items(server: Server, count: int) -> None:
    found = rows(server, list(range(count)))
    np.testing.assert_allclose(found["y"], np.repeat(np.arange(count)[:, None] * 2, 256, axis=1))
    np.testing.assert_allclose(found["z"], np.arange(count) * 512)


def test_each_caller_gets_its_answer(server: Server) -> None:
    """mlserver#1306, mlserver#1911, mlserver#514: each caller gets its rows, and the outputs that it requested."""
    wrong: list[str] = []

    def send(thread: int) -> None:
        rng = np.random.default_rng(thread)
        for _ in range(30):
            numbers = rng.integers(1, 1000, rng.integers(1, 6)).tolist()
            wanted = [["y"], ["z"], ["z", "y"], None][rng.integers(4)]
            found = rows(server, numbers, wanted)
            if list(found) != (wanted or ["y", "z"]):
                wrong.append(f"{wanted}: {list(found)}")
            if "z" in found and not np.allclose(found["z"], np.float32(numbers) * 512):
                wrong.append(f"{numbers}: {found['z']}")
            if "y" in found and not np.allclose(found["y"][:, 0], np.float32(numbers) * 2):
                wrong.append(f"{numbers}: {found['y'][:, 0]}")

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_requests_that_wait_are_one_batch(start: Callable[..., Server], tmp_path: Path) -> None:
    """bento#3859, bento#3710: up to the maximum, where the items of requests count, not the requests."""
    folder = write_gate(tmp_path / "repository", "gate", "batches = [1, 2, 4]\n")
    server = start()
    server.wait_for_state(1, "READY", "gate")
    answers: list[Any] = []

    def send(number: int, rows: int) -> None:
        answer = server.infer([[number] * 4] * rows, "gate")
        answers.append((number, {output["name"]: output["data"] for output in answer.json["outputs"]}))

    def depth() -> int:
        text = server.request("GET", "/metrics", port="metrics").body.decode()
        return int(text.partition("\nloopwright_queue_depth ")[2].partition("\n")[0])

    threads = [threading.Thread(target=send, args=(-1, 1))]
    threads[0].start()
    server.wait_until((folder / "runs").exists)  # the only instance is busy
    threads += [threading.Thread(target=send, args=(number, 2)) for number in range(8)]
    for thread in threads[1:]:
        thread.start()
    server.wait_until(lambda: depth() == 8)
    (folder / "gate").touch()
    for thread in threads:
        thread.join()
    expected = [(-1, {"y": [-1] * 4, "rows": [1]}), *((n, {"y": [n] * 8, "rows": [4, 4]}) for n in range(8))]
    assert sorted(answers, key=lambda answer: answer[0]) == expected


def test_ragged_lengths_are_not_mixed(start: Callable[..., Server], tmp_path: Path) -> None:
    """triton#3776: requests of different lengths are not put into one batch."""
    pytest.importorskip("onnxruntime")
    made = model("g (float[n,m] x) => (float[n,1] y) <int64[1] axes> { y = ReduceMean (x, axes) }", axes=[1])
    write_version(tmp_path / "repository" / "mean" / "1", made, 'runtime = "onnxruntime"\nbatches = [1, 2, 4]\n')
    server = start()
    server.wait_for_state(1, "READY", "mean")
    wrong: list[bytes] = []

    def send(length: int) -> None:
        for _ in range(20):
            answer = server.infer([[length] * length] * 2, "mean")
            if answer.status != 200 or answer.json["outputs"][0]["data"] != [length, length]:
                wrong.append(answer.body)

    threads = [threading.Thread(target=send, args=(length,)) for length in (1, 2, 3, 3, 5, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_metadata_has_an_open_dimension(server: Server) -> None:
    assert server.request("GET", "/v2/models/rows").json["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 256]}
    ]


def test_no_items_are_rejected(server: Server) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [0, 256], "data": []}]}
    answer = server.request("POST", "/v2/models/rows/infer", json.dumps(body))
    assert (answer.status, "at least 1" in answer.error) == (400, True)


def test_a_model_without_batches_says_why(start: Callable[..., Server], tmp_path: Path) -> None:
    made = model("g (float[1,4] x) => (float[1,4] y) { y = Relu (x) }")
    write_version(tmp_path / "repository" / "fixed" / "1", made, "batches = [1, 2]\n")
    reason = start().index("fixed")[1][1]
    assert "no other input whose first dimension alone is open" in reason
