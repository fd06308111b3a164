"""Runtimes of users: a shared library in C, and a class in Python in a worker process."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.client import Answer, Server

ROOT = Path(__file__).parents[2]
Start = Callable[..., Server]

# Returns what it gets in each type; fails, ends or sleeps as its first number demands.
PROBE = """
import os, sys, threading, time
import numpy as np
class Model:
    def load(self, folder, threads, parameters):
        assert (folder / "model.py").is_file() and len(os.sched_getaffinity(0)) == threads
        self.fails = parameters.get("fails")
        if self.fails == "load":
            print("one", "two\\nthree", end="")
            raise RuntimeError("no weights\\nin the folder")
        if self.fails == "end":
            os._exit(3)
    def inputs(self):
        return [("x", "FP32", (-1, 2)), ("s", "BYTES", (-1,))]
    def outputs(self):
        return [("y", "FP32", (-1, 2)), ("t", "BYTES", (-1,)), ("pid", "INT64", (1,))]
    def run(self, inputs):
        x = inputs["x"]
        code = x[0, 0] if x.size else 0
        if code == -1: raise ValueError("x must not be -1")
        if code == -2: raise RuntimeError("it failed")
        if code == -3: os._exit(7)
        if code == -4: time.sleep(60)
        if code == -5: return {"y": x.astype(np.float64), "t": [], "pid": [0]}
        if code == -6: return {}
        if code == -7: os.write(3, b"hello")
        if code == -8:
            threading.Thread(target=time.sleep, args=(600,)).start()
            sys.exit(5)
        return {"y": x * 2, "t": [text + b"!" for text in inputs["s"]], "pid": np.array([os.getpid()])}
    def close(self):
        pass
"""


def write(repository: Path, model: str, file: str, text: str, config: str) -> None:
    (repository / model / "1").mkdir(parents=True)
    (repository / model / "config.toml").write_text(config)
    (repository / model / "1" / file).write_text(text)


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("repository")
    parameters = '[parameters]\nrun_timeout_ms = "1000"\n'
    write(repository, "probe", "model.py", PROBE, f'runtime = "python"\nthreads = 1\ninstances = 2\n{parameters}')
    server = Server(repository)
    server.wait_for_state(1, "READY", "probe")
    yield server
    server.kill()


def infer(server: Server, x: object, texts: list[str], model: str = "probe") -> Answer:
    array = np.asarray(x, np.float32).reshape(-1, 2)
    tensors = [
        {"name": "x", "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()},
        {"name": "s", "datatype": "BYTES", "shape": [len(texts)], "data": texts},
    ]
    return server.request("POST", f"/v2/models/{model}/infer", json.dumps({"inputs": tensors}))


def outputs(answer: Answer) -> dict[str, list[object]]:
    assert answer.status == 200, answer.body
    return {output["name"]: output["data"] for output in answer.json["outputs"]}


@given(rows=st.integers(0, 3000), texts=st.lists(st.text(max_size=9), max_size=5))
def test_tensors_of_a_worker(probe: Server, rows: int, texts: list[str]) -> None:
    x = np.arange(2 * rows, dtype=np.float32)
    found = outputs(infer(probe, x, texts))
    assert found["y"] == (2 * x).tolist()
    assert found["t"] == [text + "!" for text in texts]


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        (-1, 400, "x must not be -1"),
        (-2, 500, "python failed: RuntimeError: it failed"),
        (-4, 500, "python failed: it took longer than 1000 ms, so its worker was ended"),
        (-5, 500, "python failed: TypeError: output y must be of FP32, got float64"),
        (-6, 500, "python failed: TypeError: the model returned no output y"),
    ],
)
def test_a_run_that_fails_costs_its_request_only(probe: Server, code: int, status: int, message: str) -> None:
    failed = infer(probe, [code, 0], [])
    assert (failed.status, failed.error) == (status, message)
    assert outputs(infer(probe, [1, 2], []))["y"] == [2, 4]


def test_a_worker_that_is_killed_loses_no_request(probe: Server) -> None:
    """litserve PR#532, ray#42593, torchserve#2870: a worker that ended is started again, and nobody notices."""
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.extend(infer(probe, [1, 2], []) for _ in range(40))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    pid = int(str(outputs(infer(probe, [1, 2], []))["pid"][0]))
    os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 160
    assert pid not in {outputs(infer(probe, [1, 2], []))["pid"][0] for _ in range(10)}


