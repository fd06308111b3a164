"""Programs for ranges of sizes: their answers at all corners and at sizes between, against ONNX Runtime."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiler
from compiler.sizes.differing import DifferentPrograms
from compiler.workloads.target import usable_cores
from tests.compiler.models import assert_answers
from tests.graph_passes.models import either

pytestmark = pytest.mark.tvm

BATCH, LENGTH = range(1, 5), range(1, 65)
THREADS = sorted({1, min(2, usable_cores())})
Shapes = Mapping[str, Sequence["int | range"]]


@dataclass(frozen=True)
class Case:
    """A model and its ranges.

    Attributes:
        text: of the graph. Its first braces hold the weights: the arrays of that name, or else normal values.
        below: integers of inputs are below it.
    """

    text: str
    shapes: Shapes
    weights: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 18
    below: int = 20

    @functools.cached_property
    def model(self) -> onnx.ModelProto:
        header = f'<ir_version: 10, opset_import: ["" : {self.opset}]>'
        model = onnx.parser.parse_model(f"{header} g {self.text}")
        rng = np.random.default_rng(0)
        for info in model.graph.value_info:
            kind = info.type.tensor_type
            shape = [dim.dim_value for dim in kind.shape.dim]
            array = np.asarray(self.weights.get(info.name, rng.standard_normal(shape)))
            array = array.astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).reshape(shape)
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
        assert not self.weights.keys() - {info.name for info in model.graph.value_info}
        del model.graph.value_info[:]
        return model

    @functools.cache  # noqa: B019  cases live as long as the tests
    def built(self, threads: int) -> compiler.RangedModel:
        return compiler.build(self.model, self.shapes, threads=threads)

    def inputs(self, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(sum(sizes.values()))
        arrays = {}
        for tensor in self.built(1).inputs:
            spec = tensor.at(sizes)
            whole = rng.integers(0, self.below, spec.shape) if spec.dtype != "bool" else rng.random(spec.shape) > 0.4
            real = rng.standard_normal(spec.shape)
            arrays[spec.name] = np.asarray(real if spec.dtype.startswith("float") else whole).astype(spec.dtype)
        return arrays

    def __hash__(self) -> int:
        return id(self)


X = {"x": (BATCH, LENGTH, 16)}
ROWS = {"x": (LENGTH, 6)}
SERVED = {
    "dense with bias and Gelu": Case(
        "(float[b,l,16] x) => (float[b,l,32] y) <float[16,32] w, float[32] c>"
        "{ d = MatMul (x, w) e = Add (d, c) y = Gelu (e) }",
        X,
        opset=20,
    ),
    "attention": Case(
        "(float[b,l,16] x, int64[b,l] mask) => (float[b,l,16] y)"
        "<float[16,16] wq, float[16,16] wk, float[16,16] wv, float[16] bq, float f, int64[4] heads, int64[3] flat,"
        " int64[2] axes, float low, float one>"
        "{ q0 = MatMul (x, wq) q1 = Add (q0, bq) q2 = Reshape (q1, heads) q = Transpose <perm = [0,2,1,3]> (q2)"
        " k0 = MatMul (x, wk) k2 = Reshape (k0, heads) k = Transpose <perm = [0,2,3,1]> (k2)"
        " v0 = MatMul (x, wv) v2 = Reshape (v0, heads) v = Transpose <perm = [0,2,1,3]> (v2)"
        " s = MatMul (q, k) t = Mul (s, f) m = Cast <to = 1> (mask) i = Sub (one, m) n = Mul (i, low)"
        " u = Unsqueeze (n, axes) z = Add (t, u) p = Softmax <axis = -1> (z) o = MatMul (p, v)"
        " r = Transpose <perm = [0,2,1,3]> (o) y = Reshape (r, flat) }",
        {**X, "mask": (BATCH, LENGTH)},
        {"heads": [0, 0, 4, 4], "flat": [0, 0, 16], "axes": [1, 2], "low": -1e4, "one": 1, "f": 0.5},
        below=2,
    ),
    "layer norm": Case(
        "(float[b,l,16] x) => (float[b,l,16] y) <float[16] g, float[16] c> { y = LayerNormalization (x, g, c) }", X
    ),
    "attention from one length to another of the same range": Case(
        "(float[k,8] q, float[l,8] z) => (float[k,8] y)"
        "{ t = Transpose (z) s = MatMul (q, t) p = Softmax (s) y = MatMul (p, z) }",
        {"q": (LENGTH, 8), "z": (LENGTH, 8)},
    ),
    "a stride, and a largest length that is prime": Case(
        "(float[b,3,l] x) => (float[b,4,m] y) <float[4,3,3] w> { y = Conv <pads = [1,1], strides = [2]> (x, w) }",
        {"x": (BATCH, 3, range(8, 68))},
    ),
    "the same function of two lengths of the same range": Case(
        "(float[k,4] x, float[l,4] z) => (float[k,4] y, float[l,4] u) { y = Sigmoid (x) u = Sigmoid (z) }",
        {"x": (LENGTH, 4), "z": (LENGTH, 4)},
    ),
    "a concatenation of three lengths": Case(
        "(float[k,4] x, float[l,4] z, float[m,4] w) => (float[n,4] y) { y = Concat <axis = 0> (x, z, w) }",
        {"x": (range(1, 30), 4), "z": (range(1, 31), 4), "w": (range(1, 30), 4)},
    ),
    "a constant that is not a number": Case(
        "(float[l,6] x) => (float[l,6] y) <float nan> { i = IsNaN (x) y = Where (i, nan, x) }", ROWS, {"nan": np.nan}
    ),
    "branches that depend on data": Case(
        "(float[b,l,16] x) => (float[b,l,16] y) <float[16,16] w, float zero>"
        "{ s = ReduceSum <keepdims = 0> (x) c = Greater (s, zero) d = MatMul (x, w) e = Exp (d)"
        + either(
            "y",
            "c",
            "float[b,l,16] p { f = MatMul (e, w) p = Add (f, x) }",
            "float[b,l,16] n { g = Neg (e) h = MatMul (g, w) n = Sigmoid (h) }",
        )
        + "}",
        X,
        {"zero": 0},
    ),
    "mean over tokens": Case(
        "(float[b,l,16] x) => (float[b,16] y) <int64[1] axes> { y = ReduceMean <keepdims = 0> (x, axes) }",
        X,
        {"axes": [1]},
    ),
    "convolution and global average": Case(
        "(float[b,3,l,8] x) => (float[b,4,1,1] y) <float[4,3,3,3] w>"
        "{ c = Conv <pads = [1,1,1,1]> (x, w) y = GlobalAveragePool (c) }",
        {"x": (BATCH, 3, LENGTH, 8)},
    ),
    "instance normalization": Case(
        "(float[b,3,l,8] x) => (float[b,3,l,8] y) <float[3] g, float[3] c> { y = InstanceNormalization (x, g, c) }",
        {"x": (BATCH, 3, LENGTH, 8)},
    ),
    "division by the length": Case(
        "(float[b,l,16] x) => (float[b,l,16] y) <int64 one>"
        "{ s = Shape (x) n = Gather (s, one) f = Cast <to = 1> (n) y = Div (x, f) }",
        X,
        {"one": 1},
    ),
    "embedding and a table of positions": Case(
        "(int64[b,l] ids) => (float[b,l,8] y) <float[20,8] w, float[64,8] table, int64[1] zero, int64[1] one>"
        "{ e = Gather (w, ids) s = Shape (ids) n = Gather (s, one) p = Slice (table, zero, n, zero) y = Add (e, p) }",
        {"ids": (BATCH, LENGTH)},
        {"zero": [0], "one": [1]},
    ),
    "causal mask of the length": Case(
        "(float[b,l,l] x) => (float[b,l,l] y) <int64 one, int64 zero, int64[1] a, int64[1] c, float low>"
        "{ s = Shape (x) n = Gather (s, one) r = Range (zero, n, one) i = Unsqueeze (r, c) j = Unsqueeze (r, a)"
        " m = LessOrEqual (j, i) e = Expand (m, s) w = Where (e, x, low) y = Softmax <axis = -1> (w) }",
        {"x": (BATCH, LENGTH, LENGTH)},
        {"one": 1, "zero": 0, "a": [0], "c": [1], "low": -1e9},
    ),
    "upper triangle of ones": Case(
        "(float[l,6] x) => (float[l,l] y) <int64 zero, int64[1] a>"
        "{ s = Shape (x) n = Gather (s, zero) u = Unsqueeze (n, a) h = Concat <axis = 0> (u, u)"
        " o = ConstantOfShape <value = float[1] {1.0}> (h) t = Trilu <upper = 1> (o) y = Neg (t) }",
        ROWS,
        {"zero": 0, "a": [0]},
    ),
    "concatenation of two lengths": Case(
        "(float[k,4] x, float[l,4] z) => (float[n,4] y) { c = Concat <axis = 0> (x, z) y = Softmax <axis = 0> (c) }",
        {"x": (range(1, 20), 4), "z": (LENGTH, 4)},
    ),
    "concatenation with a weight": Case(
        "(float[l,6] x) => (float[n,6] y) <float[3,6] c> { d = Concat <axis = 0> (x, c) y = Softmax <axis = 0> (d) }",
        ROWS,
    ),
    "convolution of a batch": Case(
        "(float[b,3,8,8] x) => (float[b,8,4,4] y) <float[8,3,3,3] w, float[8] c>"
        "{ d = Conv <pads = [1,1,1,1], strides = [2,2]> (x, w, c) y = Relu (d) }",
        {"x": (range(1, 9), 3, 8, 8)},
    ),
    "convolution of images": Case(
        "(float[1,3,h,w] x) => (float[1,8,k,j] y) <float[8,3,3,3] a, float[8] c>"
        "{ d = Conv <pads = [1,1,1,1], strides = [2,2]> (x, a, c) y = Relu (d) }",
        {"x": (1, 3, range(8, 41, 8), range(8, 33, 8))},
    ),
    "depthwise convolution of a length": Case(
        "(float[b,4,l] x) => (float[b,4,l] y) <float[4,1,3] w> { y = Conv <group = 4, pads = [1,1]> (x, w) }",
        {"x": (BATCH, 4, LENGTH)},
    ),
    "pooling of a batch": Case(
        "(float[b,4,8,8] x) => (float[b,4,4,4] y, float[b,4,1,1] z)"
        "{ y = MaxPool <kernel_shape = [2,2], strides = [2,2]> (x) z = GlobalAveragePool (x) }",
        {"x": (range(1, 9), 4, 8, 8)},
    ),
    "broadcast of sizes": Case(
        "(float[l,1] x, float[1,k] z) => (float[l,k] y) { y = Mul (x, z) }",
        {"x": (LENGTH, 1), "z": (1, range(1, 9))},
    ),
    "expanded to a length": Case(
        "(float[1,4] x, float[l] z) => (float[l,4] y) <int64[1] four>"
        "{ s = Shape (z) h = Concat <axis = 0> (s, four) y = Expand (x, h) }",
        {"x": (1, 4), "z": (LENGTH,)},
        {"four": [4]},
    ),
    "mean of tokens with a mask": Case(
        "(float[b,l,4] x, int64[b,l] mask) => (float[b,4] y) <int64[1] one, int64[1] two, float[1] least>"
        "{ f = Cast <to = 1> (mask) u = Unsqueeze (f, two) p = Mul (x, u) s = ReduceSum <keepdims = 0> (p, one)"
        " n = ReduceSum <keepdims = 0> (u, one) m = Max (n, least) y = Div (s, m) }",
        {"x": (BATCH, LENGTH, 4), "mask": (BATCH, LENGTH)},
        {"one": [1], "two": [2], "least": [1.0]},
        below=2,
    ),
    "largest of a length": Case(
        "(float[b,l,4] x) => (float[b,4] y, int64[b,4] z) <int64[1] one>"
        "{ y = ReduceMax <keepdims = 0> (x, one) z = ArgMax <axis = 1, keepdims = 0> (x) }",
        {"x": (BATCH, LENGTH, 4)},
        {"one": [1]},
    ),
    "sum of everything": Case(
        "(float[b,l] x) => (float y) { y = ReduceSum <keepdims = 0> (x) }", {"x": (BATCH, LENGTH)}
    ),
    "shapes as PyTorch exports them": Case(
        "(float[b,l,16] x) => (float[b,l,4,4] y, float[n,16] z)"
        "<int64[1] four, int64 i, int64 j, int64[1] a, int64[2] flat>"
        "{ s = Shape (x) p = Gather (s, i) q = Gather (s, j) u = Unsqueeze (p, a) v = Unsqueeze (q, a)"
        " h = Concat <axis = 0> (u, v, four, four) r = Reshape (x, h) y = Neg (r)"
        " t = Reshape (x, flat) z = Softmax <axis = 0> (t) }",
        X,
        {"four": [4], "i": 0, "j": 1, "a": [0], "flat": [-1, 16]},
    ),
    "two matrices": Case(
        "(float[b,l,16] x, float[b,16,l] z, float[b,l,8] v) => (float[b,l,l] y, float[b,16,8] w)"
        "{ y = MatMul (x, z) t = Transpose <perm = [0,2,1]> (x) w = MatMul (t, v) }",
        {"x": (BATCH, LENGTH, 16), "z": (BATCH, 16, LENGTH), "v": (BATCH, LENGTH, 8)},
    ),
    "functions of a square of a length": Case(
        "(float[l,6] x) => (float[n] y) <int64[1] flat>"
        "{ t = Transpose (x) g = MatMul (x, t) f = Reshape (g, flat) y = Sin (f) }",
        {"x": (range(1, 33), 6)},
        {"flat": [-1]},
    ),
    "transposed, padded, tiled, cut": Case(
        "(float[l,6] x) => (float[6,l] a, float[k,6] b, float[n,6] c, float[j,6] d, float[l,6] e, float[6] f)"
        "<int64[4] pads, int64[2] reps, int64[1] zero, int64[1] last, int64[1] far, int64 end>"
        "{ a = Transpose <perm = [1,0]> (x) b = Pad (x, pads) c = Tile (x, reps) d = Slice (x, zero, last, zero)"
        " e = Slice (x, last, far, zero, last) f = Gather <axis = 0> (x, end) }",
        {"x": (range(2, 65), 6)},
        {"pads": [1, 0, 2, 0], "reps": [2, 1], "zero": [0], "last": [-1], "far": [-1000], "end": -1},
    ),
    "integers": Case(
        "(int32[l] x) => (int32[l] y, int64[1] s, bool[l] z, int64[l] w) <int32 two, int64 zero>"
        "{ y = Mul (x, two) s = Shape (x) z = Greater (x, two) n = Gather (s, zero) c = Cast <to = 7> (x)"
        " w = Add (c, n) }",
        {"x": (LENGTH,)},
        {"two": 2, "zero": 0},
    ),
    "LSTM": Case(
        "(float[l,b,4] x, float[1,b,5] h, float[1,b,5] c) => (float[l,1,b,5] y, float[1,b,5] z)"
        "<float[1,20,4] w, float[1,20,5] r, float[1,40] bias>"
        "{ y, z = LSTM <hidden_size = 5> (x, w, r, bias, , h, c) }",
        {"x": (range(1, 20), BATCH, 4), "h": (1, BATCH, 5), "c": (1, BATCH, 5)},
    ),
    "GRU": Case(
        "(float[l,b,4] x) => (float[l,1,b,5] y, float[1,b,5] z)"
        "<float[1,15,4] w, float[1,15,5] r, float[1,30] bias>"
        "{ y, z = GRU <hidden_size = 5, linear_before_reset = 1> (x, w, r, bias) }",
        {"x": (range(1, 20), BATCH, 4)},
    ),
    "a part without sizes": Case(
        "(float[l,6] x, float[3,4] z) => (float[l,6] y, float[3,2] v) <float[4,2] w>{ y = Exp (x) v = MatMul (z, w) }",
        {**ROWS, "z": (3, 4)},
    ),
    "an output without sizes": Case(
        "(float[l,6] x) => (float[6] y) <int64[1] zero> { y = ReduceSum <keepdims = 0> (x, zero) }",
        ROWS,
        {"zero": [0]},
    ),
    "inputs as outputs": Case(
        "(float[l,6] x) => (float[l,6] y, float[l,6] z) { y = Identity (x) z = Identity (x) }", ROWS
    ),
    "two sizes only": Case(
        "(float[b,4] x) => (float[b,5] y) <float[4,5] w> { y = MatMul (x, w) }", {"x": (range(1, 3), 4)}
    ),
    "steps": Case(
        "(float[l,6] x) => (float[n,4] y) <int64[2] shape> { d = Reshape (x, shape) y = Softmax <axis = 0> (d) }",
        {"x": (range(2, 65, 2), 6)},
        {"shape": [-1, 4]},
    ),
    "enlarged": Case(
        '(float[1,2,l,4] x) => (float[1,2,n,8] y) <float[4] s> { y = Resize <mode = "nearest"> (x, , s) }',
        {"x": (1, 2, LENGTH, 4)},
        {"s": [1, 1, 2, 2]},
    ),
    "every second row": Case(
        "(float[l,6] x) => (float[n,6] y) <int64[1] a, int64[1] end, int64[1] step> { y = Slice (x, a, end, a, step) }",
        ROWS,
        {"a": [0], "end": [1000], "step": [2]},
    ),
    "a convolution that rounds": Case(
        "(float[1,3,h,8] x) => (float[1,8,k,4] y) <float[8,3,3,3] w>"
        "{ y = Conv <pads = [1,1,1,1], strides = [2,2]> (x, w) }",
        {"x": (1, 3, range(8, 65), 8)},
    ),
    "largest of a short length": Case(  # shorter than the loops that are unrolled
        "(float[b,l] x) => (float[b,1] y) <int64[1] one> { s = Sin (x) y = ReduceMax (s, one) }",
        {"x": (BATCH, range(1, 33))},
        {"one": [1]},
    ),
    "twice a length in several functions": Case(
        "(float[b,l,8] x) => (float[8,n,b] y, float[k,l,1] z) <int64[1] zero, int64[1] one, int64[1] two>"
        "{ c = Concat <axis = 1> (x, x) e = Erf (c) y = Transpose <perm = [2,1,0]> (e)"
        " d = Concat <axis = 0> (x, x) p = Softmax <axis = 0> (d) f = Slice (p, zero, one, two)"
        " z = Transpose <perm = [0,1,2]> (f) }",
        {"x": (BATCH, range(1, 33), 8)},
        {"zero": [0], "one": [1], "two": [2]},
    ),
}


def corners(case: Case) -> Iterator[dict[str, int]]:
    sizes = case.built(1).sizes
    for values in product(*({size.values[0], size.largest} for size in sizes)):
        yield dict(zip([size.name for size in sizes], values, strict=True))


@pytest.mark.parametrize(("name", "threads"), [(name, THREADS[i % len(THREADS)]) for i, name in enumerate(SERVED)])
def test_answers(name: str, threads: int) -> None:
    case = SERVED[name]
    found = case.built(threads)
    rng = np.random.default_rng(threads)
    inner = [{size.name: int(rng.choice(size.values)) for size in found.sizes} for _ in range(2)]
    second = {size.name: size.values[1] for size in found.sizes}
    for sizes in (*corners(case), second, *inner):
        assert_answers(found, case.model, case.inputs(sizes))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(SERVED)), st.data())
def test_any_sizes(name: str, data: st.DataObject) -> None:
    case = SERVED[name]
    found = case.built(THREADS[-1])
    sizes = {size.name: data.draw(st.sampled_from(size.values), size.name) for size in found.sizes}
    assert_answers(found, case.model, case.inputs(sizes))


def test_float16() -> None:
    case = Case(
        "(float16[b,l,16] x) => (float16[b,l,8] y) <float16[16,8] w, float16[8] c>"
        "{ d = MatMul (x, w) e = Add (d, c) y = Relu (e) }",
        X,
    )
    weights = {
        array.name: onnx.numpy_helper.to_array(array).astype(np.float64) for array in case.model.graph.initializer
    }
    for sizes in (*corners(case), {"b": 2, "l": 9}):
        inputs = case.inputs(sizes)
        product = inputs["x"].astype(np.float64) @ weights["w"]
        want = np.maximum(product + weights["c"], 0)
        # 16 products and sums, and the rounding of the product and of the sum, each of which is at most a unit of the
        # largest term.
        terms = np.abs(inputs["x"].astype(np.float64)) @ np.abs(weights["w"]) + np.abs(weights["c"])
        (answer,) = case.built(1).run(inputs).values()
        assert answer.dtype == np.float16
        assert (np.abs(answer - want) <= 18 * float(np.finfo(np.float16).eps) * terms).all()


def test_equal_arrays_are_one_weight() -> None:
    """All sizes share the weights: the layers of any two sizes have the same arrays."""
    found = SERVED["dense with bias and Gelu"].built(1)
    first, second = found.at({"b": 1, "l": 7}).layers, found.at({"b": 4, "l": 64}).layers
    assert [layer.op for layer in first] == ["dense"]
    for a, b in zip(first, second, strict=True):
        assert all(b.weights[name] is weight for name, weight in a.weights.items())


REJECTED = {
    "a rank that depends on the size": Case("(float[l,6] x) => (float[] y) { c = Squeeze (x) y = Neg (c) }", ROWS),
    "the first rows, if there are so many": Case(
        "(float[l,6] x) => (float[6] y) <int64[1] zero, int64[1] end>"
        "{ c = Slice (x, zero, end, zero) y = ReduceMax <keepdims = 0> (c, zero) }",
        ROWS,
        {"zero": [0], "end": [16]},
    ),
    "an even number of rows": Case(
        "(float[l,6] x) => (float[6] y) <int64 zero, int64 two, int64[1] a>"
        "{ s = Shape (x) n = Gather (s, zero) h = Div (n, two) e = Mul (h, two) u = Unsqueeze (e, a)"
        " c = Slice (x, a, u, a) y = ReduceMax <keepdims = 0> (c, a) }",
        {"x": (range(1, 64), 6)},
        {"zero": 0, "two": 2, "a": [0]},
    ),
    "a squeezed length in the middle": Case(
        "(float[l,6] x) => (float[n,6] y) <int64[2] shape>"
        "{ c = Squeeze (x) d = Softmax <axis = 0> (c) y = Reshape (d, shape) }",
        ROWS,
        {"shape": [-1, 6]},
    ),
    "another operation for a length of 1": Case(
        "(float[l,6] x) => (float[l,6] y) <int64 zero, int64 limit>"
        "{ s = Shape (x) n = Gather (s, zero) c = Less (n, limit) m = Neg (x) y = Where (c, m, x) }",
        ROWS,
        {"zero": 0, "limit": 2},
    ),
    "another operation for an interval of lengths": Case(
        "(float[l,6] x) => (float[l,6] y) <int64 zero, int64 low, int64 high>"
        "{ s = Shape (x) n = Gather (s, zero) a = Greater (n, low) b = Less (n, high) c = And (a, b) m = Neg (x)"
        " y = Where (c, m, x) }",
        {"x": (range(1, 513), 6)},
        {"zero": 0, "low": 5, "high": 100},
    ),
    "another float for a length of 1": Case(
        "(float[l,6] x) => (float[l,6] y) <int64 zero, int64 limit>"
        "{ s = Shape (x) n = Gather (s, zero) c = Less (n, limit) f = Cast <to = 1> (c) y = Add (x, f) }",
        ROWS,
        {"zero": 0, "limit": 2},
    ),
    "another row of a table for a length of 1": Case(
        "(float[l,6] x) => (float[l,6] y) <int64 zero, int64 limit, float[2] table>"
        "{ s = Shape (x) n = Gather (s, zero) c = Less (n, limit) i = Cast <to = 7> (c) f = Gather (table, i)"
        " y = Add (x, f) }",
        ROWS,
        {"zero": 0, "limit": 2},
    ),
    "another operation for multiples of 5": Case(
        "(float[l,6] x) => (float[l,6] y) <int64 zero, int64 five>"
        "{ s = Shape (x) n = Gather (s, zero) q = Mod (n, five) c = Equal (q, zero) m = Neg (x) y = Where (c, m, x) }",
        ROWS,
        {"zero": 0, "five": 5},
    ),
    "padded to a multiple of 8": Case(
        "(float[l,6] x) => (float[n,6] y)"
        "<int64 seven, int64 eight, int64 zero, int64[1] a, int64[2] before, int64[1] after>"
        "{ s = Shape (x) n = Gather (s, zero) h = Add (n, seven) q = Div (h, eight) m = Mul (q, eight) d = Sub (m, n)"
        " u = Unsqueeze (d, a) p = Concat <axis = 0> (before, u, after) y = Pad (x, p) }",
        {"x": (range(2, 65), 6)},
        {"seven": 7, "eight": 8, "zero": 0, "a": [0], "before": [0, 0], "after": [0]},
    ),
    "another operation for short inputs": Case(
        "(float[l,6] x) => (float[l,6] y) <int64 zero, int64 limit>"
        "{ s = Shape (x) n = Gather (s, zero) c = Less (n, limit) m = Neg (x) y = Where (c, m, x) }",
        ROWS,
        {"zero": 0, "limit": 20},
    ),
    "a limited number": Case(
        "(int64[l] x) => (int64[l] y) <int64 zero, int64 limit>"
        "{ s = Shape (x) n = Gather (s, zero) m = Min (n, limit) y = Add (x, m) }",
        {"x": (LENGTH,)},
        {"zero": 0, "limit": 9},
    ),
    "a remainder": Case(
        "(int64[l] x) => (int64[l] y) <int64 zero, int64 two>"
        "{ s = Shape (x) n = Gather (s, zero) m = Mod (n, two) y = Add (x, m) }",
        {"x": (range(1, 64),)},
        {"zero": 0, "two": 2},
    ),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_one_program_cannot_serve(name: str) -> None:
    with pytest.raises(DifferentPrograms) as error:
        REJECTED[name].built(1)
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith("; give smaller ranges, or numbers")


def test_no_segments_of_onnx_runtime() -> None:
    case = Case("(float[l,6] x) => (int64[2,n] y) { y = NonZero (x) }", ROWS)
    with pytest.raises(
        ValueError, match=r"^cannot compile NonZero .*; programs for ranges of sizes have no segments of ONNX Runtime$"
    ):
        case.built(1)


def test_an_index_that_short_inputs_do_not_have() -> None:
    case = Case("(float[l,6] x) => (float[6] y) <int64 i> { y = Gather <axis = 0> (x, i) }", ROWS, {"i": 3})
    with pytest.raises(ValueError, match=r"^cannot compile Gather [^\n]*index 3 is out of range[^\n]*$"):
        case.built(1)


def test_options_for_fixed_sizes() -> None:
    case = SERVED["layer norm"]
    options: list[dict[str, Any]] = [{"schedules": "records.sqlite"}, {"check": {}}, {"tune": True}, {"strict": True}]
    for option in options:
        with pytest.raises(
            ValueError, match=r"^schedules, check, tune, strict and precision are for fixed sizes; .* has ranges$"
        ):
            compiler.build(case.model, case.shapes, threads=1, **option)
