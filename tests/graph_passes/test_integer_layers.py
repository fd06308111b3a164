"""Products of 8-bit integers become layers with the same answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import graph_passes
from graph_passes.patterns.integer_weight import IN_FLOAT
from graph_passes.values import static_shape
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators

QUANTIZE = "q, s, a = DynamicQuantizeLinear (x)"
PRODUCT = "p = MatMulInteger (q, w, a, b)  n = Cast <to = 1> (p)  f = Mul (s, t)  y = Mul (n, f)"
# ONNX Runtime saturates sums of larger weights without VNNI.
WEIGHT = np.random.default_rng(0).integers(-63, 64, (6, 5)).astype(np.int8)


def published(statements: str, weight: str = "int8[6,5] w, int8 b, float t", **given: Any) -> onnx.ModelProto:
    values = {"w": WEIGHT, "b": 0, "t": 0.01} | given
    return model(f"g (float[2,3,6] x) => (float[M,N,K] y) <{weight}> {{ {QUANTIZE} {statements} }}", **values)


def optimized(before: onnx.ModelProto) -> onnx.ModelProto:
    """Runs the pass. Checks that the result is valid, has the same answers and does not change again."""
    after = graph_passes.optimize(before, passes=["integer_layers"]).model
    onnx.checker.check_model(after, full_check=True)
    for seed in range(3):
        inputs = oracle.random_inputs(before, seed)
        for want, found in zip(oracle.run(before, inputs), oracle.run(after, inputs), strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-6)
    assert operators(graph_passes.optimize(after, passes=["integer_layers"]).model) == operators(after)
    return after


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"weight": "int8[6,5] w, int8 b, float[5] t", "t": np.linspace(0.01, 0.05, 5, dtype=np.float32)},
        {"weight": "int8[6,5] w, int8[5] b, float t", "b": np.zeros(5, np.int8)},
        {"weight": "uint8[6,5] w, uint8 b, float t", "w": WEIGHT.astype(np.int16) + 128, "b": 128},
    ],
    ids=["one scale", "a scale per column", "zero points", "uint8"],
)
def test_a_product_becomes_one_layer(changes: dict[str, Any]) -> None:
    after = optimized(published(PRODUCT, **changes))
    assert operators(after) == {"DynamicMatMul": 1}
    integers = [tensor for tensor in after.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    (weight,) = (tensor for tensor in integers if tensor.dims == [6, 5])
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(weight), WEIGHT)


def test_without_a_zero_point() -> None:
    after = optimized(published(PRODUCT.replace(", b)", ")")))
    assert operators(after) == {"DynamicMatMul": 1}


def test_products_may_share_their_input_and_their_factor() -> None:
    more = "o = MatMulInteger (q, w, a)  m = Cast <to = 1> (o)  z = Mul (f, m)  k = Add (y0, z)  y = Relu (k)"
    after = optimized(published(f"{PRODUCT[: -len('y = Mul (n, f)')]} y0 = Mul (n, f) {more}"))
    assert operators(after) == {"DynamicMatMul": 2, "Add": 1, "Relu": 1}


def test_what_follows_becomes_a_part_of_the_layer() -> None:
    statements = f"{PRODUCT.replace('y =', 'y0 =')} y1 = Add (c, y0)  y = Relu (y1)"
    before = published(statements, weight="int8[6,5] w, int8 b, float t, float[5] c", c=np.arange(5, dtype=np.float32))
    after = graph_passes.optimize(before, passes=["integer_layers", "fuse_layers"]).model
    assert operators(after) == {"DynamicMatMul_bias_relu": 1}
    inputs = oracle.random_inputs(before, 0)
    np.testing.assert_allclose(oracle.run(after, inputs)[0], oracle.run(before, inputs)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("statements", "changes"),
    [
        (PRODUCT, {"weight": "uint8[6,5] w, uint8 b, float t", "w": WEIGHT.view(np.uint8), "b": 121}),
        (PRODUCT, {"weight": "int8[6,5] w, int8 b, float t", "b": 3}),
        (PRODUCT, {"weight": "int8[2,6,5] w, int8 b, float t", "w": np.stack([WEIGHT, WEIGHT])}),
        (PRODUCT.replace("(q, w, a, b)", "(q, w)"), {}),
        (f"{PRODUCT.replace('y =', 'y0 =')} r = Cast <to = 1> (q)  z = ReduceSum (r)  y = Add (y0, z)", {}),
        (f"{PRODUCT.replace('y =', 'y0 =')} r = Exp (s)  y = Add (y0, r)", {}),
        (PRODUCT, {"t": 0.0}),
    ],
    ids=[
        "zero point",
        "signed zero point",
        "batch",
        "no zero point of x",
        "other reader",
        "other reader of the scale",
        "scale of zero",
    ],
)
def test_other_forms_stay(statements: str, changes: dict[str, Any]) -> None:
    before = published(statements, **changes)
    assert operators(optimized(before)) == operators(before)


QDQ = """
    q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  v = DequantizeLinear <axis = {axis}> (w, t, u)
    {layer}
