"""The nodes that become calls of our kernels, and the graph after lowering; without TVM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import compiler
import graph_passes
from compiler.lowering.choose import Options
from compiler.lowering.lower import put_kernels
from compiler.lowering.schedule_source import FunctionSchedules
from compiler.workloads.layer import DOMAIN, Layer
from compiler.workloads.operators.operator import QUANTIZATION
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target, usable_cores
from compiler.workloads.workload import Workload
from tests.compiler.models import graph
from tests.kernels.machine_models import with_lines

HOST = Target.from_host(num_cores=1)
DEFAULTS = Options()


def select(
    original: onnx.ModelProto, options: Options = DEFAULTS, target: Target = HOST
) -> tuple[ir.Model, tuple[Layer, ...]]:
    """Returns the rewritten model and its layers, after checking that each is called once and in order."""
    model = graph_passes.optimize(original, passes=(*graph_passes.DEFAULT_PASSES, "channels_last")).ir_model
    layers = put_kernels(model, target, options)
    calls = [node for node in model.graph if node.domain == DOMAIN]
    assert [node.attributes.get_int("place", -1) for node in calls] == list(range(len(layers)))
    assert [node.op_type for node in calls] == [layer.op for layer in layers]
    for node, layer in zip(calls, layers, strict=True):
        assert tuple(node.outputs[0].shape or ()) == layer.output_shape
    return model, layers


def one(inputs: str, weights: str, statement: str, **arrays: Any) -> Layer:
    """Returns the only layer of a model."""
    (layer,) = select(graph(inputs, weights, {"y": statement}, **arrays))[1]
    return layer


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def test_a_convolution() -> None:
    layer = one(
        "float[2,8,9,7] x",
        "float[12,8,3,3] w, float[12] b",
        "c = Conv <strides = [2,1], pads = [0,1,2,3], dilations = [1,2]> (x, w, b) @ = Relu (c)",
    )
    assert layer.op == "conv2d"
    assert layer.function == "loopwright.conv2d"
    assert layer.attributes == {
        "x": [2, 9, 7, 8],
        "weight_shape": [12, 8, 3, 3],
        "stride": [2, 1],
        "padding": [0, 1, 2, 3],
        "dilation": [1, 2],
        "groups": 1,
        "residual": False,
        "activation": "relu",
        "fast_algorithms": True,
        **QUANTIZATION,
    }
    assert {name: weight.shape for name, weight in layer.weights.items()} == {"weight": (12, 8, 3, 3), "bias": (12,)}
    assert layer.workload is not None
    assert layer.output_shape == layer.workload.output_shape == (2, 5, 7, 12)
    assert layer.workload.epilogue == ("bias", "relu")


def test_a_product_with_a_complete_epilogue() -> None:
    layer = one(
        "float[2,3,8] x, float[2,3,5] r",
        "float[8,5] w, float[5] b",
        "m = MatMul (x, w) a = Add (m, b) s = Add (a, r) @ = Relu (s)",
    )
    assert (layer.op, layer.output_shape) == ("dense", (2, 3, 5))
    assert layer.attributes == {
        "sizes": [6, 5, 8],
        "residual": True,
        "activation": "relu",
        "fast_algorithms": True,
        **QUANTIZATION,
    }
    assert layer.workload == Workload.dense(6, 5, 8, epilogue=("bias", "residual", "relu"))
    assert layer.weights["weight"].shape == (5, 8)
    assert layer.weights["weight"].flags.c_contiguous


def test_factors_of_gemm_are_folded() -> None:
    w, b = np.arange(12.0).reshape(4, 3), np.array([2.0])
    layer = one("float[2,4] x", "float[4,3] w, float[1] b", "@ = Gemm <alpha = 0.5, beta = 3.0> (x, w, b)", w=w, b=b)
    np.testing.assert_array_equal(layer.weights["weight"], w.T / 2)
    np.testing.assert_array_equal(layer.weights["bias"], [6, 6, 6])


def test_an_unsupported_activation_follows_the_kernel() -> None:
    model, layers = select(graph("float[2,4] x", "float[4,3] w", {"y": "m = MatMul (x, w) @ = HardSigmoid (m)"}))
    assert operators(model) == ["dense", "activation_hard_sigmoid"]
    assert layers[0].attributes["activation"] is None
    assert layers[0].workload == Workload.dense(2, 3, 4)


def test_a_masked_attention_reads_projections_in_place() -> None:
    split = "".join(f"h{x} = Reshape ({x}, heads) x{x} = Transpose <perm = [0,2,1,3]> (h{x}) " for x in "qkv")
    model, layers = select(
        graph(
            "float[2,5,12] q, float[2,6,12] k, float[2,6,12] v, float[2,1,5,6] mask",
            "int64[4] heads, int64[3] rows, float f",
            {
                "y": split + "t = Transpose <perm = [0,1,3,2]> (xk) d = MatMul (xq, t) s = Mul (d, f) m = Add (s, mask)"
                " p = Softmax <axis = -1> (m) o = MatMul (p, xv) back = Transpose <perm = [0,2,1,3]> (o)"
                " @ = Reshape (back, rows)"
            },
            heads=np.array([0, 0, 3, 4]),
            rows=np.array([0, 0, 12]),
            f=0.5,
        )
    )
    assert layers[0].attributes == {
        "sizes": [2, 3, 5, 6, 4],
        **dict.fromkeys("qkv", "tokens"),
        "out": "tokens",
        "mask": [2, 1, 5, 6],
        "scale": 0.5,
        "or_zero": False,
        "dtype": "float32",
    }
    assert layers[0].output_shape == (2, 5, 3, 4)
    assert "Transpose" not in operators(model)


UNSUPPORTED = {
    "a weight that is an input": ("float[3,4] x, float[4,5] w", "", "@ = MatMul (x, w)"),
    "a vector": ("float[4] x", "float[4,5] w", "@ = MatMul (x, w)"),
    "stacked weights": ("float[2,3,4] x", "float[2,4,5] w", "@ = MatMul (x, w)"),
    "a bias for each row": ("float[3,4] x", "float[4,5] w, float[3,1] b", "@ = Gemm (x, w, b)"),
    "a transposed input": ("float[4,3] x", "float[4,5] w", "@ = Gemm <transA = 1> (x, w)"),
    "one spatial axis": ("float[1,4,9] x", "float[8,4,3] w", "@ = Conv (x, w)"),
    "three spatial axes": ("float[1,4,5,5,5] x", "float[8,4,3,3,3] w", "@ = Conv (x, w)"),
    "softmax of another axis": ("float[3,4] x", "", "@ = Softmax <axis = 0> (x)"),
    "a scale that is an input": ("float[2,3,4] x, float[4] g", "", "@ = LayerNormalization (x, g)"),
    "a mean of channels": ("float[2,3,4,4] x", "int64[1] a", "@ = ReduceMean (x, a)"),
    "channels first": ("float[1,4,8,8] x", "", "@ = MaxPool <kernel_shape = [2,2]> (x)"),
    "an empty input": ("float[0,4] x", "float[4,5] w", "@ = MatMul (x, w)"),
}


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_nodes_that_are_left_to_tvm(what: str) -> None:
    inputs, weights, statement = UNSUPPORTED[what]
    arrays: dict[str, Any] = {"a": [1]} if "int64" in weights else {}
    assert not select(graph(inputs, weights, {"y": statement}, **arrays))[1]


def test_double_precision_is_left_to_tvm() -> None:
    original = graph("float[3,4] x", "float[4,5] w", {"y": "a = Cast <to = 11> (x) b = Cast <to = 11> (w)"
                     " c = MatMul (a, b) @ = Cast <to = 1> (c)"})  # fmt: skip
    assert not select(original)[1]


def pooled(attributes: str, op: str = "MaxPool", opset: int = 19) -> list[str]:
    original = graph("float[1,4,9,8] x", "float[8,4,1,1] w", {"y": f"c = Conv (x, w) @ = {op} {attributes} (c)"}, opset)
    return [layer.op for layer in select(original)[1]]


@pytest.mark.parametrize(
    ("op", "attributes", "kernel"),
    [
        ("MaxPool", "kernel_shape = [3,3], dilations = [2,1], pads = [1,0,0,1]", "max_pool2d"),
        ("MaxPool", "kernel_shape = [3,3], strides = [2,2], ceil_mode = 1", "max_pool2d"),
        ("AveragePool", "kernel_shape = [3,3], pads = [1,0,0,1]", "avg_pool2d"),
        ("AveragePool", "kernel_shape = [3,3], pads = [1,0,0,1], count_include_pad = 1", "avg_pool2d_with_pads"),
        ("AveragePool", "kernel_shape = [3,3], dilations = [2,1]", None),
        # The last window begins beyond the image: ONNX before opset 22 counts it, runtimes and freeze_shapes do not.
        ("MaxPool", "kernel_shape = [3,3], strides = [3,3], pads = [1,1,1,1], ceil_mode = 1", "max_pool2d"),
    ],
)
def test_pools(op: str, attributes: str, kernel: str | None) -> None:
    assert pooled(f"<{attributes}>", op) == ["conv2d", *([kernel] if kernel else [])]


def test_small_layers_stay_on_one_thread() -> None:
    if usable_cores() < 2:
        pytest.skip("there is one core")
    original = graph(
        "float[64,256] x", "float[256,256] w, float[256,2] v", {"y": "a = MatMul (x, w) b = Relu (a) @ = MatMul (b, v)"}
    )
    looked_up: list[int] = []

    def no_schedule(_workload: Workload, target: Target) -> None:
        looked_up.append(target.num_cores)

    # A parallel region takes 10 µs.
    machine = with_lines({"fork_join": "0,20000", "ghz": "2", "bandwidth,l3": "1e9,1e9"})
    target = replace(Target.from_host(num_cores=2), machine=machine)
    _, layers = select(original, Options(FunctionSchedules(no_schedule)), target)
    assert [layer.threads for layer in layers] == [2, 1]
    assert looked_up == [2, 1], "a schedule is looked up for the threads that run it"


@pytest.mark.parametrize("fast_algorithms", [True, False])
def test_fast_algorithms_can_be_disabled(fast_algorithms: bool) -> None:
    original = graph("float[1,8,16,16] x", "float[8,8,3,3] w", {"y": "@ = Conv (x, w)"})
    _, (layer,) = select(original, Options(fast_algorithms=fast_algorithms))
    assert layer.attributes["fast_algorithms"] is fast_algorithms


def test_layers_of_a_model() -> None:
    original = graph("float[3,8] x", "float[8,4] w", {"y": "@ = MatMul (x, w)"})
    (layer,) = compiler.layers_of(original, threads=1)
    (selected,) = select(original)[1]
    assert (layer.name, layer.op, layer.workload) == (selected.name, selected.op, selected.workload)


def test_a_layer_as_json_and_back() -> None:
    _, (layer,) = select(graph("float[3,8] x", "float[8,4] w, float[4] b", {"y": "@ = Gemm (x, w, b)"}))
    scheduled = layer.scheduled(Schedule("kernel", {"mr": 8, "pack": True}))
    found = Layer.from_json(scheduled.to_json({"weight": 0, "bias": 1}), layer.weights)
    assert found == scheduled.scheduled(Schedule("kernel", {"mr": 8, "pack": 1}))
