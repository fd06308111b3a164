"""Peers that are not there say so; the adapter is built once, whole or not at all; answers agree with float64."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import kernels
from benchmarks.layers.layer import Layer
from benchmarks.layers.problem import Problem
from benchmarks.peers import PEERS, onednn
from benchmarks.peers.onednn import adapter
from compiler.workloads.activations import ACTIVATIONS
from compiler.workloads.operators.conv_transpose2d import dims as transposed
from compiler.workloads.reference import NUMPY_DTYPES, make_inputs, reference, tolerance
from compiler.workloads.workload import Workload

here = pytest.mark.skipif(onednn.missing() is not None, reason=f"oneDNN: {onednn.missing()}")


def right(layer: Layer, workload: Workload) -> bool:
    inputs = make_inputs(workload)
    error = np.abs(layer.run().astype(np.float64) - reference(workload, inputs))
    return bool((error <= tolerance(workload, inputs)).all())


def made(peer: str, workload: Workload, threads: int = 1) -> Layer:
    if workload.dtype == "bfloat16" and not kernels.multiplies_bfloat16():
        pytest.skip(f"this CPU has no instructions for {workload.dtype}")
    out = np.empty(workload.output_shape, NUMPY_DTYPES[workload.dtype])
    return PEERS[peer].layer(workload, make_inputs(workload), out, threads)


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "WHEELS", ("no-such-wheel",))
    assert PEERS["oneDNN"].missing() == "no-such-wheel is not installed"


def test_a_missing_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert PEERS["torch"].missing() == "torch is not installed"


@here
def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "COMPILER", "no-such-compiler")
    assert PEERS["oneDNN"].missing() == "no no-such-compiler to build its adapter with"


@pytest.mark.parametrize("epilogue", [("residual",), ("tanh",)])
def test_an_epilogue_that_torch_cannot_fuse_is_rejected(epilogue: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"the fused epilogue .* is not supported"):
        made("torch", Workload.dense(3, 4, 5, epilogue=epilogue))


def test_an_operator_without_a_torch_adapter_is_rejected() -> None:
    with pytest.raises(ValueError, match="conv2d float32 is not supported; only dense float32 is"):
        made("torch", Workload.conv2d(1, 5, 5, 3, 4, 3))


@pytest.mark.parametrize("name", ["oneDNN", "torch"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("epilogue", [(), ("bias",), ("relu",), ("bias", "gelu")])
def test_dense_agrees_with_numpy(name: str, threads: int, epilogue: tuple[str, ...]) -> None:
    if reason := PEERS[name].missing():
        pytest.skip(f"{name}: {reason}")
    workload = Workload.dense(7, 33, 65, epilogue=epilogue)
    layer = made(name, workload, threads)
    assert right(layer, workload)
    assert len(layer.time(2, 3)) == 3


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("epilogue", [(), ("bias",)])
@pytest.mark.parametrize(("bits", "block", "k"), [(4, 32, 96), (4, 16, 70), (8, 64, 128)])
def test_few_bits_agree_with_numpy(bits: int, block: int, k: int, epilogue: tuple[str, ...], threads: int) -> None:
    workload = Workload("block_dense", (3, 33, k, bits, block), epilogue=epilogue)
    layer = made("ONNX Runtime", workload, threads)
    assert right(layer, workload)
    assert len(layer.copy().time(2, 3)) == 3


def test_what_onnx_runtime_cannot_compute_is_rejected() -> None:
    with pytest.raises(ValueError, match="dense is not supported; only block_dense of 4 or 8 bits is"):
        made("ONNX Runtime", Workload.dense(3, 4, 5))
    with pytest.raises(ValueError, match="the fused epilogue relu is not supported"):
        made("ONNX Runtime", Workload("block_dense", (3, 4, 32, 4, 32), epilogue=("relu",)))


@here
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_of_onednn(activation: str) -> None:
    workload = Workload.dense(7, 33, 65, epilogue=("bias", activation))
    assert right(made("oneDNN", workload), workload)


CONVOLUTIONS = {
    "pointwise": Workload.conv2d(2, 7, 7, 17, 24, 1, epilogue=("bias", "relu")),
    "strided pointwise": Workload.conv2d(1, 8, 8, 32, 64, 1, 2, epilogue=("bias",)),
    "3x3": Workload.conv2d(1, 9, 9, 32, 48, 3, padding=1, epilogue=("bias", "relu")),
    "first layer, padded below": Workload.conv2d(1, 16, 16, 3, 32, 3, 2, (0, 0, 1, 1), epilogue=("bias", "relu6")),
    "dilated": Workload.conv2d(1, 12, 12, 8, 16, 3, padding=2, dilation=2),
    "grouped": Workload.conv2d(1, 9, 9, 32, 48, 3, padding=1, groups=4, epilogue=("bias",)),
    "depthwise": Workload.conv2d(1, 14, 14, 40, 40, 5, 2, (1, 1, 2, 2), groups=40, epilogue=("bias", "relu6")),
}


@here
@pytest.mark.parametrize("epilogue", [(), ("bias", "relu"), ("bias", "residual", "sigmoid")])
@pytest.mark.parametrize(
    "sizes",
    [
        transposed(1, 6, 7, 24, 17, 2, 2),
        transposed(2, 6, 7, 16, 32, 4, 2, padding=1),
        transposed(1, 6, 7, 16, 3, 3, 2, padding=1, more=1),
    ],
)
def test_transposed_convolution_agrees_with_numpy(sizes: tuple[int, ...], epilogue: tuple[str, ...]) -> None:
    workload = Workload("conv_transpose2d", sizes, epilogue=epilogue)
    assert right(made("oneDNN", workload), workload)


@here
@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_agrees_with_numpy(name: str, dtype: str) -> None:
    plain = CONVOLUTIONS[name]
    workload = Workload(plain.op, plain.dims, dtype, plain.epilogue)
    assert right(made("oneDNN", workload), workload)


@here
@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
@pytest.mark.parametrize(
    "workload",
    [
        Workload.dense(7, 33, 65, epilogue=("bias", "residual")),
        Workload.conv2d(1, 9, 9, 32, 48, 3, padding=1, epilogue=("bias", "residual", "relu")),
        Workload.conv2d(1, 7, 7, 24, 40, 1, epilogue=("bias", "residual")),
    ],
)
def test_a_residual_is_added_once_however_often_it_ran_before(workload: Workload, dtype: str) -> None:
    workload = Workload(workload.op, workload.dims, dtype, workload.epilogue)
    layer = made("oneDNN", workload)
    layer.time(3, 2)
    assert right(layer, workload)


@here
def test_a_workload_without_a_onednn_primitive_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("could not create a primitive descriptor for an inner product")

    monkeypatch.setitem(onednn._OPERATORS, "dense", fail)
    with pytest.raises(ValueError, match="oneDNN has no primitive for dense 7x33x65"):
        made("oneDNN", Workload.dense(7, 33, 65))


ROWS = {
    "softmax": Workload("softmax", (17, 33)),
    "layer_norm": Workload("layer_norm", (17, 33)),
    "add": Workload("add", (17, 33)),
    "max_pool2d": Workload.max_pool2d((2, 9, 11, 24), 3, stride=2, padding=1),
    "avg_pool2d": Workload.avg_pool2d((2, 7, 5, 40), (7, 5)),
}


@here
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("op", ROWS)
def test_row_operators_agree_with_numpy(op: str, threads: int) -> None:
    problem = Problem(ROWS[op])
    problem.check(onednn.layer(ROWS[op], problem.inputs, problem.out, threads))


@here
@pytest.mark.parametrize("threads", [1, 2])
def test_attention_agrees_with_numpy(threads: int) -> None:
    workload = Workload.attention(2, 3, 20, 30, 16)
    assert right(made("oneDNN", workload, threads), workload)


@pytest.mark.parametrize("name", ["oneDNN", "torch"])
def test_a_copy_computes_the_same_without_the_original(name: str) -> None:
    if reason := PEERS[name].missing():
        pytest.skip(f"{name}: {reason}")
    workload = Workload.dense(7, 33, 65, epilogue=("bias",))
    assert right(made(name, workload).copy(), workload)


@here
def test_what_does_not_compile_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "broken.cc"
    source.write_text("this is not C++")
    with pytest.raises(RuntimeError, match="the oneDNN adapter does not compile"):
        adapter.compile_into(tmp_path / "build" / "adapter.so", [adapter.COMPILER, "-shared", str(source)])
    assert list((tmp_path / "build").iterdir()) == []
