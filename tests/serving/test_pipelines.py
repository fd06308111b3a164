"""Pipelines: models that run one after the other."""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.graph_passes.models import model
from tests.serving.client import Server
from tests.serving.models import affine, write_gate, write_version

DOCS = Path(__file__).parents[2] / "docs" / "serving" / "pipeline"
Start = Callable[..., Server]

SUM = "g (float[1,4] a, float[1,4] b) => (float[1,4] sum) { sum = Add (a, b) }"
# z = (2 x + 1) + (3 x + 1), where the first two steps do not depend on each other.
DIAMOND = """
[[steps]]
model = "sum"
inputs = {a = "double", b = "triple"}
outputs = {sum = "z"}
[[steps]]
model = "times2"
outputs = {y = "double"}
[[steps]]
model = "times3"
version = "1"
outputs = {y = "triple"}
"""


# A step after one of :data:`tests.serving.models.GATE`.
AFTER = "g (float[n,4] x) => (float[n,4] y) { y = Neg (x) }"
AFTER_STEP = '[[steps]]\nmodel = "negated"\ninputs = {x = "x2"}\n'

FAST_TO_LOAD = 'runtime = "onnxruntime"\nthreads = 1\n'


def write_models(repository: Path) -> None:
    for scale in (2, 3):
        write_version(repository / f"times{scale}" / "1", affine(scale), FAST_TO_LOAD)
    write_version(repository / "sum" / "1", model(SUM), FAST_TO_LOAD)


def write_pipeline(repository: Path, text: str, name: str = "p") -> None:
    (repository / name).mkdir(exist_ok=True)
    part = repository / name / "config.part"
    part.write_text(text)
    part.rename(repository / name / "config.toml")


def test_steps_that_depend_on_each_other(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    write_models(repository)
    write_pipeline(repository, DIAMOND)
    (tmp_path / "token").write_text("0123456789abcdef\n")
    server = start("--admin-port", "0", "--admin-token-file", str(tmp_path / "token"))
    server.wait_for_state(1, "READY", "p")
    header = {"Authorization": "Bearer 0123456789abcdef"}
    answer = server.request("POST", "/v2/models/p/labels/stable", '{"version": 1}', header, port="admin")
    assert (answer.status, answer.error) == (400, "'p' is a pipeline, which has no versions to promote")
    metadata = server.request("GET", "/v2/models/p").json
    assert metadata["platform"] == "pipeline"
    assert [(t["name"], t["shape"]) for t in metadata["inputs"]] == [("x", [1, 4])]
    assert [(t["name"], t["shape"]) for t in metadata["outputs"]] == [("z", [1, 4])]
    answer = server.infer([[0, 1, 2, 3]], "p", id="7")
    assert answer.json == {
        "model_name": "p",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "z", "datatype": "FP32", "shape": [1, 4], "data": [2, 7, 12, 17]}],
    }
    twice = [{"name": "z", "parameters": {"classification": 1}}, {"name": "z"}, {"name": "z"}]
    named = server.infer([[0, 1, 2, 3]], "p", outputs=twice).json["outputs"]
    assert [output["data"] for output in named] == [["17.000000:3"], [2, 7, 12, 17], [2, 7, 12, 17]]
    wrong = server.infer([[0, 1, 2]], "p")
    assert (wrong.status, wrong.error) == (400, "input 'x' must have the shape [1, 4], got [1, 3]")

    # A change of the pipeline, and a new version of a step, while requests come.
    statuses: list[int] = []
    ended = threading.Event()

    def send() -> None:
        while not ended.is_set():
            statuses.append(server.infer([[0, 1, 2, 3]], "p").status)

    sender = threading.Thread(target=send)
    sender.start()
    write_pipeline(repository, DIAMOND.replace('sum = "z"', 'sum = "w"'))
    write_version(tmp_path / "new" / "2", affine(10), FAST_TO_LOAD)
    (tmp_path / "new" / "2").rename(repository / "times2" / "2")
    server.wait_for_state(2, "READY", "times2")
    server.wait_until(lambda: server.request("GET", "/v2/models/p").json["outputs"][0]["name"] == "w")
    ended.set()
    sender.join()
    assert set(statuses) == {200}
    assert server.infer([[1, 1, 1, 1]], "p").json["outputs"][0]["data"] == [15] * 4
    server.request("POST", "/v2/models/p/infer", json.dumps({"inputs": []}))
    assert server.request("GET", "/v2/models/p/stats").json["model_stats"][0]["inference_stats"]["fail"]["count"] == 1

    # A step whose new version has outputs of another type.
    write_version(tmp_path / "other" / "9", model("g (float[1,4] x) => (int32[1,4] y) { y = Cast <to = 6> (x) }"), "")
    (tmp_path / "other" / "9").rename(repository / "times2" / "9")
    server.wait_for_state(9, "READY", "times2")
    changed = server.infer([[1, 1, 1, 1]], "p")
    assert changed.status == 400
    assert "'double' is INT32 [1, 4], and was FP32 [1, 4] when the pipeline was loaded" in changed.error
    shutil.rmtree(repository / "times2" / "9")

    shutil.rmtree(repository / "times3")
    server.wait_until(lambda: server.request("GET", "/v2/models/p/ready").status == 503)
    server.wait_until(lambda: server.infer([[1, 1, 1, 1]], "p").status == 404)
    assert "step 3 (times3): there is no model 'times3'" in server.infer([[1, 1, 1, 1]], "p").error
    assert server.stop() == 0


