"""Each operator computes in PyTorch what it computes in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optimizer.graphs import name_nodes
from optimizer.session import Session
from optimizer.training.onnx_module import OnnxModule
from optimizer.training.operators import OPERATORS
from tests.graph_passes.models import model

IMAGE, MATRIX, VOLUME = (2, 4, 9, 7), (5, 6), (2, 3, 5, 4, 6)

# Inputs by shape, constants, attributes. The first input is x; constants are random but for whole numbers.
UNARY = (
    "Abs Ceil Cos Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Mish Neg Relu Round Selu "
    "Sigmoid Sign Sin Softplus Softsign Swish Tanh GlobalAveragePool GlobalMaxPool Softmax LogSoftmax ReduceL1 "
    "ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Flatten Transpose Shape "
    "ArgMax ArgMin"
).split()
CASES: dict[str, tuple[tuple[int, ...], str]] = {
    **{name: (IMAGE, f"y = {name} (x)") for name in UNARY},
    "Add": (MATRIX, "y = Add (x, row)"),
    "And": (MATRIX, "a = Greater (x, zero) b = Less (x, one) y = And (a, b)"),
    "AveragePool": (IMAGE, "y = AveragePool <kernel_shape: ints = [3,2], strides: ints = [2,1]> (x)"),
    "AveragePool, borders": (
        IMAGE,
        "y = AveragePool <kernel_shape: ints = [3,3], pads: ints = [1,1,0,1], strides: ints = [2,2]> (x)",
    ),
    "AveragePool, counted borders": (
        IMAGE,
        "y = AveragePool <kernel_shape: ints = [3,3], pads: ints = [1,1,1,1], count_include_pad: int = 1> (x)",
    ),
    "AveragePool, rounded up": (
        IMAGE,
        "y = AveragePool <kernel_shape: ints = [2,2], strides: ints = [2,2], ceil_mode: int = 1> (x)",
    ),
    "BatchNormalization": (IMAGE, "y = BatchNormalization <epsilon: float = 0.01> (x, four, four, four, positive)"),
    "Cast": (MATRIX, "y = Cast <to: int = 7> (x)"),
    "Clip": (MATRIX, "y = Clip (x, zero, one)"),
    "Clip, one end": (MATRIX, "y = Clip (x, , one)"),
    "Concat": (MATRIX, "y = Concat <axis: int = -1> (x, x)"),
    "ConstantOfShape": (MATRIX, "s = Shape (x) z = ConstantOfShape (s) y = Add (x, z)"),
    "Conv": (IMAGE, "y = Conv <pads: ints = [1,0,2,1], strides: ints = [2,1]> (x, weight, bias)"),
    "Conv, groups": (IMAGE, "y = Conv <group: int = 4, dilations: ints = [2,2]> (x, depthwise)"),
    "Conv, same": (IMAGE, 'y = Conv <auto_pad: string = "SAME_LOWER", strides: ints = [2,2]> (x, even)'),
    "Conv, volume": (VOLUME, "y = Conv (x, cube)"),
    "ConvTranspose": (
        IMAGE,
        "y = ConvTranspose <strides: ints = [2,2], pads: ints = [1,0,1,1], output_padding: ints = [1,0]> (x, up, bias)",
    ),
    "ConvTranspose, same": (
        IMAGE,
        'y = ConvTranspose <auto_pad: string = "SAME_UPPER", strides: ints = [2,2]> (x, up)',
    ),
    "ConvTranspose, shape": (
        IMAGE,
        "y = ConvTranspose <output_shape: ints = [18,14], strides: ints = [2,2], dilations: ints = [1,2]> (x, up)",
    ),
    "DepthToSpace": (IMAGE, "y = DepthToSpace <blocksize: int = 2> (x)"),
    "DepthToSpace, CRD": (IMAGE, 'y = DepthToSpace <blocksize: int = 2, mode: string = "CRD"> (x)'),
    "Div": (MATRIX, "p = Abs (x) q = Add (p, one) y = Div (x, q)"),
    "Div, integers": (MATRIX, "l = Mul (x, ten) i = Cast <to: int = 7> (l) y = Div (i, three)"),
    "Einsum": (MATRIX, 'y = Einsum <equation: string = "ij,kj->ik"> (x, x)'),
    "Equal": (MATRIX, "r = Round (x) y = Equal (r, zero)"),
    "Expand": (MATRIX, "u = Unsqueeze (x, first) y = Expand (u, larger)"),
    "Gather": (MATRIX, "y = Gather <axis: int = 1> (x, places)"),
    "Gelu, tanh": (MATRIX, 'y = Gelu <approximate: string = "tanh"> (x)'),
    "Gemm": (MATRIX, "y = Gemm <alpha: float = 0.5, beta: float = 2.0, transB: int = 1> (x, matrix, row3)"),
    "Greater": (MATRIX, "y = Greater (x, zero)"),
    "GreaterOrEqual": (MATRIX, "y = GreaterOrEqual (x, zero)"),
    "GroupNormalization": (
        IMAGE,
        "y = GroupNormalization <num_groups: int = 2> (x, four, four)",
    ),
    "InstanceNormalization": (IMAGE, "y = InstanceNormalization (x, four, four)"),
    "LayerNormalization": (MATRIX, "y = LayerNormalization (x, row, row)"),
    "LayerNormalization, axis": (IMAGE, "y = LayerNormalization <axis: int = 2> (x, image)"),
    "Less": (MATRIX, "y = Less (x, zero)"),
    "LessOrEqual": (MATRIX, "y = LessOrEqual (x, zero)"),
    "Log": (MATRIX, "p = Abs (x) q = Add (p, one) y = Log (q)"),
    "MatMul": (MATRIX, "y = MatMul (x, product)"),
    "Max": (MATRIX, "n = Neg (x) y = Max (x, n, zero)"),
    "MaxPool": (IMAGE, "y = MaxPool <kernel_shape: ints = [3,3], pads: ints = [1,1,1,1], strides: ints = [2,2]> (x)"),
    "MaxPool, rounded up": (
        IMAGE,
        "y = MaxPool <kernel_shape: ints = [2,2], strides: ints = [2,2], ceil_mode: int = 1> (x)",
    ),
    "MaxPool, dilated": (IMAGE, "y = MaxPool <kernel_shape: ints = [3,2], dilations: ints = [2,3]> (x)"),
    "Mean": (MATRIX, "n = Exp (x) y = Mean (x, n)"),
    "Min": (MATRIX, "y = Min (x, zero)"),
    "Mul": (MATRIX, "y = Mul (x, row)"),
    "Not": (MATRIX, "a = Greater (x, zero) y = Not (a)"),
    "Or": (MATRIX, "a = Greater (x, one) b = Less (x, zero) y = Or (a, b)"),
    "PRelu": (IMAGE, "y = PRelu (x, slopes)"),
    "Pad": (IMAGE, "y = Pad (x, borders, one)"),
    "Pad, edge": (IMAGE, 'y = Pad <mode: string = "edge"> (x, image_borders)'),
    "Pad, reflect": (IMAGE, 'y = Pad <mode: string = "reflect"> (x, image_borders)'),
    "Pow": (MATRIX, "p = Abs (x) y = Pow (p, ten)"),
    "RMSNormalization": (MATRIX, "y = RMSNormalization (x, row)"),
    "Range": (MATRIX, "r = Range (zero, three_f, one) m = ReduceSum (r) y = Mul (x, m)"),
    "Reciprocal": (MATRIX, "e = Exp (x) y = Reciprocal (e)"),
    "ReduceMean, axes": (IMAGE, "y = ReduceMean <keepdims: int = 0> (x, image_axes)"),
    "ReduceSum, nothing": (IMAGE, "y = ReduceSum <noop_with_empty_axes: int = 1> (x)"),
    "Reshape": (IMAGE, "y = Reshape (x, shape)"),
    "Resize": (IMAGE, 'y = Resize <mode: string = "nearest"> (x, , scales)'),
    "Resize, linear": (IMAGE, 'y = Resize <mode: string = "linear"> (x, , , sizes)'),
    "Resize, corners": (
        IMAGE,
        'y = Resize <mode: string = "linear", coordinate_transformation_mode: string = "align_corners"> (x, , , sizes)',
    ),
    "Slice": (IMAGE, "y = Slice (x, starts, ends, image_axes, steps)"),
    "SpaceToDepth": (IMAGE, "a = Slice (x, starts2, ends2, image_axes) y = SpaceToDepth <blocksize: int = 2> (a)"),
    "Split": (IMAGE, "a, b = Split <axis: int = 1> (x, parts) s = ReduceSum (a) y = Mul (b, s)"),
    "Split, equal": (IMAGE, "a, b = Split <axis: int = 2, num_outputs: int = 2> (x) y = Neg (a)"),
    "Sqrt": (MATRIX, "p = Abs (x) y = Sqrt (p)"),
    "Squeeze": (MATRIX, "u = Unsqueeze (x, first) y = Squeeze (u, first)"),
    "Sub": (MATRIX, "y = Sub (x, row)"),
    "Sum": (MATRIX, "n = Exp (x) y = Sum (x, n, row)"),
    "Tile": (MATRIX, "y = Tile (x, repeats)"),
    "Transpose, axes": (IMAGE, "y = Transpose <perm: ints = [0,2,3,1]> (x)"),
    "Unsqueeze": (MATRIX, "y = Unsqueeze (x, outer)"),
    "Where": (MATRIX, "a = Greater (x, zero) y = Where (a, x, row)"),
}
CONSTANTS = """float[6] row, float[3] row3, float[4] four, float[3,6] matrix, float[6,3] product, float[6,4,3,3] weight,
    float[6] bias, float[4,1,3,3] depthwise, float[3,4,2,2] even, float[4,3,2,2,3] cube, float[4,6,3,3] up,
    float[4,1,1] slopes, float[9,7] image, float[4] positive = {1.0, 2.0, 0.5, 3.0},
    float zero = {0.0}, float one = {1.0}, float three_f = {3.0}, float ten = {10.0}, int64 three = {3},
    int64[1] first = {0}, int64[2] outer = {0, -1}, int64[3] larger = {3, 1, 6}, int64[3] places = {0, -1, 2},
    int64[8] borders = {0, 1, 2, 0, 0, 0, 1, 3}, int64[8] image_borders = {0, 0, 2, 1, 0, 0, 1, 2},
    int64[2] image_axes = {2, 3}, int64[2] shape = {0, -1}, float[4] scales = {1.0, 1.0, 2.0, 3.0},
    int64[4] sizes = {2, 4, 12, 11}, int64[2] starts = {1, -1}, int64[2] ends = {100, -100}, int64[2] steps = {2, -2},
    int64[2] starts2 = {0, 0}, int64[2] ends2 = {8, 6}, int64[2] parts = {1, 3}, int64[2] repeats = {2, 3}"""
OPSETS = {"Swish": 24, "RMSNormalization": 23, "GroupNormalization": 21}
NOT_IN_ONNX_RUNTIME = {"Swish"}
NOT_INFERRED = {"GroupNormalization": "float[2,4,9,7]"}  # types of y


def test_all_operators_have_a_case() -> None:
    text = " ".join(body for _, body in CASES.values())
    assert [name for name in OPERATORS if f" {name} " not in text.replace("(", " (")] == []


@pytest.mark.parametrize("case", [name for name in CASES if name not in NOT_IN_ONNX_RUNTIME])
def test_operator(case: str) -> None:
    shape, body = CASES[case]
    sizes, kind = ",".join(map(str, shape)), NOT_INFERRED.get(case, "")
    original = model(
        f"g (float[{sizes}] x) => ({kind} y) <{CONSTANTS}> {{ {body} }}", OPSETS.get(case.split(",")[0], 20)
    )
    name_nodes(original.graph)
    x = 2 * np.random.default_rng(1).standard_normal(shape, np.float32)
    wanted = Session(original)({"x": x})["y"]
    (found,) = OnnxModule(original, ["y"]).eval()({"x": torch.from_numpy(x)})
    assert found.shape == wanted.shape
    if wanted.dtype.kind == "f":
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-4, atol=1e-5 * scale)
    else:
        np.testing.assert_array_equal(found.numpy(), wanted)


def test_swish() -> None:
    original = model("g (float[5] x) => (float[5] y) { y = Swish <alpha: float = 0.5> (x) }", 24)
    name_nodes(original.graph)
    x = np.linspace(-3, 3, 5, dtype=np.float32)
    (found,) = OnnxModule(original, ["y"])({"x": torch.from_numpy(x)})
    np.testing.assert_allclose(found.numpy(), x / (1 + np.exp(-0.5 * x.astype(np.float64))), rtol=1e-6)
