"""Products with weights of few bits compute the same outputs as ONNX Runtime, and stay small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import compiler
from tests.compiler.models import kernels_of
from tests.graph_passes import oracle

RNG = np.random.default_rng(0)
N, K = 40, 96


def published(rows: int | str, bits: int, with_zeros: bool = False) -> onnx.ModelProto:
    """Returns y = Relu(x · Wᵀ + bias) + x · Vᵀ, with W and V of few bits."""
    tensors, nodes = [numpy_helper.from_array(RNG.standard_normal(N).astype("f4"), "bias")], []
    for weight in ("w", "v"):
        packed = RNG.integers(0, 256, (N, K // 32, 4 * bits), dtype=np.uint8)
        scales = ((RNG.random((N, K // 32)) + 0.5) / 16).astype("f4")
        zeros = RNG.integers(0, 256, (N, -(-K // 32 * bits // 8)), dtype=np.uint8)
        names = ["x", weight, f"{weight}_scale", f"{weight}_zero" if with_zeros else ""]
        tensors += [
            numpy_helper.from_array(array, name) for name, array in zip(names[1:3], (packed, scales), strict=True)
        ]
        tensors += [numpy_helper.from_array(zeros, names[3])] if with_zeros else []
        attributes: Any = {"N": N, "K": K, "bits": bits, "block_size": 32}
        nodes.append(helper.make_node("MatMulNBits", names, [f"{weight}_y"], domain="com.microsoft", **attributes))
    nodes.append(helper.make_node("Add", ["w_y", "bias"], ["a"]))
    nodes += [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Add", ["v_y", "r"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, K])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, N])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors), opset_imports=opsets, ir_version=10)


def assert_agrees(found: compiler.CompiledModel | compiler.RangedModel, model: onnx.ModelProto, rows: int) -> None:
    x = RNG.standard_normal((rows, K)).astype("f4")
    (want,) = oracle.run(model, {"x": x})
    np.testing.assert_allclose(found.run({"x": x})["y"], want, rtol=1e-4, atol=1e-4)


@pytest.mark.tvm
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("rows", "bits", "with_zeros"), [(1, 4, False), (3, 8, True), (9, 4, True)])
def test_it_answers_as_onnx_runtime(rows: int, bits: int, with_zeros: bool, threads: int) -> None:
    model = published(rows, bits, with_zeros)
    found = compiler.build(model, threads=threads)
    assert kernels_of(found) == {"block_dense": 2}
    workloads = [layer.workloads[0] for layer in found.layers]
    assert {workload.epilogue for workload in workloads} == {("bias", "relu"), ("residual",)}
    assert_agrees(found, model, rows)


@pytest.mark.tvm
def test_a_saved_model_holds_the_numbers(tmp_path: Path) -> None:
    model = published(2, 4)
    compiler.build(model, threads=1).save(tmp_path / "model.lw")
    scales_and_bias = 4 * (2 * N * K // 32 + N)
    assert (tmp_path / "model.lw" / "weights.bin").stat().st_size == pytest.approx(
        2 * N * K / 2 + scales_and_bias, abs=64
    )
    assert_agrees(compiler.load(tmp_path / "model.lw"), model, 2)


@pytest.mark.tvm
def test_a_range_of_rows(tmp_path: Path) -> None:
    model = published("rows", 4, with_zeros=True)
    compiler.build(model, {"x": [range(1, 12), K]}, threads=1).save(tmp_path / "model.lw")
    found = compiler.load(tmp_path / "model.lw")
    for rows in (1, 4, 5, 11):
        assert_agrees(found, model, rows)


@pytest.mark.tvm
@pytest.mark.parametrize("rows", [range(1, 5), range(1, 12)], ids=str)
def test_a_range_of_rows_with_a_scale_per_column(rows: range) -> None:
    """Whether it is a layer of few bits depends on the rows, which must not differ within a program."""
    tensors = [
        numpy_helper.from_array(RNG.integers(-128, 128, (K, N), dtype=np.int8), "w"),
        numpy_helper.from_array(((RNG.random(N) + 0.5) / 1024).astype("f4"), "scale"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["d"], axis=1),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", K])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", N])
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    found = compiler.build(model, {"x": [rows, K]}, threads=1)
    for count in (rows[0], rows[-1]):
        assert_agrees(found, model, count)