"""
CONV_WEIGHT = np.random.default_rng(1).integers(-63, 64, (5, 3, 3, 2)).astype(np.int8)


def quantized(
    layer: str, axis: int, x: str, weight: str, w: np.ndarray, opset: int = 18, **given: Any
) -> onnx.ModelProto:
    scales = np.linspace(0.01, 0.05, 5, dtype=np.float32)
    values = {"w": w, "s": 0.03, "z": 120, "t": scales, "u": np.zeros(5, np.int8)} | given
    types = f"float s, uint8 z, {weight} w, float[5] t, int8[5] u"
    for name in set(given) - {"w", "s", "z", "t", "u"}:
        types += f", float[5] {name}"
    statements = QDQ.format(axis=axis, layer=layer)
    return model(f"g ({x} x) => (float[A,B,C,D] y) <{types}> {{ {statements} }}", opset, **values)


FILTER = ("int8[5,3,3,2]", CONV_WEIGHT)
LAYERS: dict[str, tuple[str, int, str, str, np.ndarray]] = {
    "Conv": ("y = Conv <pads = [1,0,2,1], strides = [2,1]> (d, v, c)", 0, "float[2,3,8,7]", *FILTER),
    "Conv with auto_pad": ('y = Conv <auto_pad = "SAME_UPPER"> (d, v)', 0, "float[1,3,8,7]", *FILTER),
    "Conv of depth": ("y = Conv <group = 5> (d, v)", 0, "float[1,5,8,7]", "int8[5,1,3,2]", CONV_WEIGHT[:, :1]),
    "MatMul": ("y = MatMul (d, v)", 1, "float[1,2,4,6]", "int8[6,5]", WEIGHT),
}


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_between_quantizers_becomes_one_layer(kind: str, opset: int) -> None:
    layer = LAYERS[kind]
    before = quantized(*layer, opset, **({"c": np.arange(5, dtype=np.float32)} if "c)" in layer[0] else {}))
    after = optimized(before)
    name = f"Quantized{kind.split()[0]}{'_bias' if 'c)' in layer[0] else ''}"
    found = {op: n for op, n in operators(after).items() if op != "DequantizeLinear"}  # of the weight, without readers
    assert found == {"QuantizeLinear": 1, name: 1}


@pytest.mark.parametrize("transposed", [False, True])
def test_a_gemm_becomes_a_product_with_a_bias(transposed: bool) -> None:
    rows = f"""y0 = Gemm <transB = {int(transposed)}> (d, v, c)
        n = Constant <value = int64[4] {{1, 1, 4, 5}}> ()  y = Reshape (y0, n)"""
    w, axis = (np.ascontiguousarray(WEIGHT.T), 0) if transposed else (WEIGHT, 1)
    shape = "int8[5,6]" if transposed else "int8[6,5]"
    after = optimized(quantized(rows, axis, "float[4,6]", shape, w, c=np.arange(5, dtype=np.float32)))
    assert operators(after)["QuantizedMatMul_bias"] == 1
    assert operators(after)["Gemm"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"u": np.full(5, 3, np.int8)},
        {"t": np.array([0, 1, 1, 1, 1], np.float32)},
        {"s": 0.0},
        {"s": 1e30, "t": np.full(5, 1e30, np.float32)},
    ],
    ids=["zero point of the weight", "scale of zero", "scale of zero of x", "a product of scales that is infinite"],
)
def test_other_quantizations_stay(changes: dict[str, Any]) -> None:
    before = quantized(*LAYERS["Conv"], **changes, c=np.arange(5, dtype=np.float32))
    after = graph_passes.optimize(before, passes=["integer_layers"]).model
    assert operators(after) == operators(before)


def test_another_reader_of_the_rounded_numbers_keeps_them() -> None:
    statements = "k = Conv (d, v)  m = MaxPool <kernel_shape = [3,2]> (d)  y = Concat <axis = 1> (k, m)"
    before = quantized(statements, 0, "float[1,3,8,7]", *FILTER)
    after = operators(optimized(before))
    assert after["QuantizedConv"] == after["QuantizeLinear"] == after["MaxPool"] == 1


BETWEEN = """
    v = DequantizeLinear <axis = 0> (w, t, u)
    q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)
    {statements}
