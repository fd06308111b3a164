"""Constants are folded and nodes without effect removed; random, large and unknown values remain."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import numpy_helper

import graph_passes
from graph_passes import FoldConstants
from graph_passes.opset import OPSET
from tests.graph_passes import oracle
from tests.graph_passes.models import model


def parsed(body: str, opset: int = OPSET, functions: str = "") -> onnx.ModelProto:
    domains = f'["" : {opset}, "other" : 1, "loopwright" : 1]'
    return onnx.parser.parse_model(f"<ir_version: 8, opset_import: {domains}> g {body} {functions}")


def folded(model: onnx.ModelProto, largest: int = 2**24) -> tuple[onnx.ModelProto, list[str]]:
    """Runs the pass twice. Returns the model and its remarks; the second run changes nothing."""
    passes = [FoldConstants(largest=largest)]
    optimized = graph_passes.optimize(model, passes=passes)
    again = graph_passes.optimize(optimized.model, passes=passes).model
    assert operators(again) == operators(optimized.model)
    assert len(again.graph.initializer) == len(optimized.model.graph.initializer)
    names = [[value.name for value in m.graph.output] for m in (model, optimized.model, again)]
    assert names[0] == names[1] == names[2]
    return optimized.model, [str(remark) for remark in optimized.reports[0].remarks]


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def check(model: onnx.ModelProto, left: str, **inputs: object) -> onnx.ModelProto:
    """Checks that the pass leaves these operators, a valid model and the same outputs."""
    result, _ = folded(model)
    assert operators(result) == Counter(left.split())
    onnx.checker.check_model(result, full_check=True)
    oracle.assert_same(model, result, {name: np.asarray(value) for name, value in inputs.items()})
    return result


X = np.array([[1, -2, 3], [4, 5, -6]], np.float32)

# Structure and numbers

MODELS = {
    "shape arithmetic": (
        "(float[2, 3] x) => (float[3, 2] y) { s = Shape(x)  i = Constant<value = int64[1] {1}>()  g = Gather(s, i) "
        "  m = Constant<value = int64[1] {-1}>()  c = Concat<axis = 0>(g, m)  y = Reshape(x, c) }",
        "Reshape",
    ),
    "known numbers": (
        "(float[2, 3] x) => (float[2, 3] y) "
        "{ a = Constant<value_float = 2.0>()  b = Exp(a)  c = Neg(b)  y = Add(x, c) }",
        "Add",
    ),
    "neutral numbers": (
        "(float[2, 3] x) => (float[2, 3] y) { i = Constant<value_float = 1.0>()  o = Constant<value_float = 0.0>() "
        "  a = Mul(x, i)  b = Add(a, o)  c = Div(b, i)  d = Sub(c, o)  y = Relu(d) }",
        "Relu",
    ),
    "numbers that are nearly neutral": (
        "(float[2, 3] x) => (float[2, 3] y) { i = Constant<value_float = 1.000002>() "
        "  o = Constant<value_float = 1e-10>()  r = Relu (x)  a = Mul(r, i)  b = Add(o, a)  y = Log (b) }",
        "Relu Mul Add Log",
    ),
    "neutral numbers on the left": (
        "(float[2, 3] x) => (float[2, 3] y) { i = Constant<value_float = 1.0>()  o = Constant<value_float = 0.0>() "
        "  a = Mul(i, x)  b = Add(o, a)  c = Div(i, b)  y = Sub(o, c) }",
        "Div Sub",
    ),
    "a neutral number with more axes": (
        "(float[2, 3] x) => (float[1, 2, 3] y) <float[1, 1, 1] o = {0}> { a = Add(x, o)  y = Neg(a) }",
        "Add Neg",
    ),
    "identities": (
        "(float[2, 3] x) => (float[2, 3] y) { a = Identity(x)  b = Relu(a)  c = Identity(b)  y = Identity(c) }",
        "Relu",
    ),
    "casts": ("(float[2, 3] x) => (float[2, 3] y) { a = Cast<to = 1>(x)  y = Neg(a) }", "Neg"),
    "transposes": (
        "(float[2, 3] x) => (float[2, 3] y) { a = Transpose<perm = [1, 0]>(x) "
        "  b = Transpose<perm = [1, 0]>(a)  y = Neg(b) }",
        "Neg",
    ),
    "reshape to the same": (
        "(float[2, 3] x) => (float[2, 3] y) { s = Constant<value = int64[2] {2, 3}>()  a = Reshape(x, s)  y = Neg(a) }",
        "Neg",
    ),
    "reshapes": (
        "(float[2, 3] x) => (float[3, 2] y) { s = Constant<value = int64[1] {6}>()  a = Reshape(x, s) "
        "  t = Constant<value = int64[2] {3, 2}>()  y = Reshape(a, t) }",
        "Reshape",
    ),
    "dead nodes": ("(float[2, 3] x) => (float[2, 3] y) { a = Exp(x)  b = Neg(a)  y = Relu(x) }", "Relu"),
    "dropout": ("(float[2, 3] x) => (float[2, 3] y) { a = Relu(x)  b = Dropout(a)  y = Neg(b) }", "Relu Neg"),
    "dropout without training": (
        "(float[2, 3] x) => (float[2, 3] y) <bool t = {0}> { a = Dropout(x, , t)  y = Neg(a) }",
        "Neg",
    ),
    "a branch that is known": (
        "(float[2, 3] x) => (float[2, 3] y) <bool t = {1}> { y = If(t) <"
        "then_branch = one () => (float[2, 3] p) { p = Neg(x) }, "
        "else_branch = two () => (float[2, 3] q) { q = Exp(x) }> }",
        "Neg",
    ),
    "input to output": ("(float[2, 3] x) => (float[2, 3] y) { y = Identity(x) }", "Identity"),
    "input to outputs": (
        "(float[2, 3] x) => (float[2, 3] y, float[2, 3] z) { y = Identity(x)  a = Dropout(x)  z = Identity(a) }",
        "Identity Identity",
    ),
    "one value, two outputs": (
        "(float[2, 3] x) => (float[2, 3] y, float[2, 3] z) { y = Relu(x)  z = Identity(y) }",
        "Relu Identity",
    ),
}


@pytest.mark.parametrize(("body", "left"), MODELS.values(), ids=MODELS)
def test_what_is_known_or_does_nothing_goes(body: str, left: str) -> None:
    check(parsed(body), left, x=X)


BRANCHES = {
    "known numbers": ("k = Constant<value_float = 2.0>()  e = Exp(k)  t = Add(x, e)", "Add"),
    "identities": ("a = Identity(x)  b = Neg(a)  t = Identity(b)", "Neg"),
    "only an identity": ("t = Identity(x)", "Identity"),
    "dropout": ("a = Dropout(x)  t = Relu(a)", "Relu"),
    "a shape": ("s = Shape(x)  k = ConstantOfShape<value = float[1] {1.5}>(s)  t = Add(x, k)", "Add"),
    "nothing but numbers": ("t = Constant<value = float[2, 3] {1, 2, 3, 4, 5, 6}>()", ""),
    "neutral numbers": ("k = Constant<value_float = 1.0>()  a = Mul(x, k)  t = Neg(a)", "Neg"),
}


@pytest.mark.parametrize(("inside", "left"), BRANCHES.values(), ids=BRANCHES)
def test_branches_are_folded_too(inside: str, left: str) -> None:
    model = parsed(
        "(bool c, float[2, 3] x) => (float[2, 3] y) { y = If(c) <"
        f"then_branch = one () => (float[2, 3] t) {{ {inside} }}, "
        "else_branch = two () => (float[2, 3] e) { e = Neg(x) }> }"
    )
    result = check(model, "If", c=True, x=X)
    (branch,) = (a.g for a in result.graph.node[0].attribute if a.name == "then_branch")
    assert Counter(node.op_type for node in branch.node if node.op_type != "Constant") == Counter(left.split())
    check(model, "If", c=False, x=X)


TINY = {
    "added": ("Add(x, k)", 1e-10),
    "added first": ("Add(k, x)", -1e-12),
    "subtracted": ("Sub(x, k)", 1e-9),
    "factor": ("Mul(x, k)", 1 + 2.0**-20),
    "divisor": ("Div(x, k)", 1 - 2.0**-20),
}


@pytest.mark.parametrize(("node", "number"), TINY.values(), ids=TINY)
def test_numbers_that_are_almost_neutral_stay(node: str, number: float) -> None:
    """An epsilon before a logarithm, a root or a division decides the result where x is zero."""
    model = parsed(f"(float[2, 3] x) => (float[2, 3] y) <float k> {{ a = Abs(x)  y = {node.replace('x', 'a')} }}")
    del model.graph.value_info[:]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(number).reshape(()), "k"))
    assert operators(folded(model)[0]) == {"Abs": 1, node.partition("(")[0]: 1}


NEUTRAL = {
    # of each: the shape of the constant, its elements, the node, and what is left before Neg
    "in front": ((), 1, "Mul(k, x)", ""),
    "zeros of the shape": ((2, 3), 0, "Add(x, k)", ""),
    "ones along an axis": ((3,), 1, "Div(x, k)", ""),
    "zeros along an axis": ((2, 1), 0, "Sub(x, k)", ""),
    "a zero of a higher rank": ((1, 1, 1), 0, "Add(x, k)", "Add"),
    "ones that repeat x": ((2, 2, 3), 1, "Mul(x, k)", "Mul"),
    "one minus": ((), 0, "Sub(k, x)", "Sub"),
    "one over": ((), 1, "Div(k, x)", "Div"),
}


@pytest.mark.parametrize(("shape", "number", "node", "left"), NEUTRAL.values(), ids=NEUTRAL)
def test_neutral_numbers_of_any_shape(shape: tuple[int, ...], number: float, node: str, left: str) -> None:
    model = parsed(f"(float[2, 3] x) => (y) {{ a = {node}  y = Neg(a) }}")
    model.graph.initializer.append(numpy_helper.from_array(np.full(shape, number, np.float32), "k"))
    result, _ = folded(model)
    assert operators(result) == Counter([*left.split(), "Neg"])
    oracle.assert_same(model, result, {"x": X})


def test_nan_and_infinities_reach_a_product_with_zero() -> None:
    model = parsed("(float[2, 3] x) => (float[2, 3] y) { k = Constant<value_float = 0.0>()  y = Mul(x, k) }")
    result = graph_passes.optimize(model).model
    x = np.array([[np.nan, np.inf, -np.inf], [1, -1, 0]], np.float32)
    np.testing.assert_array_equal(oracle.run(result, {"x": x})[0], oracle.run(model, {"x": x})[0])


def test_a_branch_that_never_runs_need_not_fit() -> None:
    """In both branches a size decides whether a Squeeze runs. Folding reveals that one branch cannot run."""
    inner = (
        "k{n} = Abs(shape{n})  x{n} = Reshape(x, k{n})  d{n} = Shape<start = 0, end = 1>(x{n})  c{n} = Equal(d{n}, one)"
        " r{n} = If(c{n}) <then_branch = a{n} () => (p{n}) {{ p{n} = Squeeze(x{n}, zero) }}, "
        "else_branch = b{n} () => (q{n}) {{ q{n} = Identity(x{n}) }}>  y{n} = LSTM<hidden_size = 2>(r{n}, w, v)"
    )
    model = parsed(
        "(float[1, 4, 1, 3] x, bool c) => (y) <int64[1] one = {1}, int64[1] zero = {0}, "
        "int64[4] shapet = {1, 4, 1, 3}, int64[4] shapee = {2, 2, 1, 3}> "
        f"{{ y = If(c) <then_branch = one () => (yt) {{ {inner.format(n='t')} }}, "
        f"else_branch = two () => (ye) {{ {inner.format(n='e')} }}> }}"
    )
    rng = np.random.default_rng(0)
    for name, shape in (("w", (1, 8, 3)), ("v", (1, 8, 2))):
        model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape, np.float32), name))
    inputs = {"x": rng.standard_normal((1, 4, 1, 3), np.float32), "c": np.array(True)}
    result, remarks = folded(model)
    oracle.assert_same(model, result, inputs)
    assert remarks == ["control flow: 1 branches are not folded: they do not fit the shapes"]
    branches = {a.name: operators(onnx.helper.make_model(a.g)) for a in result.graph.node[0].attribute}
    assert branches["then_branch"] == {"Squeeze": 1, "LSTM": 1}
    assert branches["else_branch"]["If"] == 1
    oracle.assert_same(model, graph_passes.optimize(model).model, inputs)


def test_outputs_that_are_known_keep_their_names() -> None:
    model = parsed(
        "(float[2, 3] x) => (float[3] w, float[2] k, float[2] e, float[2, 3] y) <float[3] w = {1, 2, 3}> "
        "{ k = Constant<value = float[2] {1, 2}>()  e = Exp(k)  y = Add(x, w) }"
    )
    result, _ = folded(model)
    onnx.checker.check_model(result)
    oracle.assert_same(model, result, {"x": X})


def test_what_a_product_computes_from_weights_is_one_weight() -> None:
    rng = np.random.default_rng(0)
    model = parsed("(float[2, 3] x) => (float[2, 5] y) { w = MatMul(a, b)  t = Transpose(w)  y = MatMul(x, t) }")
    for name, shape in (("a", (5, 4)), ("b", (4, 3))):
        model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape, np.float32), name))
    result = check(model, "MatMul", x=X)
    assert [tuple(tensor.dims) for tensor in result.graph.initializer] == [(3, 5)]


# What is not folded


def test_a_large_tensor_is_not_computed() -> None:
    model = parsed("(float[2, 3] x) => (float[2, 3] y) <float[6] k = {1, 2, 3, 4, 5, 6}> "
                   "{ e = Exp(k)  s = ReduceSum<keepdims = 0>(e)  y = Mul(x, s) }")  # fmt: skip
    assert operators(folded(model, largest=6)[0]) == {"Mul": 1}
    assert operators(folded(model, largest=5)[0]) == {"Exp": 1, "ReduceSum": 1, "Mul": 1}


RANDOM = (
    "RandomNormal<shape = [64]>()",
    "RandomUniform<shape = [64]>()",
    "RandomNormalLike(k)",
    "RandomUniformLike(k)",
    "Bernoulli(h)",
    "Dropout(h, , t)",
)


@pytest.mark.parametrize("draw", RANDOM)
def test_random_numbers_are_drawn_at_every_run_and_each_alone(draw: str) -> None:
    """They are neither computed by the pass nor merged."""
    model = parsed(
        "() => (float[64] d) <bool t = {1}> "
        "{ s = Constant<value_ints = [64]>()  k = ConstantOfShape<value = float[1] {1}>(s) "
        f"  two = Constant<value_float = 2.0>()  h = Div(k, two)  a = {draw}  b = {draw}  d = Sub(a, b) }}"
    )
    result, _ = folded(model)
    assert operators(result)[draw.partition("<")[0].partition("(")[0]] == 2
    options = onnxruntime.SessionOptions()  # ONNX Runtime's optimizations merge equal Bernoulli nodes
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(result.SerializeToString(), options, providers=["CPUExecutionProvider"])
    one, other = (np.asarray(session.run(None, {})[0]) for _ in range(2))
    assert np.any(one != 0)
    assert np.any(one != other)


@pytest.mark.parametrize("training", ["bool[1] t", "bool t"])
def test_a_dropout_that_may_be_training_stays(training: str) -> None:
    model = parsed(f"(float[2, 3] x, {training}) => (float[2, 3] y) {{ a = Dropout(x, , t)  y = Neg(a) }}")
    if training == "bool t":
        check(model, "Dropout Neg", x=X, t=False)
    assert operators(folded(model)[0]) == {"Dropout": 1, "Neg": 1}


def test_a_mask_that_is_read_is_still_there() -> None:
    model = parsed("(float[2, 3] x) => (float[2, 3] y, bool[2, 3] m) { y, m = Dropout(x) }")
    result, _ = folded(model)
    oracle.assert_same(model, result, {"x": X})


# Functions

FUNCTIONS = """
<domain: "other", opset_import: ["" : 18, "other" : 1]> Twice (x) => (t) { a = other.Plus <by = 2.0> (x)  t = Neg(a) }
<domain: "other", opset_import: ["" : 18]> Plus <by> (x) => (t) {
    k = Constant <value_float: float = @by> ()  t = Add(x, k)
}
<domain: "loopwright", opset_import: ["" : 18]> Kept (x) => (t) { i = Identity(x)  t = Relu(i) }
"""


def test_functions_are_inlined_and_ours_are_not() -> None:
    nodes = "a = other.Twice(x)  b = loopwright.Kept(a)  y = other.Plus <by = 3.0> (b)"
    model = parsed(f"(float[2, 3] x) => (float[2, 3] y) {{ {nodes} }}", functions=FUNCTIONS)
    result = check(model, "Add Neg Kept Add", x=X)
    assert [function.name for function in result.functions] == ["Kept"]
    assert {opset.domain for opset in result.opset_import} == {"", "loopwright"}


# Stated shapes


STATED = {
    # A model may state any shape for its output; runtimes infer the real one.
    "another rank": ("float[2, 3, 5] x", "float[2, 15] y", "y = Softmax(x)", 9),
    "another size": ("float[2, 3] x", "float[4, 5] y", "k = Shape(x)  a = Reshape(x, k)  y = Relu(a)", 18),
    "the shape of the input": (
        "float[2, 3] x",
        "float[2, 3] y",
        "k = Constant<value_ints = [6]>()  y = Reshape(x, k)",
        18,
    ),
}


@pytest.mark.parametrize(("given", "stated", "nodes", "opset"), STATED.values(), ids=STATED)
@pytest.mark.parametrize("passes", [None, ["fold_constants"]])
def test_a_stated_shape_that_contradicts_the_graph(
    given: str, stated: str, nodes: str, opset: int, passes: list[str] | None
) -> None:
    model = parsed(f"({given}) => ({stated}) {{ {nodes} }}", opset)
    inputs = oracle.random_inputs(model, 0)
    result = graph_passes.optimize(model, passes=passes).model
    oracle.assert_same(model, result, inputs)


def test_a_stated_intermediate_shape_that_contradicts_the_graph() -> None:
    model = parsed("(float[2, 3] x) => (float[3, 2] y) <int64[2] k = {3, 2}> { a = Reshape(x, k)  y = Neg(a) }")
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, (2, 3)))
    check(model, "Reshape Neg", x=X)


# The opset

HEAD = "(float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)"
AGES = {
    # of each: from the opset, to the opset, the nodes, and their weights
    "normalized": (7, 17, "y = BatchNormalization(x, s, s, s, s)", "float[2] s = {1, 2}"),
    "activations": (7, 17, "a = LeakyRelu<alpha = 0.1>(x)  b = Elu(a)  c = Sigmoid(b)  y = HardSigmoid(c)", ""),
    "softmax over all": (7, 12, "y = Softmax(x)", ""),
    "softmax in the middle": (7, 12, "y = LogSoftmax<axis = 2>(x)", ""),
    "softmax over one": (13, 17, "y = Softmax(x)", ""),
    "clip": (7, 10, "y = Clip<min = -0.5, max = 0.5>(x)", ""),
    "clip from below": (7, 10, "y = Clip<min = 0.0>(x)", ""),
    "pad and slice": (7, 9, "a = Pad<pads = [0, 0, 1, 1, 0, 0, 1, 1]>(x) "
                            "y = Slice<axes = [2, 3], starts = [0, 1], ends = [4, 5]>(a)", ""),
    "pad in version 10": (10, 10, 'a = Pad<pads = [0, 0, 1, 1, 0, 0, 1, 1], mode = "reflect">(x)  y = Slice(a, b, e)',
                          "int64[4] b = {0, 0, 1, 1}, int64[4] e = {1, 2, 5, 5}"),
    "squeeze": (7, 12, "a = Squeeze<axes = [0]>(x)  y = Unsqueeze<axes = [0]>(a)", ""),
    "reductions": (7, 12, "a = ReduceSum<axes = [2]>(x)  b = ReduceMean<axes = [-1]>(x)  y = Add(a, b)", ""),
    "newer reductions": (13, 17, "a = ReduceMax<axes = [2]>(x)  b = ReduceMean<axes = [-1]>(x)  y = Add(a, b)", ""),
    "dropout": (7, 11, "a = Dropout<ratio = 0.5>(x)  y = Neg(a)", ""),
    "dropout in version 12": (12, 17, "a = Dropout(x, r)  y = Neg(a)", "float r = {0.5}"),
    "split": (7, 12, "a, b = Split<axis = 1>(x)  y = Concat<axis = 1>(b, a)", ""),
    "split in version 13": (13, 17, "a, b = Split<axis = 1>(x)  y = Concat<axis = 1>(b, a)", ""),
    "upsample": (9, 9, "a = Upsample(x, s)  y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a)",
                 "float[4] s = {1, 1, 2, 2}"),
    "pooling": (7, 17, "a = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x) "
                       "y = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(a)", ""),
    "top": (7, 9, "v, i = TopK<k = 4>(x)  y = Neg(v)", ""),
    "cumulated": (11, 17, "y = CumSum(x, k)", "int64 k = {2}"),
    "inside a branch": (11, 12, "y = If(c) <then_branch = one () => (float[1, 2, 4, 4] t) { t = Softmax(x) }, "
                                "else_branch = two () => (float[1, 2, 4, 4] e) { e = Neg(x) }>", "bool c = {1}"),
}  # fmt: skip


@pytest.mark.parametrize("opset", range(7, 18))
def test_old_opsets_are_raised_and_answer_the_same(opset: int) -> None:
    for name, (first, last, nodes, weights) in AGES.items():
        if not first <= opset <= last:
            continue
        model = parsed(f"{HEAD} <{weights}> {{ {nodes} }}", opset)
        result, remarks = folded(model)
        assert (name, {o.domain: o.version for o in result.opset_import}[""], remarks) == (name, OPSET, [])
        onnx.checker.check_model(result, full_check=True)
        oracle.assert_same(model, result, oracle.random_inputs(model, 0))


@pytest.mark.parametrize("opset", [18, 19, 21])
def test_newer_opsets_stay(opset: int) -> None:
    result, remarks = folded(parsed("(float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }", opset))
    assert (result.opset_import[0].version, remarks) == (opset, [])


KEPT = {
    "unknown": ("(float[2, 3] x) => (float[2, 3] y) { a = Frobnicate(x)  y = Identity(a) }", 11, "onnx cannot convert"),
    "changed its meaning": (
        "(float[2, 3, 4] x) => (float[2, 3, 4] y) { a = Identity(x)  y = Hardmax(a) }",
        11,
        "Hardmax",
    ),
}


@pytest.mark.parametrize(("body", "opset", "reason"), KEPT.values(), ids=KEPT)
def test_an_opset_that_cannot_be_raised_stays(body: str, opset: int, reason: str) -> None:
    """Only the opset stays; the rest of the pass runs."""
    result, (remark,) = folded(parsed(body, opset))
    assert result.opset_import[0].version == opset
    assert remark.startswith(f"opset: stays at {opset}: ")
    assert reason in remark
    assert len(result.graph.node) == 1


def test_an_opset_in_which_layers_are_written_stays() -> None:
    functions = FUNCTIONS.replace('"" : 18', '"" : 17')
    body = "(float[2, 3] x) => (float[2, 3] y) { a = other.Plus<by = 1.0>(x)  y = loopwright.Kept(a) }"
    result, remarks = folded(parsed(body, 17, functions))
    assert remarks == ["opset: stays at 17: function bodies are written in it"]
    assert operators(result) == {"Add": 1, "Kept": 1}
    oracle.assert_same(parsed(body, 17, functions), result, {"x": X})


def test_automatic_borders_count_dilations() -> None:
    given = model(
        "g (float[1,1,8,4] x, float[8,1,2,1] w) => (float[1,8,4,4] y)"
        '{ y = Conv <auto_pad="SAME_UPPER", strides=[2,1], dilations=[2,1]> (x, w) }'
    )
    (node,) = graph_passes.optimize(given, passes=["fold_constants"]).model.graph.node
    pads = next(list(attribute.ints) for attribute in node.attribute if attribute.name == "pads")
    assert pads == [0, 0, 1, 0]


def test_an_old_clip_without_bounds_keeps_finite() -> None:
    given = model("g (float[2] x) => (float[2] y) { y = Clip <max=1.0> (x) }", opset=9)
    optimized = graph_passes.optimize(given, passes=["fold_constants"]).model
    (y,) = oracle.run(optimized, {"x": np.array([-np.inf, 2], np.float32)})
    np.testing.assert_array_equal(y, np.array([np.finfo(np.float32).min, 1], np.float32))


OLD = {
    "the value of a pad in double": ("a = Cast <to = 11> (x)  y = Pad <pads = [1, 1], value = 2.0> (a)", 9),
    "the value that a mode does not use": (
        'a = Cast <to = 11> (x)  y = Pad <mode = "edge", pads = [1, 1], value = 2.0> (a)',
        7,
    ),
}


@pytest.mark.parametrize(("nodes", "opset"), OLD.values(), ids=OLD)
def test_attributes_that_became_inputs(nodes: str, opset: int) -> None:
    original = parsed(f"(float[3] x) => (double[5] y) {{ {nodes} }}", opset)
    result, _ = folded(original)
    assert result.opset_import[0].version == OPSET
    oracle.assert_same(original, result, oracle.random_inputs(original, 0))


def test_an_empty_input_of_an_old_resize() -> None:
    """Sizes are given, and the scales are an input without elements."""
    original = parsed(
        "(float[1, 1, 2, 2] x, float[0] scales) => (float[1, 1, 4, 6] y)"
        " <float[0] roi = {}, int64[4] sizes = {1, 1, 4, 6}> { y = Resize (x, roi, scales, sizes) }",
        11,
    )
    result, _ = folded(original)
    oracle.assert_same(original, result, oracle.random_inputs(original, 0))


@pytest.mark.parametrize("node", ["Div (a, zero)", "Mod (a, zero)", "Div (least, minus)", "Mod (least, minus)"])
def test_a_division_that_is_not_defined_stays(node: str) -> None:
    """NumPy has a result and a warning, and runtimes an error."""
    constants = "<int32 a = {5}, int32[2] zero = {1, 0}, int32 least = {-2147483648}, int32[1] minus = {-1}>"
    model, _ = folded(parsed(f"(int32[2] x) => (int32[2] y) {constants} {{ d = {node} y = Add (x, d) }}"))
    assert operators(model) == {node[:3]: 1, "Add": 1}
    model, _ = folded(parsed(f"(int32[2] x) => (int32[2] y) {constants} {{ d = Div (least, zero) y = Add (x, a) }}"))
    assert operators(model) == {"Add": 1}


@pytest.mark.parametrize(
    "nodes",
    [
        "s = Gather (texts, one)",
        "s = Cast <to = 8> (one)",
        "t = Cast <to = 8> (x) u = Gather (texts, one) s = Where (b, t, u)",
        "a, s = Split <axis = 0, num_outputs = 2> (texts)",
        "s = Concat <axis = 0> (texts, texts)",
    ],
)
def test_strings_are_not_computed(nodes: str) -> None:
    given = parsed(f"(float[2] x, bool b) => (string[n] s) <int64 one = {{1}}> {{ {nodes} }}")
    given.graph.initializer.append(onnx.numpy_helper.from_array(np.array(["a", "bc"], object), "texts"))
    given.graph.output[0].type.tensor_type.ClearField("shape")
    inputs = {"x": np.array([1, 2], np.float32), "b": np.array(True)}
    model, _ = folded(given)
    (want,), (got,) = (oracle.run(each, inputs) for each in (given, model))
    assert got.tolist() == want.tolist()