def test_a_request_that_ends_workers_is_not_run_for_ever(start: Start, tmp_path: Path) -> None:
    """The server fails fast and is not ready while a worker does not stay up; another model is not affected."""
    for name in ("bad", "good"):
        write(tmp_path / "repository", name, "model.py", PROBE, 'runtime = "python"\nthreads = 1\n')
    server = start()
    for name in ("bad", "good"):
        server.wait_for_state(1, "READY", name)
    failed = infer(server, [-3, 0], [], "bad")
    assert (failed.status, failed.error) == (503, "a worker of 'bad' ended during the request, twice; try later")
    # It ended twice: it is started again after a second.
    assert server.request("GET", "/v2/models/bad/ready").status == 503
    server.wait_until(lambda: infer(server, [1, 2], [], "bad").status == 503)
    assert "do not start" in infer(server, [1, 2], [], "bad").error
    assert outputs(infer(server, [1, 2], [], "good"))["y"] == [2, 4]
    server.wait_until(lambda: server.request("GET", "/v2/models/bad/ready").status == 200)
    assert outputs(infer(server, [1, 2], [], "bad"))["y"] == [2, 4]
    assert server.stop() == 0


def test_a_worker_that_breaks_the_protocol(start: Start, tmp_path: Path) -> None:
    """No later request gets the answer of another one, and no process is left that lives without its socket."""
    write(tmp_path / "repository", "m", "model.py", PROBE, 'runtime = "python"\nthreads = 1\n')
    server = start()
    server.wait_for_state(1, "READY", "m")
    for code, status in ((-7, 500), (-8, 503)):
        failed = infer(server, [code, 0], [], "m")
        assert failed.status == status
        server.wait_until(lambda: infer(server, [1, 2], [], "m").status == 200)
        for value in range(5):
            assert outputs(infer(server, [value, 0], [], "m"))["y"] == [2 * value, 0]
    assert server.stop() == 0


def test_a_signal_for_the_whole_group(start: Start, tmp_path: Path) -> None:
    """A stop by systemd: SIGTERM reaches the workers too, which the server ends when their requests are computed."""
    write(tmp_path / "repository", "m", "model.py", PROBE, 'runtime = "python"\nthreads = 1\n')
    server = start()
    server.wait_for_state(1, "READY", "m")
    os.kill(int(str(outputs(infer(server, [1, 2], [], "m"))["pid"][0])), signal.SIGTERM)
    assert outputs(infer(server, [1, 2], [], "m"))["y"] == [2, 4]
    assert server.stop() == 0
    assert server.process.stderr
    assert "worker ended" not in server.process.stderr.read()


def test_a_trace_names_the_model_and_its_version(start: Start, tmp_path: Path) -> None:
    config = 'runtime = "python"\nthreads = 1\n'
    write(tmp_path / "repository", "m", "model.py", PROBE, config)
    write(tmp_path / "repository", "unloaded", "model.py", PROBE, f'{config}[parameters]\nfails = "load"\n')
    server = start()
    assert infer(server, [-2, 0], [], "m").status == 500
    assert server.stop() == 0
    assert server.process.stderr
    log = server.process.stderr.read().splitlines()
    for line in ("Traceback (most recent call last):", "RuntimeError: it failed"):
        assert f"model=m version=1 {line}" in log
    assert "model=unloaded version=1 RuntimeError: no weights" in log
    assert log[log.index("model=unloaded version=1 one two") + 1].startswith("model=unloaded version=1 three")
    traces = ("Traceback", "  File ", "RuntimeError", "three")
    assert not [line for line in log if line.startswith(traces)]


PYTHON = 'runtime = "python"\n'


@pytest.mark.parametrize(
    ("text", "config", "reason"),
    [
        (PROBE, "", 'model.py is code, which is only run if config.toml has runtime = "python"'),
        (PROBE, f'{PYTHON}[parameters]\nfails = "load"\n', "RuntimeError: no weights in the folder"),
        (
            PROBE,
            f'{PYTHON}[parameters]\nfails = "end"\n',
            "the worker ended with exit code 3 while it loaded the model",
        ),
        ("x = 1", PYTHON, "model.py has no class Model"),
        ("class Model: pass", PYTHON, "Model of model.py has no method load"),
        ("import nothing_here", PYTHON, "ModuleNotFoundError: No module named 'nothing_here'"),
        (PROBE, f"{PYTHON}batches = [1, 2]\n", "the first dimension of input 's' is fixed, or it has strings"),
        (PROBE, f'{PYTHON}[parameters]\nrun_timeout_ms = "0"\n', "must be a number from 1 to 86400000"),
    ],
)
def test_a_class_that_does_not_load(start: Start, tmp_path: Path, text: str, config: str, reason: str) -> None:
    write(tmp_path / "repository", "m", "model.py", text, config)
    server = start()
    assert reason in server.wait_for_state(1, "UNAVAILABLE", "m")


def test_the_example_in_python(start: Start, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "serving" / "words.py").read_text()
    write(tmp_path / "repository", "words", "model.py", text, 'runtime = "python"\n[parameters]\nleast = "2"\n')
    server = start()
    tensor = {"name": "text", "datatype": "BYTES", "shape": [3], "data": ["one x two", "", "x y z"]}
    answer = server.request("POST", "/v2/models/words/infer", json.dumps({"inputs": [tensor]}))
    assert answer.json["outputs"][0]["data"] == [2, 0, 0]


