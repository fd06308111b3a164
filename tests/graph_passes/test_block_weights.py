"""Products with weights of few bits become layers with the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graph_passes
from tests.graph_passes import oracle
from tests.graph_passes.models import operators

RNG = np.random.default_rng(0)
OPSET = 21


def made(nodes: list[onnx.NodeProto], constants: Mapping[str, Any], rank: int = 3, k: int = 64) -> onnx.ModelProto:
    """Returns a model with the input x of float32 and the output y; constants become initializers."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [*[2] * (rank - 1), k])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors), opset_imports=opsets, ir_version=10)


def nbits(bits: int = 4, k: int = 64, size: int = 32, **more: Any) -> onnx.ModelProto:
    n, blocks = 5, -(-k // size)
    names = ["x", "w", "s", *(name if name in more else "" for name in ("z", "order", "b"))]
    node = helper.make_node("MatMulNBits", names, ["y"], domain="com.microsoft", K=k, N=n, bits=bits, block_size=size)
    weight = RNG.integers(0, 256, (n, blocks, size * bits // 8), dtype=np.uint8)
    scales = (RNG.random((n, blocks)) + 0.5).astype(np.float32)
    return made([node], {"w": weight, "s": scales, **more}, k=k)


def dequantized(op: str, weight: np.ndarray, scales: np.ndarray, zeros: np.ndarray | None, **attributes: Any) -> Any:
    """Returns a model of a product whose weight (k, n) is dequantized; ``op`` is MatMul, Gemm or "transposed"."""
    names = ["w", "s"] + ([] if zeros is None else ["z"])
    nodes = [helper.make_node("DequantizeLinear", names, ["d"], **attributes)]
    given = {"w": weight, "s": scales} | ({} if zeros is None else {"z": zeros})
    if op == "transposed":
        nodes += [
            helper.make_node("Transpose", ["d"], ["t"], perm=[1, 0]),
            helper.make_node("MatMul", ["x", "t"], ["y"]),
        ]
        return made(nodes, given, k=weight.shape[1])
    if op == "Gemm":
        nodes.append(helper.make_node("Gemm", ["x", "d", "b"], ["y"], transB=1))
        return made(nodes, {"b": RNG.standard_normal(len(weight)).astype("f4"), **given}, 2, weight.shape[1])
    return made([*nodes, helper.make_node("MatMul", ["x", "d"], ["y"])], given, k=len(weight))


def many_rows(before: onnx.ModelProto) -> onnx.ModelProto:
    before.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    return before


def rewritten(before: onnx.ModelProto) -> Mapping[str, int]:
    """Runs the pass. Checks that the result is valid, has the same answers and does not change again."""
    after = graph_passes.optimize(before, passes=["block_weights"]).model
    onnx.checker.check_model(after, full_check=True)
    inputs = oracle.random_inputs(before, 1)
    for want, found in zip(oracle.run(before, inputs), oracle.run(after, inputs), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5 * float(np.abs(want).max()))
    assert operators(graph_passes.optimize(after, passes=["block_weights"]).model) == operators(after)
    return operators(after)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("k", [64, 48, 70])
@pytest.mark.parametrize("with_zeros", [False, True])
def test_a_product_of_few_bits_becomes_one_layer(bits: int, k: int, with_zeros: bool) -> None:
    blocks = -(-k // 32)
    more: dict[str, Any] = (
        {"z": RNG.integers(0, 256, (5, -(-blocks * bits // 8)), dtype=np.uint8)} if with_zeros else {}
    )
    assert rewritten(nbits(bits, k, **more)) == {"BlockMatMul": 1}


def test_a_bias_becomes_part_of_the_layer() -> None:
    assert rewritten(nbits(b=RNG.standard_normal(5).astype("f4"))) == {"BlockMatMul_bias": 1}


INT8 = RNG.integers(-128, 128, (64, 6), dtype=np.int8)
SCALES = (RNG.random(6) + 0.5).astype(np.float32)


@pytest.mark.parametrize(
    "before",
    [
        dequantized("MatMul", INT8, SCALES, None),
        dequantized("MatMul", INT8, SCALES, RNG.integers(-9, 9, 6, dtype=np.int8)),
        dequantized("MatMul", INT8, SCALES[:1].reshape(()), None),
        dequantized("MatMul", INT8.view(np.uint8), SCALES, np.full(6, 128, np.uint8)),
        dequantized("transposed", INT8.T.copy(), SCALES, None, axis=0),
        dequantized("Gemm", INT8.T.copy(), SCALES, None, axis=0),
        dequantized("MatMul", INT8, (RNG.random((2, 6)) + 0.5).astype("f4"), None, axis=0, block_size=32),
        dequantized("transposed", INT8.T.copy(), (RNG.random((6, 4)) + 0.5).astype("f4"), None, axis=1, block_size=16),
    ],
    ids=["per column", "zero points", "one scale", "uint8", "transposed", "Gemm", "blocks", "blocks, transposed"],
)
def test_a_dequantized_weight_becomes_part_of_a_layer(before: onnx.ModelProto) -> None:
    assert set(rewritten(before)) <= {"BlockMatMul", "BlockMatMul_bias"}


def test_numbers_of_four_bits() -> None:
    weight = helper.make_tensor("w", TensorProto.INT4, [64, 6], (INT8 >> 4).reshape(-1).tolist())
    before = dequantized("MatMul", INT8, (RNG.random((2, 6)) + 0.5).astype("f4"), None, axis=0, block_size=32)
    before.graph.initializer[0].CopyFrom(weight)
    assert rewritten(before) == {"BlockMatMul": 1}


@pytest.mark.parametrize(
    "before",
    [
        dequantized("MatMul", INT8, (RNG.random(64) + 0.5).astype("f4"), None, axis=0),  # a scale per row
        nbits(z=RNG.random((5, 2)).astype("f4")),  # zero points that are not whole
        many_rows(dequantized("MatMul", INT8, SCALES, None)),
        nbits(order=(np.arange(64) // 32).astype(np.int32)),
        dequantized("MatMul", INT8, SCALES, None, axis=5),
        dequantized("MatMul", INT8[:, :0], SCALES[:0], None),
    ],
    ids=["scales of rows", "zero points of floats", "8 bits, many rows", "order of groups", "no such axis", "empty"],
)
def test_other_forms_stay(before: onnx.ModelProto) -> None:
    assert "BlockMatMul" not in operators(graph_passes.optimize(before, passes=["block_weights"]).model)


def test_a_block_may_be_longer_than_a_column() -> None:
    """The memory that a layer takes does not grow with it."""
    scales = (RNG.random((1, 6)) + 0.5).astype(np.float32)
    before = dequantized("MatMul", INT8, scales, None, axis=0, block_size=2**40)
    after = graph_passes.optimize(before, passes=["block_weights"]).model
    assert operators(after) == {"BlockMatMul": 1}
    assert sum(len(tensor.raw_data) for tensor in after.graph.initializer) < 1000


def test_quantized_inputs_are_left_to_integer_layers() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "q", "o"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "q", "o"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
        helper.make_node("MatMul", ["xd", "d"], ["y"]),
    ]
    before = made(nodes, {"w": INT8, "s": SCALES, "q": np.float32(0.1), "o": np.uint8(128)})
    assert "BlockMatMul" not in operators(graph_passes.optimize(before, passes=["block_weights"]).model)
