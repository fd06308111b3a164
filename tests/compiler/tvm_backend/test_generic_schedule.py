"""Generic schedules against ONNX Runtime and float64, on one thread and on two, and unscheduled functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import kernels
from compiler.workloads.target import Target
from tests.kernels.machine_models import with_lines

generic_schedule = pytest.importorskip("compiler.tvm_backend.generic_schedule", exc_type=ImportError)
tvm = pytest.importorskip("tvm")

pytestmark = pytest.mark.tvm

THREADS = (1, min(2, Target.from_host().num_cores))
EPSILON = float(np.finfo(np.float32).eps)
F, I8, U8, I64, BOOL = "float32", "int8", "uint8", "int64", "bool"


@dataclass(frozen=True)
class Case:
    """A few nodes from inputs to ``y``.

    ``terms`` is the length of its reductions: what rounding errors grow with.
    """

    nodes: str
    inputs: Mapping[str, tuple[tuple[int, ...], str]]
    constants: Mapping[str, Any] = field(default_factory=dict)
    terms: int = 1


def x(*shape: int, dtype: str = F, **others: tuple[int, ...]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {"x": (shape, dtype), **{name: (other, F) for name, other in others.items()}}


CASES = {
    "relu": Case("y = Relu(x)", x(3, 127, 129)),
    "relu_odd": Case("y = Relu(x)", x(7, 11, 13)),
    "relu_tail": Case("y = Relu(x)", x(1003)),
    "relu_few": Case("y = Relu(x)", x(5)),
    "add_tail": Case("y = Add(x, b)", x(131, 43, b=(43,))),
    "add_few": Case("y = Add(x, b)", x(13, 7, b=(7,))),
    "add_row": Case("y = Add(x, b)", x(131, 96, b=(96,))),
    "add_relu": Case("t = Add(x, b) y = Relu(t)", x(1, 56, 56, 32, b=(1, 56, 56, 32))),
    "mul_channels": Case("y = Mul(x, s)", x(1, 13, 29, 31, s=(1, 13, 1, 1))),
    "mul_channels_last": Case("y = Mul(x, s)", x(1, 29, 31, 96, s=(1, 1, 1, 96))),
    "hard_swish": Case("y = HardSwish(x)", x(5, 1000)),
    "power": Case("y = Pow(x, c)", x(17, 64), {"c": np.float32(2)}),
    "concat_0": Case("y = Concat<axis = 0>(x, b)", x(3, 5, 7, b=(2, 5, 7))),
    "concat_1": Case("y = Concat<axis = 1>(x, b)", x(3, 5, 64, b=(3, 4, 64))),
    "concat_2": Case("y = Concat<axis = 3>(x, b, c)", x(1, 14, 28, 64, b=(1, 14, 28, 32), c=(1, 14, 28, 32))),
    "concat_odd": Case("y = Concat<axis = 2>(x, b)", x(3, 50, 13, b=(3, 50, 12))),
    "concat_vectors": Case("y = Concat<axis = 1>(x, b)", x(57, 24, b=(57, 40))),
    "pad_vectors": Case("y = Pad(x, p)", x(29, 64), {"p": np.array([1, 8, 0, 24])}),
    "concat_itself": Case("s = Sin(x) c = Concat<axis = 1>(s, s) y = Concat<axis = 2>(c, c)", x(2, 1, 8)),
    "concat_itself_rows": Case("s = Sin(x) c = Concat<axis = 0>(s, s) y = Concat<axis = 2>(c, c)", x(1, 3, 8)),
    "transpose_last": Case("y = Transpose<perm = [0, 2, 3, 1]>(x)", x(1, 3, 97, 128)),
    "transpose_first": Case("y = Transpose<perm = [0, 3, 1, 2]>(x)", x(1, 14, 14, 160)),
    "transpose_heads": Case("y = Transpose<perm = [0, 2, 1, 3]>(x)", x(1, 131, 12, 32)),
    "transpose_reversed": Case("y = Transpose<perm = [2, 1, 0]>(x)", x(17, 19, 23)),
    "transpose_gelu": Case("t = Transpose<perm = [0, 2, 1]>(x) y = Gelu(t)", x(1, 77, 131)),
    "transpose_gelu_last": Case(
        "t = Transpose<perm = [0, 3, 1, 2]>(x) u = Add(t, b) y = Gelu(u)", x(2, 9, 10, 48, b=(48, 1, 1))
    ),
    "slice": Case(
        "y = Slice(x, s, e, a, t)",
        x(1, 31, 56, 16),
        {"s": np.array([1, 0]), "e": np.array([31, 56]), "a": np.array([1, 2]), "t": np.array([2, 3])},
    ),
    "pad": Case("y = Pad(x, p)", x(1, 29, 31, 16), {"p": np.array([0, 1, 2, 0, 0, 2, 1, 3])}),
    "resize_nearest": Case(
        'y = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(x, , s)',
        x(1, 16, 14, 15),
        {"s": np.array([1, 1, 2, 2], np.float32)},
    ),
    "resize_linear": Case(
        'y = Resize<mode = "linear">(x, , s)', x(1, 8, 14, 15), {"s": np.array([1, 1, 2, 2], np.float32)}
    ),
    "softmax": Case("y = Softmax<axis = -1>(x)", x(12, 65, 128), terms=128),
    "softmax_odd": Case("y = Softmax<axis = -1>(x)", x(3, 7, 197), terms=197),
    "softmax_middle": Case("y = Softmax<axis = 1>(x)", x(6, 128, 31), terms=128),
    "log_softmax": Case("y = LogSoftmax<axis = -1>(x)", x(10, 1000), terms=1000),
    "layer_norm": Case("y = LayerNormalization<axis = -1>(x, s, b)", x(128, 384, s=(384,), b=(384,)), terms=384),
    "layer_norm_odd": Case("y = LayerNormalization<axis = -1>(x, s, b)", x(5, 101, s=(101,), b=(101,)), terms=101),
    "mean_last": Case("y = ReduceMean(x, a)", x(37, 1009), {"a": np.array([1])}, terms=1009),
    "mean_middle": Case("y = ReduceMean(x, a)", x(1, 14, 14, 96), {"a": np.array([1, 2])}, terms=196),
    "mean_middle_odd": Case("y = ReduceMean(x, a)", x(2, 7, 7, 101), {"a": np.array([1, 2])}, terms=49),
    "sum_all": Case("y = ReduceSum<keepdims = 0>(x, a)", x(131, 257), {"a": np.array([0, 1])}, terms=131 * 257),
    "max_first": Case("y = ReduceMax(x, a)", x(37, 203), {"a": np.array([0])}),
    "sum_first_and_last": Case("y = ReduceSum(x, a)", x(19, 21, 23), {"a": np.array([0, 2])}, terms=19 * 23),
    "mean_middle_tail": Case("y = ReduceMean(x, a)", x(2, 7, 7, 43), {"a": np.array([1, 2])}, terms=49),
    "max_last_long": Case("y = ReduceMax(x, a)", x(3, 700), {"a": np.array([1])}),
    "max_last": Case("y = ReduceMax(x, a)", x(37, 203), {"a": np.array([1])}),
    "arg_max": Case("y = ArgMax<axis = -1>(x)", x(64, 1000)),
    "max_pool": Case("y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)", x(1, 16, 57, 57)),
    "average_pool": Case("y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)", x(1, 16, 29, 28), terms=9),
    "global_pool": Case("y = GlobalAveragePool(x)", x(1, 512, 7, 7), terms=49),
    "batch_matmul": Case("y = MatMul(x, b)", x(12, 128, 32, b=(12, 32, 128)), terms=32),
    "batch_matmul_odd": Case("y = MatMul(x, b)", x(3, 127, 31, b=(3, 31, 129)), terms=31),
    "batch_matmul_bias": Case(
        "t = MatMul(x, b) u = Add(t, c) y = Relu(u)", x(4, 64, 48, b=(4, 48, 80), c=(80,)), terms=49
    ),
    "matrix_vector": Case("y = MatMul(x, b)", x(1, 333, b=(333, 77)), terms=333),
    "conv_1d": Case("y = Conv<pads = [1, 1]>(x, w)", x(1, 32, 100, w=(48, 32, 3)), terms=96),
    "conv_1d_odd": Case("y = Conv<strides = [2]>(x, w)", x(2, 5, 101, w=(7, 5, 3)), terms=15),
    "conv_3d": Case("y = Conv<pads = [1, 1, 1, 1, 1, 1]>(x, w)", x(1, 8, 5, 16, 28, w=(16, 8, 3, 3, 3)), terms=216),
    "conv_transpose": Case("y = ConvTranspose<strides = [2, 2]>(x, w)", x(1, 16, 13, 14, w=(16, 8, 2, 2)), terms=64),
    "conv_grouped": Case("y = Conv<pads = [1, 1, 1, 1], group = 4>(x, w)", x(1, 32, 28, 28, w=(32, 8, 3, 3)), terms=72),
    "conv_grouped_odd": Case("y = Conv<group = 3>(x, w)", x(1, 9, 17, 19, w=(6, 3, 3, 3)), terms=27),
    "instance_norm": Case("y = InstanceNormalization(x, s, b)", x(1, 16, 29, 31, s=(16,), b=(16,)), terms=899),
    "erf": Case("y = Erf(x)", x(33, 257)),
    "gelu": Case("y = Gelu(x)", x(33, 256)),
    "softplus": Case("y = Softplus(x)", x(33, 57)),
    "gather": Case("y = Gather(x, i)", x(1000, 96), {"i": np.array([[3, 999, 0, 512, 77]])}),
    "where": Case("z = Greater(x, b) y = Where(z, x, b)", x(37, 128, b=(1, 128))),
    "cast": Case("y = Cast<to = 1>(x)", x(37, 101, dtype=I64)),
    "dequantize": Case(
        "y = DequantizeLinear<axis = 1>(x, s, z)",
        x(37, 96, dtype=I8),
        {"s": np.linspace(0.1, 0.2, 96, dtype=np.float32), "z": np.arange(96, dtype=np.int8)},
    ),
    "integer_matmul": Case("y = MatMulInteger(x, b)", {"x": ((33, 65), U8), "b": ((65, 48), I8)}),
    "reshape_chain": Case(
        "t = Reshape(x, s) u = Softmax<axis = -1>(t) y = Add(u, u)", x(4, 96), {"s": np.array([8, 48])}, 48
    ),
}


@cache
def model() -> onnx.ModelProto:
    """Returns one module with all cases, which compiles faster than one module per case."""
    nodes, inputs, outputs, constants = [], [], [], []
    for name, case in CASES.items():
        parsed = onnx.parser.parse_graph(f"{name} (float[1] unused) => (float[1] y) {{ {case.nodes} }}")
        for node in parsed.node:
            for names in (node.input, node.output):
                names[:] = [f"{name}_{value}" if value else "" for value in names]
            node.name = f"{name}_{node.output[0]}"
        nodes += parsed.node
        for key, (shape, dtype) in case.inputs.items():
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            inputs.append(helper.make_tensor_value_info(f"{name}_{key}", kind, shape))
        constants += [numpy_helper.from_array(np.asarray(v), f"{name}_{k}") for k, v in case.constants.items()]
        outputs.append(onnx.ValueInfoProto(name=f"{name}_y"))
    graph = helper.make_graph(nodes, "cases", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True)


@cache
def values() -> Mapping[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {}
    for name, case in CASES.items():
        for key, (shape, dtype) in case.inputs.items():
            normal = rng.standard_normal(shape)
            made[f"{name}_{key}"] = (normal if dtype == F else np.clip(50 * normal, 0, 127)).astype(dtype)
    return made


@cache
def expected() -> Mapping[str, np.ndarray]:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model().SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(CASES, session.run(None, dict(values())), strict=True))


@cache
def answers(threads: int) -> Mapping[str, np.ndarray]:
    from tvm.relax.frontend.onnx import from_onnx

    graph: Any = model()
    module = from_onnx(graph, keep_params_in_input=False)
    return dict(zip(CASES, run(module, [values()[value.name] for value in model().graph.input], threads), strict=True))


def run(module: Any, arguments: Sequence[np.ndarray], threads: int, isa: str | None = None) -> list[np.ndarray]:
    from compiler.tvm_backend.codegen import tvm_target
    from compiler.tvm_backend.thread_pool import generated_code_threads

    target = Target.from_host(isa=isa, num_cores=threads)
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        built = tvm.relax.build(module, tvm_target(target), relax_pipeline=generic_schedule.relax_pipeline(target))
    main = tvm.relax.VirtualMachine(built, tvm.cpu())["main"]
    with generated_code_threads(threads):
        answer = main(*map(tvm.runtime.tensor, arguments))
    return [answer.numpy()] if isinstance(answer, tvm.runtime.Tensor) else [tensor.numpy() for tensor in answer]


@pytest.mark.parametrize("threads", sorted(set(THREADS)))
@pytest.mark.parametrize("name", CASES)
def test_as_onnx_runtime(name: str, threads: int) -> None:
    answer, wanted = answers(threads)[name], expected()[name]
    assert answer.shape == wanted.shape
    assert answer.dtype == wanted.dtype
    # Each of the two runtimes rounds a sum once per term, and the operations around it a few times.
    tolerance = 2 * EPSILON * (CASES[name].terms + 8) * np.abs(wanted).max() if wanted.dtype == np.float32 else 0
    assert np.abs(answer.astype(np.float64) - wanted).max() <= tolerance


def one_operator(operator: Callable[..., Any], *shapes: tuple[int, ...]) -> Any:
    """A module whose ``main`` applies a Relax operator to inputs of these shapes."""
    builder = tvm.relax.BlockBuilder()
    inputs = [tvm.relax.Var(f"x{i}", tvm.relax.TensorType(shape, F)) for i, shape in enumerate(shapes)]
    with builder.function("main", inputs):
        with builder.dataflow():
            output = builder.emit_output(builder.emit(operator(*inputs)))
        builder.emit_func_output(output)
    return builder.get()


@pytest.mark.parametrize("isa", kernels.available_isas())
@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "erf"])
def test_functions_over_their_whole_range(name: str, isa: str) -> None:
    span = np.concatenate([np.linspace(-104, 104, 4001), np.linspace(-1, 1, 1001), np.logspace(-30, 0, 101)])
    ends = [np.inf, -np.inf, np.nan, 0, 88.72, 88.73, -87.3]
    inputs = np.concatenate([span, -span, ends]).astype(np.float32)
    (answer,) = run(one_operator(getattr(tvm.relax.op, name), inputs.shape), [inputs], threads=1, isa=isa)
    exact = {"exp": np.exp, "sigmoid": lambda v: 1 / (1 + np.exp(-v)), "tanh": np.tanh, "erf": np.vectorize(math.erf)}
    with np.errstate(over="ignore"):
        wanted = exact[name](inputs.astype(np.float64))
        wanted[wanted > np.finfo(np.float32).max] = np.inf
    # Subnormal float32 numbers have fewer digits.
    np.testing.assert_allclose(answer, wanted, rtol=1e-6, atol=float(np.finfo(np.float32).tiny))


@given(st.lists(st.integers(1, 19), min_size=1, max_size=4), st.data())
@settings(max_examples=15, deadline=None)
def test_any_broadcast(shape: list[int], data: st.DataObject) -> None:
    small = tuple(size if data.draw(st.booleans()) else 1 for size in shape)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(shape).astype(np.float32), rng.standard_normal(small).astype(np.float32)
    relu, add = tvm.relax.op.nn.relu, tvm.relax.op.add
    (answer,) = run(one_operator(lambda a, b: relu(add(a, b)), a.shape, b.shape), [a, b], threads=THREADS[-1])
    np.testing.assert_array_equal(answer, np.maximum(a + b, 0))


@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        (lambda v: tvm.relax.op.nn.max_pool2d(v, (3, 3), (2, 2), (1, 1), layout="NHWC"), (1, 29, 31, 48)),
        (lambda v: tvm.relax.op.nn.avg_pool2d(v, (3, 3), (1, 1), (1, 1), layout="NHWC"), (1, 29, 31, 13)),
        (lambda v: tvm.relax.op.image.resize2d(v, (28, 30), layout="NHWC", method="linear"), (1, 14, 15, 16)),
        (lambda v: tvm.relax.op.sort(v, axis=-1), (7, 33)),
        (lambda v: tvm.relax.op.cumsum(v, axis=1), (7, 33)),
    ],
    ids=["max_pool", "average_pool", "resize", "sort", "cumsum"],
)
def test_as_without_a_schedule(operator: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    value = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    module = one_operator(operator, shape)
    plain = tvm.relax.VirtualMachine(tvm.relax.build(module, "llvm"), tvm.cpu())["main"](tvm.runtime.tensor(value))
    (answer,) = run(module, [value], threads=THREADS[-1])
    np.testing.assert_allclose(answer, plain.numpy(), rtol=100 * EPSILON, atol=100 * EPSILON)


MACHINE = with_lines({"bandwidth,l2": "40,80", "fork_join": "0,2000"})  # 20,000 elements per thread


def scheduled(module: Any, num_cores: int) -> Any:
    target = Target("a CPU", "avx2", 256, 16, (1 << 15, 1 << 20), num_cores, machine=MACHINE)
    module = tvm.relax.transform.LegalizeOps()(module)
    return generic_schedule.schedule_functions(target)(module)


@pytest.mark.parametrize(("rows", "num_cores", "parallel"), [(512, 2, True), (512, 1, False), (8, 2, False)])
def test_threads_share_only_what_is_worth_it(rows: int, num_cores: int, parallel: bool) -> None:
    module = scheduled(one_operator(tvm.relax.op.nn.relu, (rows, 128)), num_cores)
    assert ("T.parallel" in module.script()) == parallel
    assert "T.vectorized" in module.script()


def test_what_is_scheduled_or_of_unknown_size_stays() -> None:
    module = scheduled(one_operator(tvm.relax.op.nn.relu, (512, 128)), num_cores=2)
    tvm.ir.assert_structural_equal(generic_schedule.schedule_functions(Target.from_host())(module), module)
    rows: Any = tvm.tirx.Var("rows", "int64")
    unknown = one_operator(tvm.relax.op.nn.softmax, (rows, 64))
    assert "T.parallel" not in scheduled(unknown, num_cores=2).script()


def test_memory_is_planned_and_foreign_calls_stay() -> None:
    def chain(value: Any) -> Any:
        for axes in ([1, 0], [1, 0], [1, 0], [1, 0]):
            value = tvm.relax.op.nn.softmax(tvm.relax.op.permute_dims(value, axes))
        opaque = tvm.relax.ExternFunc("a.function")
        return tvm.relax.call_dps_packed(opaque, [value], tvm.relax.TensorType((64, 64), F))

    module = one_operator(chain, (64, 64))
    lowered = generic_schedule.relax_pipeline(Target.from_host())(module).script()
    assert '"a.function"' in lowered
    assert (
        lowered.count("R.vm.alloc_storage") == 3
    )  # two alternating buffers for eight intermediate results, and the output


@pytest.mark.parametrize("size", [64, 1000, 20, 8])
def test_loops_that_a_short_vector_divides_are_vectorized(size: int) -> None:
    assert "T.vectorized" in scheduled(one_operator(tvm.relax.op.nn.relu, (size,)), num_cores=1).script()


@pytest.mark.parametrize("shape", [(16, 256), (1, 16, 256), (1, 8, 1, 2, 256), (16, 256, 1)])
@pytest.mark.parametrize("operator", [tvm.relax.op.max, tvm.relax.op.sum])
def test_reductions_over_axes_of_length_1_are_vectorized(operator: Any, shape: tuple[int, ...]) -> None:
    module = one_operator(operator, shape)
    assert "T.vectorized" in scheduled(module, num_cores=1).script()
    value = np.random.default_rng(0).standard_normal(shape).astype(F)
    (answer,) = run(module, [value], threads=1)
    wanted = value.astype(np.float64).max() if operator is tvm.relax.op.max else value.astype(np.float64).sum()
    assert abs(float(answer) - wanted) <= EPSILON * value.size * np.abs(value).max()


@pytest.mark.parametrize("name", ["round", "isnan"])
def test_operators_that_tvm_does_not_vectorize_are_replaced(name: str) -> None:
    """TVM lowers a vectorized loop with one of them to a loop over elements."""

    def element(value: Any) -> Any:
        if name == "round":
            return tvm.tirx.nearbyint(value)
        return tvm.tirx.Select(tvm.tirx.isnan(value), tvm.tirx.const(0, F), value)

    place = tvm.te.placeholder((64,), F)
    result = tvm.te.compute((64,), lambda i: element(place(i)))
    script = scheduled(tvm.IRModule({"main": tvm.te.create_prim_func([place, result])}), num_cores=1).script()
    assert "T.vectorized" in script
    assert "T.nearbyint" not in script
    assert "T.isnan" not in script