def test_deadlines_hold_for_all_steps(start: Start, tmp_path: Path) -> None:
    """Also in the queue of the first step, and after its run: no later step is computed."""
    repository = tmp_path / "repository"
    folder = write_gate(repository, "gate")
    write_version(repository / "negated" / "1", model(AFTER), FAST_TO_LOAD)
    write_pipeline(repository, '[[steps]]\nmodel = "gate"\noutputs = {y = "x2"}\n' + AFTER_STEP)
    server = start()
    server.wait_for_state(1, "READY", "p")
    answers: list[tuple[int, str]] = []

    def send(value: float, **parameters: int) -> None:
        answer = server.infer([[value] * 4], "p", parameters=parameters)
        answers.append((answer.status, answer.json.get("error", "")))

    def executions(name: str) -> int:
        return server.request("GET", f"/v2/models/{name}/stats").json["model_stats"][0]["execution_count"]

    blocker = threading.Thread(target=send, args=(-1,), kwargs={"timeout": 2_000_000})
    blocker.start()
    server.wait_until((folder / "runs").exists)
    send(1, timeout=50_000)
    late = "the deadline passed while the request was in the queue"
    assert answers == [(504, f"step 1 (gate): {late}")]  # while the first step runs
    time.sleep(2)
    (folder / "gate").touch()
    blocker.join()
    assert answers[1] == (504, f"step 2 (negated): {late}")
    assert (executions("gate"), executions("negated")) == (1, 0)
    send(1, timeout=60_000_000)
    assert answers[2] == (200, "")
    assert (executions("gate"), executions("negated")) == (2, 1)


