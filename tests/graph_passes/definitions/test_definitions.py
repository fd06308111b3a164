"""Definitions of operators that ONNX does not define compute what ONNX Runtime computes.

The operators that ONNX Runtime has no kernel for on CPUs are compared with NumPy.
"""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import graph_passes
from graph_passes.definitions import DEFINITIONS, SINCE, oldest_opset
from graph_passes.patterns.activations import erf
from tests.graph_passes import oracle
from tests.graph_passes.definitions.drawn import DRAWN, MICROSOFT, Drawn

WITHOUT_KERNEL = {"BiasAdd", "BiasSoftmax", "BiasSplitGelu", "GroupNormalization", "QLinearReduceMean"}
SAME = {"TransposeMatMul": "FusedMatMul"}  # the former name of an operator
OPSETS = (7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19, 21, 22, 23)
EPSILON = float(np.finfo(np.float32).eps)


def model_of(call: Drawn, opset: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Returns a model with this node alone, and its inputs."""
    names = ["" if array is None else f"in{place}" for place, array in enumerate(call.inputs)]
    arrays = {name: array for name, array in zip(names, call.inputs, strict=True) if array is not None}
    constants = {names[place] for place in call.constants if place < len(names)}
    outputs = ["" if place in call.unused else f"out{place}" for place in range(call.outputs)]
    node = helper.make_node(call.op_type, names, outputs, "node", domain=call.domain, **call.attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in arrays.items()
            if name not in constants
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs if name],
        [
            numpy_helper.from_array(np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape), name)
            for name in sorted(constants)
            if name in arrays
        ],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    found = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return found, {name: array for name, array in arrays.items() if name not in constants}


def opsets_of(call: Drawn) -> list[int]:
    """Returns the opsets in which a call is defined."""
    oldest, newest = oldest_opset(call.domain, call.op_type), SINCE.get((call.domain, call.op_type), 99)
    oldest = 11 if call.attributes.get("activation") == "Clip" else oldest
    return [opset for opset in OPSETS if oldest <= opset < newest]


def expanded(model: onnx.ModelProto) -> onnx.ModelProto:
    found = graph_passes.optimize(model, passes=["expand_functions"])
    left = [node for node in found.model.graph.node if node.domain]
    remarks = [str(remark) for report in found.reports for remark in report.remarks]
    assert not left, f"{left[0].op_type} is not expanded: {remarks}"
    assert not found.model.functions
    onnx.checker.check_model(found.model)
    return found.model


def assert_close(got: np.ndarray, want: np.ndarray, call: Drawn) -> None:
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
    if want.dtype.kind == "f":  # sums of at most 100 products of such sizes
        assert difference.max(initial=0) <= 64 * EPSILON * max(call.scale, np.abs(want).max(initial=0))
    else:
        assert difference.max(initial=0) <= (1 if call.steps else 0)


def test_every_operator_is_tested() -> None:
    assert {op_type for _, op_type in DEFINITIONS} == DRAWN.keys() | WITHOUT_KERNEL | SAME.keys()


@pytest.mark.parametrize("op_type", DRAWN)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_definitions(op_type: str, data: st.DataObject) -> None:
    call: Drawn = DRAWN[op_type](data.draw)
    model, inputs = model_of(call, data.draw(st.sampled_from(opsets_of(call))))
    want = oracle.run(model, inputs)
    got = oracle.run(expanded(model), inputs)
    for one, other in zip(got, want, strict=True):
        assert_close(one, other, call)


@pytest.mark.parametrize("op_type", DRAWN)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_calls_that_are_not_valid_are_kept_or_expanded(op_type: str, data: st.DataObject) -> None:
    """Models are not trusted: other ranks, sizes and attributes must not raise any other error."""
    call: Drawn = DRAWN[op_type](data.draw)
    inputs = list(call.inputs)
    for place, array in enumerate(inputs):
        change = data.draw(st.sampled_from(["nothing", "nothing", "absent", "scalar", "vector", "more"]))
        if array is not None and change != "nothing":
            others = {"absent": None, "scalar": array.reshape(-1)[:1].reshape(()), "vector": array.reshape(-1)}
            inputs[place] = others.get(change, array[None])
    odd = {int: [0, -1, 99], float: [0.0, float("nan"), float("inf")], str: ['x" <', ""], list: [[0], [-1] * 9]}
    attributes = {
        name: data.draw(st.sampled_from([value, *odd[type(value)]])) for name, value in call.attributes.items()
    }
    model, _ = model_of(dataclasses.replace(call, inputs=inputs, attributes=attributes), opsets_of(call)[-1])
    with contextlib.suppress(ValueError):  # of the model's check
        graph_passes.optimize(model, passes=["expand_functions"])


def _answer(call: Drawn, opset: int = 18) -> np.ndarray:
    model, inputs = model_of(call, opset)
    return oracle.run(expanded(model), inputs)[0]


def _drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("opset", [11, 18])
def test_bias_add(opset: int) -> None:
    x, bias, skip = _drawn(2, 3, 4), _drawn(4, seed=1), _drawn(2, 3, 4, seed=2)
    got = _answer(Drawn("BiasAdd", [x, bias, skip]), opset)
    np.testing.assert_allclose(got, x.astype(np.float64) + bias + skip, rtol=0, atol=4 * EPSILON)


@pytest.mark.parametrize("opset", [11, 18])
def test_bias_split_gelu(opset: int) -> None:
    x, bias = _drawn(2, 3, 8), _drawn(8, seed=1)
    left, right = np.split(x.astype(np.float64) + bias, 2, -1)
    want = left * 0.5 * right * (1 + erf(right / np.sqrt(2)))
    np.testing.assert_allclose(_answer(Drawn("BiasSplitGelu", [x, bias]), opset), want, rtol=0, atol=64 * EPSILON)


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize(("axis", "shape", "of_bias"), [(3, (2, 3, 4, 5), (2, 1, 1, 5)), (1, (2, 3, 4), (1, 3, 4))])
def test_bias_softmax(opset: int, axis: int, shape: tuple[int, ...], of_bias: tuple[int, ...]) -> None:
    x, bias = _drawn(*shape), _drawn(*of_bias, seed=1)
    rows = (x.astype(np.float64) + bias).reshape(int(np.prod(shape[:axis])), -1)
    powers = np.exp(rows - rows.max(-1, keepdims=True))
    want = (powers / powers.sum(-1, keepdims=True)).reshape(shape)
    got = _answer(Drawn("BiasSoftmax", [x, bias], {"axis": axis, "is_inner_broadcast": 0}), opset)
    np.testing.assert_allclose(got, want, rtol=0, atol=16 * EPSILON)


@pytest.mark.parametrize("sizes", [(3,), (6,)])
@pytest.mark.parametrize("shape", [(2, 6, 4, 5), (1, 6, 3), (2, 6)])
def test_group_normalization_18(sizes: tuple[int], shape: tuple[int, ...]) -> None:
    """Scale and bias have one element per group, or one per channel."""
    x, scale, bias = 5 + _drawn(*shape), _drawn(*sizes, seed=1), _drawn(*sizes, seed=2)
    groups = x.astype(np.float64).reshape(shape[0], 3, -1)
    normal = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 0.25)
    along = (1, 6, *[1] * (len(shape) - 2))
    factor, offset = (np.repeat(p.astype(np.float64), 6 // sizes[0]).reshape(along) for p in (scale, bias))
    attributes = {"num_groups": 3, "epsilon": 0.25}
    got = _answer(Drawn("GroupNormalization", [x, scale, bias], attributes, domain=""))
    np.testing.assert_allclose(got, normal.reshape(shape) * factor + offset, rtol=0, atol=128 * EPSILON)


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize("keep", [0, 1])
def test_qlinear_reduce_mean(opset: int, keep: int) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 4)).astype(np.uint8)
    scales = [np.asarray(value, np.float32) for value in (0.03125, 0.0625)]
    zeros = [np.asarray(value, np.uint8) for value in (100, 7)]
    real = (x.astype(np.float64) - 100) * 0.03125
    want = np.clip(np.round(real.mean((0, 2), keepdims=bool(keep)) / 0.0625) + 7, 0, 255)
    inputs = [x, scales[0], zeros[0], scales[1], zeros[1]]
    got = _answer(Drawn("QLinearReduceMean", inputs, {"axes": [0, 2], "keepdims": keep}), opset)
    assert got.shape == want.shape
    assert np.abs(got.astype(np.float64) - want).max() <= 1


def test_former_name_of_fused_matmul() -> None:
    a, b = _drawn(4, 2), _drawn(4, 3, seed=1)
    got = _answer(Drawn("TransposeMatMul", [a, b], {"transA": 1, "alpha": 0.5}))
    np.testing.assert_allclose(got, 0.5 * a.astype(np.float64).T @ b, rtol=0, atol=16 * EPSILON)


REJECTED = {
    "a mask of shape (1, 1, 4, 4) is not supported": Drawn(
        "Attention",
        [_drawn(1, 4, 2), _drawn(2, 6), _drawn(6), np.ones((1, 1, 4, 4), np.int32)],
        {"num_heads": 1},
    ),
    "packed queries, keys and values": Drawn("MultiHeadAttention", [_drawn(1, 4, 1, 3, 2)], {"num_heads": 1}),
    "weights of 3 bits": Drawn(
        "MatMulNBits",
        [_drawn(1, 16), np.zeros((1, 1, 6), np.uint8), _drawn(1, 1)],
        {"K": 16, "N": 1, "bits": 3, "block_size": 16},
    ),
    "needs opset 11; the model has 10": Drawn("CDist", [_drawn(2, 2), _drawn(2, 2)]),
}


@pytest.mark.parametrize("reason", REJECTED)
def test_other_forms_stay_with_a_remark(reason: str) -> None:
    call = REJECTED[reason]
    model, _ = model_of(call, 10 if call.op_type == "CDist" else 18)
    found = graph_passes.optimize(model, passes=["expand_functions"])
    assert [node.op_type for node in found.model.graph.node] == [call.op_type]
    assert reason in str(found.reports[0].remarks[0])


def test_layers_follow_each_other() -> None:
    """The type and shape of a call's input may be known only once another call is expanded."""
    text = """g (float[1,4,8] x, float[1,4,8] s, float[8] g, float[8,24] w, float[24] b) => (float[1,4,8] y) {
        a = com.microsoft.SkipLayerNormalization (x, s, g)
        h = com.microsoft.Attention <num_heads = 2> (a, w, b)
        t = com.microsoft.SkipLayerNormalization (h, a, g)
        y = com.microsoft.FastGelu (t)
    }"""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17, "{MICROSOFT}": 1]> {text}')
    inputs = oracle.random_inputs(model, seed=3)
    (want,), (got,) = oracle.run(model, inputs), oracle.run(expanded(model), inputs)
    np.testing.assert_allclose(got, want, rtol=0, atol=256 * EPSILON)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_constant_weights_in_blocks_become_one_matrix(bits: int) -> None:
    """No pass then has to fold a large matrix; the product is a layer with a kernel."""
    packed = np.random.default_rng(0).integers(0, 256, (3, 2, 16 * bits // 8)).astype(np.uint8)
    attributes = {"K": 32, "N": 3, "bits": bits, "block_size": 16}
    scales = np.abs(_drawn(3, 2)) + 0.5
    model, inputs = model_of(Drawn("MatMulNBits", [_drawn(4, 32), packed, scales], attributes, (1, 2)), 18)
    found = expanded(model)
    assert [node.op_type for node in found.graph.node if node.op_type != "Identity"] == ["MatMul"]
    parts = np.stack([(packed >> shift) & (2**bits - 1) for shift in range(0, 8, bits)], -1).reshape(3, 2, 16)
    weight = ((parts.astype(np.float64) - 2 ** (bits - 1)) * scales[..., None]).reshape(3, 32)
    want = inputs["in0"].astype(np.float64) @ weight.T
    np.testing.assert_allclose(oracle.run(found, inputs)[0], want, rtol=0, atol=64 * EPSILON * np.abs(want).max())