"""


def between(statements: str, outputs: str = "float[A,B,C,D] y") -> onnx.ModelProto:
    """Layers whose input and output have 5 channels; ``d`` is the input and ``v`` the weight."""
    types = "float s, uint8 z, float r, int8 k, int8[5,5,3,3] w, float[5] t, int8[5] u, float[5] c"
    text = (
        f"g (float[1,5,8,7] x, float[1,5,8,7] h) => ({outputs}) <{types}> {{ {BETWEEN.format(statements=statements)} }}"
    )
    weight = np.random.default_rng(2).integers(-63, 64, (5, 5, 3, 3)).astype(np.int8)
    scales = np.linspace(0.002, 0.005, 5, dtype=np.float32)
    values = {"s": 0.03, "z": 120, "r": 0.05, "k": -7, "w": weight, "t": scales, "u": np.zeros(5, np.int8)}
    return model(text, **values, c=np.arange(5, dtype=np.float32))


CONV = "Conv <pads = [1,1,1,1]>"


@pytest.mark.parametrize(
    ("statements", "layers"),
    [
        (
            f"a = {CONV} (d, v, c)  b = QuantizeLinear (a, r, k)  e = DequantizeLinear (b, r, k)  y = {CONV} (e, v)",
            {"QuantizedConv_bias_y8": 1, "QuantizedConv": 1},
        ),
        (
            f"""a = {CONV} (d, v)  f = Relu (a)  b = QuantizeLinear (f, r, k)  e = DequantizeLinear (b, r, k)
            y = {CONV} (e, v)""",
            {"QuantizedConv_relu_y8": 1, "QuantizedConv": 1},
        ),
        (
            f"""a = {CONV} (d, v)  f = Add (d, a)  g = Relu (f)  b = QuantizeLinear (g, r, k)
            e = DequantizeLinear (b, r, k)  y = {CONV} (e, v)""",
            {"QuantizedConv_residual_relu_r8_y8": 1, "QuantizedConv": 1},
        ),
        (
            f"""a = {CONV} (d, v)  f = Add (a, h)  b = QuantizeLinear (f, r, k)
            e = DequantizeLinear (b, r, k)  y = {CONV} (e, v)""",
            {"QuantizedConv_residual_y8": 1, "QuantizedConv": 1},
        ),
        (
            f"""a = {CONV} (d, v)  b = QuantizeLinear (a, r, k)  o = QuantizeLinear (a, r, k)
            e = DequantizeLinear (b, r, k)  f = DequantizeLinear (o, r, k)  g = {CONV} (e, v)  y = Add (f, g)""",
            {"QuantizedConv_y8": 1, "QuantizedConv_residual_r8": 1},
        ),
    ],
    ids=["two layers", "activation", "residual of integers", "residual of floats", "two equal conversions"],
)
def test_layers_exchange_integers(statements: str, layers: dict[str, int]) -> None:
    assert operators(optimized(between(statements))) == {"QuantizeLinear": 1, **layers}


def test_an_output_of_integers_that_is_read_before_it_is_made() -> None:
    """Of two equal conversions, the second one is the output, and the first one has a reader before it."""
    statements = f"""a = {CONV} (d, v)  b = QuantizeLinear (a, r, k)  e = DequantizeLinear (b, r, k)
        o = {CONV} (e, v)  y = QuantizeLinear (a, r, k)"""
    after = optimized(between(statements, "int8[A,B,C,D] y, float[E,F,G,H] o"))
    assert operators(after) == {"QuantizeLinear": 1, "QuantizedConv_y8": 1, "QuantizedConv": 1}


def test_two_outputs_with_equal_conversions_keep_both() -> None:
    statements = f"a = {CONV} (d, v)  y = QuantizeLinear (a, r, k)  o = QuantizeLinear (a, r, k)"
    assert operators(optimized(between(statements, "int8[A,B,C,D] y, int8[E,F,G,H] o")))["QuantizedConv"] == 1


def test_integers_that_are_an_input_of_the_graph() -> None:
    before = model(
        f"""g (uint8[1,5,8,7] x) => (float[A,B,C,D] y) <float s, uint8 z, int8[5,5,3,3] w, float t> {{
            d = DequantizeLinear (x, s, z)  v = DequantizeLinear (w, t)  y = {CONV} (d, v)
        }}""",
        s=0.03,
        z=120,
        w=np.random.default_rng(0).integers(-63, 64, (5, 5, 3, 3)),
        t=0.01,
    )
    assert operators(optimized(before)) == {"QuantizedConv": 1}


def test_a_residual_of_another_type() -> None:
    statements = f"""m = QuantizeLinear (h, r, k)  n = DequantizeLinear (m, r, k)  a = {CONV} (d, v)
        y = Add (n, a)"""
    assert operators(optimized(between(statements)))["QuantizedConv_residual_r8"] == 1


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        ("y = ConvTranspose (d, v)", "transposed convolutions have no integer kernel"),
        ("m = MatMul (d, d)  y = Relu (m)", "its second factor is not constant"),
        (f"i = Cast <to = 6> (x)  a = {CONV} (d, v)  y = Add (a, d)", None),
    ],
    ids=["transposed", "two tensors", "integers"],
)
def test_remarks_on_layers_in_float32(statements: str, reason: str | None) -> None:
    square = between(statements) if "MatMul" not in statements else None
    if square is None:
        square = model(
            f"""g (float[1,2,7,7] x) => (float[A,B,C,D] y) <float s, uint8 z> {{
                q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z) {statements}
            }}""",
            s=0.03,
            z=120,
        )
    (report,) = graph_passes.optimize(square, passes=["integer_layers"]).reports
    found = [remark.what for remark in report.remarks if remark.what.startswith(IN_FLOAT)]
    assert found == ([] if reason is None else [f"{IN_FLOAT}: {reason}"])


@pytest.mark.parametrize("groups", [1, 5])
def test_a_convolution_of_qlinear_operators(groups: int) -> None:
    rng = np.random.default_rng(0)
    before = model(
        f"""g (uint8[1,5,8,7] x) => (uint8[A,B,C,D] y)
        <float s, uint8 z, int8[5,{5 // groups},3,3] w, float[5] t, int8[5] u, float r, uint8 k, int32[5] b> {{
            y = QLinearConv <pads = [1,1,1,1], group = {groups}> (x, s, z, w, t, u, r, k, b)
        }}""",
        s=0.03,
        z=120,
        w=rng.integers(-63, 64, (5, 5 // groups, 3, 3)),
        t=np.linspace(0.002, 0.005, 5, dtype=np.float32),
        u=np.zeros(5),
        r=0.05,
        k=130,
        b=rng.integers(-900, 900, 5),
    )
    after = graph_passes.optimize(before, passes=["expand_functions", "integer_layers"]).model
    assert operators(after) == {"QuantizedConv_bias_y8": 1}
    inputs = oracle.random_inputs(before, 0)
    off = oracle.run(after, inputs)[0].astype(int) - oracle.run(before, inputs)[0]
    assert np.abs(off).max() <= 1


def test_qlinear_operators_of_another_form_are_named() -> None:
    before = model(
        """g (uint8[4,6] x) => (uint8[A,B] y) <float s, uint8 z, uint8[6,5] w, float t, uint8 u, float r, uint8 k> {
            y = QLinearMatMul (x, s, z, w, t, u, r, k)
        }""",
        s=0.03,
        z=120,
        w=WEIGHT.view(np.uint8),
        t=0.002,
        u=7,
        r=0.05,
        k=130,
    )
    (report,) = graph_passes.optimize(before, passes=["expand_functions"]).reports
    assert [remark.what for remark in report.remarks] == [
        f"{IN_FLOAT}: its weight or its scales are not those of layers of 8-bit integers"
    ]


def test_an_output_of_integers() -> None:
    before = between(f"a = {CONV} (d, v)  y = QuantizeLinear (a, r, k)", "int8[A,B,C,D] y")
    assert operators(optimized(before))["QuantizedConv_y8"] == 1


@pytest.mark.parametrize(
    "statements",
    [
        f"a = {CONV} (d, v)  b = QuantizeLinear (a, r, k)  e = DequantizeLinear (b, r, k)  y = Add (a, e)",
        f"""a = {CONV} (d, v)  b = QuantizeLinear (a, r, k)  o = QuantizeLinear (a, s, z)
        e = DequantizeLinear (b, r, k)  f = DequantizeLinear (o, s, z)  y = Add (e, f)""",
    ],
    ids=["float", "other integers"],
)
def test_another_reader_of_the_output_keeps_it_in_floats(statements: str) -> None:
    assert operators(optimized(between(statements)))["QuantizedConv"] == 1


def test_the_shape_of_a_layer_follows_from_what_folding_reveals() -> None:
    """The input is a Reshape to a shape that is computed from others."""
    statements = f"""k = Shape (h)  r = Reshape (h, k)  j = Constant <value = int64[3] {{1, 0, 6}}> ()
        m = Where (o, k, j)  x = Reshape (r, m)  {QUANTIZE} {PRODUCT}"""
    before = model(
        f"g (float[1,3,6] h) => (float[M,N,K] y) <int8[6,5] w, int8 b, float t, bool[3] o> {{ {statements} }}",
        w=WEIGHT,
        b=0,
        t=0.01,
        o=np.array([True, True, False]),
    )
    after = graph_passes.optimize(before, passes=["integer_layers", "fold_constants"]).ir_model
    (layer,) = (node for node in after.graph if node.op_type == "DynamicMatMul")
    assert static_shape(layer.outputs[0]) == (1, 3, 5)


def test_multiply_adds_stay_the_same() -> None:
    for before in (published(PRODUCT), quantized(*LAYERS["MatMul"])):
        (report,) = graph_passes.optimize(before, passes=["integer_layers"]).reports
        assert report.macs_after == report.macs_before
        assert report.macs_after


def test_a_product_of_scales_that_is_an_output_stays() -> None:
    text = f"{QUANTIZE} {PRODUCT}"
    before = model(
        f"g (float[2,3,6] x) => (float[M,N,K] y, float f) <int8[6,5] w, int8 b, float t> {{ {text} }}",
        w=WEIGHT,
        b=0,
        t=0.01,
    )
    assert operators(optimized(before)) == operators(before)


def test_a_gemm_whose_bias_is_quantized() -> None:
    layer = """k = DequantizeLinear (i, e)  y0 = Gemm (d, v, k)
        n = Constant <value = int64[4] {1, 1, 4, 5}> ()  y = Reshape (y0, n)"""
    scales = np.linspace(0.01, 0.05, 5, dtype=np.float32)
    before = model(
        f"""g (float[4,6] x) => (float[A,B,C,D] y)
        <float s, uint8 z, int8[6,5] w, float[5] t, int8[5] u, int32[5] i, float e> {{
            {QDQ.format(axis=1, layer=layer)}
        }}""",
        w=WEIGHT,
        s=0.03,
        z=120,
        t=scales,
        u=np.zeros(5),
        i=np.arange(5),
        e=0.01,
    )
    assert operators(optimized(before))["QuantizedMatMul_bias"] == 1


@pytest.mark.parametrize(
    ("layer", "axis", "x", "weight", "shape"),
    [
        ("y = Conv <group = 2> (d, v)", 0, "float[1,4,8,7]", "int8[6,2,3,2]", (6, 2, 3, 2)),
        ("y = MatMul (d, v)", 1, "float[1,2,4,6]", "int8[2,6,5]", (2, 6, 5)),
    ],
    ids=["small groups", "batch of weights"],
)
def test_layers_without_an_integer_kernel_stay(
    layer: str, axis: int, x: str, weight: str, shape: tuple[int, ...]
) -> None:
    """A single scale fits a weight of any shape."""
    statements = QDQ.format(axis=axis, layer=layer)
    before = model(
        f"g ({x} x) => (float[A,B,C,D] y) <float s, uint8 z, {weight} w, float t, int8 u> {{ {statements} }}",
        w=np.random.default_rng(0).integers(-63, 64, shape),
        s=0.03,
        z=120,
        t=0.02,
        u=0,
    )
    assert operators(optimized(before)) == operators(before)


def test_a_model_without_such_layers_keeps_its_opset() -> None:
    before = model(
        "g (float[2,3] x) => (uint8[2,3] y) <float s, uint8 z> { y = QuantizeLinear (x, s, z) }", 13, s=0.1, z=3
    )
    after = graph_passes.optimize(before, passes=["integer_layers"]).model
    assert next(entry.version for entry in after.opset_import if entry.domain == "") == 13