def test_outputs_in_shared_memory(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    write_models(repository)
    write_pipeline(repository, DIAMOND)
    server = start()
    server.wait_for_state(1, "READY", "p")
    segment = SharedMemory(create=True, size=64)
    try:
        assert segment.buf is not None
        region = {"key": f"/{segment.name}", "byte_size": 64}
        place = "/v2/systemsharedmemory/region/r/register"
        assert server.request("POST", place, json.dumps(region)).status == 200

        def infer(size: int) -> Any:
            where = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
            x = {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": where}
            z = where | {"shared_memory_offset": 32, "shared_memory_byte_size": size}
            body = {"inputs": [x], "outputs": [{"name": "z", "parameters": z}]}
            return server.request("POST", "/v2/models/p/infer", json.dumps(body))

        segment.buf[:16] = np.array([0, 1, 2, 3], np.float32).tobytes()
        answer = infer(16)
        assert answer.status == 200, answer.body
        assert "data" not in answer.json["outputs"][0]
        np.testing.assert_array_equal(np.frombuffer(bytes(segment.buf[32:48]), np.float32), [2, 7, 12, 17])
        small = infer(12)
        assert (small.status, "'z'" in small.error) == (400, True)
    finally:
        segment.close()
        segment.unlink()


WRONG = (
    (("\n[[steps]]", 'outputs = ["z", "z"]\n[[steps]]'), "outputs: 'z' is there twice"),
    (('model = "sum"', 'model = "nothing"'), "step 1 (nothing): there is no model 'nothing' in the repository"),
    (('model = "sum"', 'model = "../sum"'), "steps[0].model"),
    (('version = "1"', 'version = "../1"'), "steps[2].version"),
    (('version = "1"', 'version = "9"'), "step 3 (times3): the model 'times3' has no version 9 that is ready"),
    (("a = ", "c = "), "step 1 (sum): its model has no input 'c'; choose from: a, b"),
    (("{sum = ", "{total = "), "step 1 (sum): its model has no output 'total'; choose from: sum"),
    (('y = "triple"', 'y = "double"'), "step 3 (times3): the tensor 'double' is an output of another step"),
    (('b = "triple"', 'b = "z"'), "step 1 (sum) depends on its own outputs"),
    (('model = "times3"', 'model = "p"'), "step 3 (p): 'p' is a pipeline, which cannot be a step"),
    (("version =", "versions ="), "steps[2].versions is not an entry; choose from: inputs, model, outputs, version"),
    (("\n[[steps]]", 'runtime = "python"\n[[steps]]'), "runtime is not an entry"),
    (("\n[[steps]]", 'outputs = ["x"]\n[[steps]]'), "outputs: no step has an output 'x'"),
)


def test_pipelines_that_do_not_fit(start: Start, tmp_path: Path) -> None:
    """triton PR#8400: names of steps have the grammar of names of models, so none leaves the repository."""
    repository = tmp_path / "repository"
    write_models(repository)
    write_pipeline(repository, DIAMOND)
    for place, (change, _) in enumerate(WRONG):
        assert change[0] in DIAMOND
        write_pipeline(repository, DIAMOND.replace(*change, 1), f"wrong{place}")
    server = start()
    reasons = {entry["name"]: entry["reason"] for entry in server.request("POST", "/v2/repository/index").json}
    for place, (_, reason) in enumerate(WRONG):
        assert reason in reasons[f"wrong{place}"]


def test_the_example_with_an_image(start: Start, tmp_path: Path) -> None:
    """Decodes and resizes an image, detects bright cells, and lists their boxes."""
    image_module = pytest.importorskip("PIL.Image")
    repository = tmp_path / "repository"
    for name in ("decode", "boxes"):
        (repository / name / "1").mkdir(parents=True)
        shutil.copy(DOCS / f"{name}.py", repository / name / "1" / "model.py")
        (repository / name / "config.toml").write_text('runtime = "python"\nthreads = 1\n')
    # The brightness of cells of 8 x 8 pixels.
    text = "g (float[1,3,64,64] x) => (float[1,1,8,8] y) <float[1,3,8,8] w> { y = Conv <strides = [8, 8]> (x, w) }"
    detector = model(text, w=np.full((1, 3, 8, 8), 1 / 192, np.float32))
    write_version(repository / "detector" / "1", detector, FAST_TO_LOAD)
    (repository / "faces").mkdir()
    shutil.copy(DOCS / "config.toml", repository / "faces" / "config.toml")
    server = start()
    server.wait_for_state(1, "READY", "faces")

    pixels = np.zeros((320, 640, 3), np.uint8)
    pixels[80:120, 160:240] = 255  # the cell of row 2 and column 2
    data = io.BytesIO()
    image_module.fromarray(pixels).save(data, "PNG")
    packed = len(data.getvalue()).to_bytes(4, "little") + data.getvalue()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(packed)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = server.request("POST", "/v2/models/faces/infer", head + packed, headers)
    assert answer.status == 200, answer.body
    boxes, scores = answer.json["outputs"]
    assert (boxes["name"], boxes["shape"], boxes["data"]) == ("boxes", [1, 4], [160, 80, 240, 120])
    np.testing.assert_allclose(scores["data"], [1], 1e-5)
    tensor["parameters"] = {"binary_data_size": 7}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    bad = server.request("POST", "/v2/models/faces/infer", head + b"\x03\0\0\0png", headers)
    assert (bad.status, "step 1 (decode): the image cannot be decoded" in bad.error) == (400, True)
