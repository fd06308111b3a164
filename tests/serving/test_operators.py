"""Operators of users over HTTP: models that the server compiles, saved models, and configurations that are wrong."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import compiler
from tests.serving.client import Server
from tests.serving.models import write_version
from tests.user_operators.libraries import EXAMPLE, ONNX_RUNTIME, REACHED, expected, library, network

pytestmark = pytest.mark.tvm


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(EXAMPLE, tmp_path_factory.mktemp("operators"))


def test_models_with_an_operator_answer(start: Callable[..., Server], example: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    config = 'operators = ["libop.so"]\nthreads = 1\n'
    write_version(repository / "onnx" / "1", network(), config)
    write_version(repository / "batches" / "1", network("rows,8"), config + "batches = [1, 2]\n")
    (repository / "saved" / "1").mkdir(parents=True)
    compiler.build(network(), threads=1, operators=[example]).save(repository / "saved" / "1" / "model.lw")
    (repository / "saved" / "config.toml").write_text(config.replace("libop.so", str(example)))
    for name in ("onnx", "batches"):
        shutil.copy(example, repository / name / "libop.so")
    server = start()
    x = np.random.default_rng(1).standard_normal((2, 8)).astype(np.float32)
    for name in ("onnx", "batches", "saved"):
        server.wait_for_state(1, "READY", name, secs=120)
        answer = server.infer(x, name)
        assert answer.status == 200, answer.body
        found = np.array(answer.json["outputs"][0]["data"]).reshape(2, 8)
        np.testing.assert_allclose(found, expected(network(), x), rtol=1e-4, atol=1e-6)


WRONG = {
    'operators = "libop.so"': "operators must list paths of libraries",
    "operators = []": "operators must list paths of libraries",
    "operators = [1]": "operators must list paths of libraries",
    'operators = ["none.so"]': "none.so: there is no such file",
    "": "it is the operator com.example::SoftThreshold, which no given library has",
    'operators = ["libop.so"]\nruntime = "openvino"': "operators are for the runtimes loopwright and onnxruntime",
    'operators = ["libcustom.so"]\nruntime = "onnxruntime"': REACHED,
}


def test_configurations_that_are_wrong(start: Callable[..., Server], example: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    repository = tmp_path / "repository"
    saved = compiler.build(network(), threads=1, operators=[example])
    custom = library(ONNX_RUNTIME, tmp_path)
    for place, config in enumerate(WRONG):
        folder = repository / f"m{place}" / "1"
        write_version(folder, network(), config)
        shutil.copy(example, folder.parent / "libop.so")
        shutil.copy(custom, folder.parent / "libcustom.so")
        if "runtime" not in config:
            (folder / "model.onnx").unlink()
            (folder / "SHA256SUMS").unlink()
            saved.save(folder / "model.lw")
    server = start()
    for place, reason in enumerate(WRONG.values()):
        end = time.monotonic() + 20
        while reason not in (found := str(server.index(f"m{place}"))):
            assert time.monotonic() < end, found
            time.sleep(0.02)
