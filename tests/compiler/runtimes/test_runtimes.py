"""Each installed runtime against float64 arithmetic and on a published model, through the protocol."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import compiler
import graph_passes
from benchmarks import models
from compiler import runtimes
from compiler.measure.answers import agree
from compiler.program.random_inputs import random_inputs
from compiler.program.tensor_spec import TensorSpec
from compiler.runtimes import OURS, RUNTIMES, Runtime, RuntimeUnavailable, ours
from compiler.runtimes.onnxruntime import session
from compiler.workloads.target import usable_cores

ROOT = Path(__file__).parents[3]
EPSILON = float(np.finfo(np.float32).eps)
NAMES = [pytest.param(name, marks=pytest.mark.tvm) if name in (OURS, "tvm") else name for name in RUNTIMES]


def bound(name: str, roundings: int) -> float:
    """The largest difference that rounding explains. Of bfloat16, the few roundings of factors and outputs dominate."""
    return 4 * 2**-8 if name == "openvino-bfloat16" else roundings * EPSILON


def skip_if_missing(name: str) -> None:
    missing = set(RUNTIMES[name].PACKAGES) - {distribution.name for distribution in importlib.metadata.distributions()}
    if missing:
        pytest.skip(f"not installed: {', '.join(sorted(missing))}")


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"filter": (8, 3, 3, 3), "filter_bias": (8,), "weight": (5, 8), "bias": (5,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def small_model() -> onnx.ModelProto:
    """Two outputs, the last value of the graph first; names as other frameworks write them."""
    nodes = [
        helper.make_node("Conv", ["gpu_0/x", "filter", "filter_bias"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["features/relu:0"]),
        helper.make_node("GlobalAveragePool", ["features/relu:0"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "weight", "bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("gpu_0/x", TensorProto.FLOAT, (1, 3, 9, 7))],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 5)),
            helper.make_tensor_value_info("features/relu:0", TensorProto.FLOAT, (1, 8, 9, 7)),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights().items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def expected(x: np.ndarray) -> dict[str, np.ndarray]:
    w = {name: array.astype(np.float64) for name, array in weights().items()}
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    convolved = np.einsum("ncyxhw,ochw->noyx", windows, w["filter"]) + w["filter_bias"][:, None, None]
    features = np.maximum(convolved, 0)
    return {"logits": features.mean(axis=(2, 3)) @ w["weight"].T + w["bias"], "features/relu:0": features}


def assert_right(runtime: Runtime, seed: int = 0) -> dict[str, np.ndarray]:
    inputs = random_inputs(runtime.inputs, seed)
    answers = runtime.run(inputs)
    # Sums of 27 terms, in some runtimes by Winograd's algorithm, which is ten times less exact than plain sums.
    assert agree(answers, expected(inputs["gpu_0/x"])) < bound(runtime.name, 100)
    return answers


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_runtime_computes_the_model(name: str, threads: int) -> None:
    skip_if_missing(name)
    with runtimes.load(name, small_model(), threads) as runtime:
        assert runtime.name == name
        assert runtime.version == importlib.metadata.version((*RUNTIMES[name].PACKAGES, "loopwright")[0])
        assert runtime.inputs == (TensorSpec("gpu_0/x", "float32", (1, 3, 9, 7)),)
        assert runtime.outputs == (
            TensorSpec("logits", "float32", (1, 5)),
            TensorSpec("features/relu:0", "float32", (1, 8, 9, 7)),
        )
        answers = assert_right(runtime)
        assert {output: answer.dtype.name for output, answer in answers.items()} == {
            spec.name: spec.dtype for spec in runtime.outputs
        }
        kept = {output: answer.copy() for output, answer in answers.items()}
        assert_right(runtime, seed=1)
        assert agree(answers, kept) == 0, "the next run has overwritten the answers"
    with pytest.raises(RuntimeError, match=f"the model is closed; load it into {name} again"):
        runtime.run({})


@pytest.mark.parametrize("name", NAMES)
def test_runtimes_agree_with_onnx_runtime(name: str) -> None:
    for needed in ("onnxruntime", name):
        skip_if_missing(needed)
    if reason := models.missing("mnist-cnn"):
        pytest.skip(reason)
    shapes = models.MODELS["mnist-cnn"].input_shapes
    frozen = graph_passes.optimize(models.load("mnist-cnn"), shapes, passes=("freeze_shapes",)).model
    baseline = runtimes.load("onnxruntime", frozen, 1)
    inputs = random_inputs(baseline.inputs)
    assert agree(runtimes.load(name, frozen, 1).run(inputs), baseline.run(inputs)) < bound(name, 1000)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_with_function_calls(name: str) -> None:
    skip_if_missing(name)
    if name == OURS:
        pytest.skip("our runtime optimizes models itself")
    optimized = graph_passes.optimize(small_model()).model
    assert optimized.functions
    assert_right(runtimes.load(name, optimized, 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_and_all_cores(name: str, tmp_path: Path) -> None:
    skip_if_missing(name)
    model = small_model()
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0, location="weights")
    assert_right(runtimes.load(name, tmp_path / "model.onnx"))


@pytest.mark.parametrize("name", NAMES)
def test_an_unsupported_model_is_rejected_in_one_line(name: str) -> None:
    skip_if_missing(name)
    model = small_model()
    model.graph.node[1].op_type = "Rectify"
    with pytest.raises(RuntimeUnavailable, match=r"(cannot|has no).*") as raised:
        runtimes.load(name, model, 1)
    assert "\n" not in str(raised.value)


def test_a_missing_runtime_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RUNTIMES["ncnn"], "PACKAGES", ("not-a-package", "nor-this"))
    with pytest.raises(RuntimeUnavailable, match="ncnn cannot run here: pip install not-a-package nor-this"):
        runtimes.load("ncnn", small_model(), 1)


def test_invalid_arguments_are_rejected(tmp_path: Path) -> None:
    known = "loopwright, onnxruntime, openvino, openvino-bfloat16, ncnn, tvm"
    with pytest.raises(ValueError, match=f"there is no runtime 'tensorrt'; choose from: {known}"):
        runtimes.load("tensorrt", small_model(), 1)
    with pytest.raises(ValueError, match="threads must be at least 1"):
        runtimes.load("onnxruntime", small_model(), 0)
    skip_if_missing("onnxruntime")
    with pytest.raises(RuntimeUnavailable, match=r"onnxruntime cannot load the model: cannot read .*: No such file"):
        runtimes.load("onnxruntime", tmp_path / "missing.onnx", 1)


def test_onnx_runtime_without_its_optimizations_runs_function_calls() -> None:
    skip_if_missing("onnxruntime")
    assert_right(session(graph_passes.optimize(small_model()).model, 1, optimized=False))


def test_weights_that_are_inputs_too_are_left_out_of_the_inputs() -> None:
    skip_if_missing("onnxruntime")
    model = small_model()
    model.graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in weights().items()
    )
    assert [spec.name for spec in runtimes.load("onnxruntime", model, 1).inputs] == ["gpu_0/x"]


def test_a_dimension_that_is_not_fixed_is_minus_one() -> None:
    skip_if_missing("onnxruntime")
    model = small_model()
    for value in (model.graph.input[0], *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    loaded = runtimes.load("onnxruntime", model, 1)
    assert [spec.shape for spec in (*loaded.inputs, *loaded.outputs)] == [(-1, 3, 9, 7), (-1, 5), (-1, 8, 9, 7)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "small.lw"
    compiler.build(small_model(), threads=1).save(path)
    return path


@pytest.mark.tvm
def test_a_saved_model(saved: Path) -> None:
    for threads in (None, 1, min(2, usable_cores())):
        assert_right(runtimes.load(OURS, saved, threads))
    with pytest.raises(RuntimeUnavailable, match=r"threads must be between 1 and \d+ \(the cores .*\), got 100000$"):
        runtimes.load(OURS, saved, 100_000)


@pytest.mark.tvm
def test_a_compiled_model(saved: Path) -> None:
    found = compiler.load(saved)
    assert isinstance(found, compiler.CompiledModel)
    assert_right(ours.of(found))


@pytest.mark.tvm
def test_a_saved_model_needs_neither_onnx_nor_the_packages_of_other_runtimes(saved: Path) -> None:
    program = """
import sys
for name in "onnx onnx_ir onnxscript tvm torch onnxruntime openvino ncnn rich".split():
    sys.modules[name] = None
from compiler import runtimes
from compiler.program.random_inputs import random_inputs
with runtimes.load("loopwright", sys.argv[1]) as runtime:
    print(*runtime.run(random_inputs(runtime.inputs)))
"""
    process = subprocess.run(
        [sys.executable, "-c", program, str(saved)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert process.stdout == "logits features/relu:0\n"