def compile_library(source: Path, target: Path, *options: str) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    target.parent.mkdir(parents=True, exist_ok=True)
    include = ROOT / "serving" / "cpp" / "include"
    subprocess.run([compiler, "-shared", "-fPIC", "-I", include, source, "-o", target, *options], check=True)


def threshold(server: Server, data: list[object]) -> Answer:
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(data)], "data": data}
    return server.request("POST", "/v2/models/threshold/infer", json.dumps({"inputs": [tensor]}))


def test_the_example_in_c(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "threshold"
    compile_library(ROOT / "docs" / "serving" / "threshold.c", folder / "1" / "model.so")
    (folder / "config.toml").write_text('runtime = "library"\ninstances = 2\n[parameters]\nlimit = "2.5"\n')
    server = start()
    server.wait_for_state(1, "READY", "threshold")
    assert threshold(server, [1, 2.5, 3]).json["outputs"][0]["data"] == [0, 1, 1]
    assert threshold(server, []).json["outputs"][0]["data"] == []
    failed = threshold(server, [1, "NaN"])
    assert (failed.status, failed.error) == (400, "x has a NaN at 1")
    assert server.stop() == 0


def test_a_library_that_is_replaced(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of the file runs, not that of an earlier one of its path; a library next to it is found by $ORIGIN."""
    text = (ROOT / "docs" / "serving" / "threshold.c").read_text()
    result = "y[i] = value >= ((const Model*)model)->limit;"
    begin = "  float limit = 0;\n"
    assert result in text
    assert begin in text
    text = "int hundred(void);\n" + text
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    neighbor = tmp_path / "hundred.c"
    neighbor.write_text("int hundred(void) { return 100; }")
    compile_library(neighbor, tmp_path / "libhundred.so")
    model = tmp_path / "repository" / "threshold"
    (model / "1").mkdir(parents=True)
    shutil.copyfile(tmp_path / "libhundred.so", model / "1" / "libhundred.so")

    def write_library(change: tuple[str, str]) -> None:
        (tmp_path / "model.c").write_text(text.replace(*change))
        search = (f"-L{tmp_path}", "-lhundred", "-Wl,-rpath,$ORIGIN")
        compile_library(tmp_path / "model.c", tmp_path / "model.so", *search)
        shutil.copyfile(tmp_path / "model.so", model / "1" / "model.so")  # into the same file, if there is one
        sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in model.glob("1/*.so")]
        (model / "1" / "SHA256SUMS").write_text("".join(sums))

    def answer() -> object:
        return threshold(server, [1]).json["outputs"][0]["data"]

    write_library((begin, begin + '  snprintf(error->text, error->bytes, "not yet"); return 1;\n'))
    (model / "config.toml").write_text('runtime = "library"\nthreads = 1\n')
    server = start()
    assert server.wait_for_state(1, "UNAVAILABLE", "threshold") == "not yet"
    write_library((result, "y[i] = hundred() + 1;"))
    server.wait_for_state(1, "READY", "threshold")
    assert answer() == [101]
    write_library((result, "y[i] = hundred() + 2;"))
    assert answer() == [101]  # a version is immutable
    model.rename(tmp_path / "gone")
    server.wait_until(lambda: not server.index("threshold"))
    (tmp_path / "gone").rename(model)
    server.wait_for_state(1, "READY", "threshold")
    assert answer() == [102]
    assert server.stop() == 0
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("LOOPWRIGHT_RUNTIME_ABI, load,", "99, load,"), "has no interface of version 1"),
        (("LoopwrightRuntime* loopwright_runtime", "LoopwrightRuntime* another"), "does not export loopwright_runtime"),
        (("inputs, outputs, run,", "inputs, outputs, 0,"), "lacks a function of its interface"),
        (("{-1}", "{-1}; static const int unused"), "parameters.limit must be a number, got 'much'"),
        (("*specs = kInputs;\n  return 1;", "*specs = kInputs;\n  return -1;"), "has no valid inputs"),
        (("(uint64_t)count * sizeof(int32_t)", "1"), "it gave no reason"),
        (("y[i] = value", "(void)y; (void)value; break; y[i] = value"), ""),
    ],
)
def test_a_library_that_is_wrong(start: Start, tmp_path: Path, change: tuple[str, str], reason: str) -> None:
    text = (ROOT / "docs" / "serving" / "threshold.c").read_text()
    assert change[0] in text
    source = tmp_path / "changed.c"
    source.write_text(text.replace(*change))
    folder = tmp_path / "repository" / "threshold"
    compile_library(source, folder / "1" / "model.so")
    limit = "much" if "parameters.limit" in reason else "1"
    (folder / "config.toml").write_text(f'runtime = "library"\n[parameters]\nlimit = "{limit}"\n')
    server = start()
    if not reason:  # outputs that were not written are zeros, not memory of others
        assert threshold(server, [5, 6]).json["outputs"][0]["data"] == [0, 0]
    else:
        assert reason in server.wait_for_state(1, "UNAVAILABLE", "threshold")
