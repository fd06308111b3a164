"""Runs onnx's backend node tests through ``optimize``: a case that passes in ONNX Runtime must pass afterwards.

The cases are part of onnx: Python modules, about one per operator, which create models, inputs and expected outputs on
import. There is one test per module. Of 1,884 cases (onnx 1.23), 1,525 pass unmodified in ONNX Runtime 1.31. The others
have types that its Python interface does not support (bfloat16, float8, int4, optional values) or operators that it
lacks; for them, ``optimize`` must not raise. Further tests cover operators of older opsets, sequences of nodes and
unusual outputs, which have no case there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto
from onnx.backend.test.case.test_case import TestCase

import graph_passes
from tests.graph_passes import oracle
from tests.graph_passes.backend_nodes import MODULES, cases, dynamic_shapes, failure


@pytest.mark.parametrize("module", MODULES)
def test_what_passed_passes(module: str) -> None:
    failures = [f"{case.name}: {failure}" for case in cases(module) if (failure := failure_of_optimized(case))]
    assert not failures, "\n".join(failures)


def test_cases_are_found() -> None:
    names = {case.name for case in cases("conv")}
    assert {"test_basic_conv_with_padding", "test_conv_with_autopad_same"} <= names
    assert all(failure(case, case.model) is None for case in cases("conv"))


def failure_of_optimized(case: TestCase) -> str | None:
    """Returns the error of the optimized model; None if it passes, or the original also fails."""
    assert case.model is not None
    before = case.model.SerializeToString(deterministic=True)
    try:
        optimized = graph_passes.optimize(case.model, input_shapes=dynamic_shapes(case)).model
    except Exception as error:  # noqa: BLE001 - any error is a failure
        return f"optimize raises {type(error).__name__}: {error}"
    if case.model.SerializeToString(deterministic=True) != before:
        return "optimize changes the model that it is given"
    if failure(case, case.model):
        return None
    names, wanted = ([output.name for output in model.graph.output] for model in (optimized, case.model))
    return f"outputs are {names} instead of {wanted}" if names != wanted else failure(case, optimized)


# Models without a case in onnx


CHAINS: Mapping[str, str] = {
    # onnx converts these incorrectly to a newer opset.
    "a hardmax over all later axes": "11 g (float[2,3,4] x) => (float[2,3,4] y) { y = Hardmax <axis=1> (x) }",
    "a linear upsampling": """9 g (float[1,2,3,4] x) => (float[1,2,6,10] y) <float[4] s = {1, 1, 2, 2.5}> {
        y = Upsample <mode="linear"> (x, s) }""",
    "the first linear resize": """10 g (float[1,2,3,4] x) => (float[1,2,2,10] y) <float[4] s = {1, 1, 0.7, 2.5}> {
        y = Resize <mode="linear"> (x, s) }""",
    "the first resize to less": """10 g (float[1,2,3,4] x) => (float[1,2,2,10] y) <float[4] s = {1, 1, 0.7, 2.5}> {
        y = Resize (x, s) }""",
    "the first resize to more": """10 g (float[1,2,3,4] x) => (float[1,2,5,10] y) <float[4] s = {1, 1, 1.7, 2.5}> {
        y = Resize (x, s) }""",
    # onnxscript's rules for these are wrong.
    "bounds that exclude each other": """13 g (float[2,3] x) => (float[2,3] y)
        <float a = {-1}, float b = {1}, float c = {2}, float d = {3}> { t = Clip (x, a, b) y = Clip (t, c, d) }""",
    "bounds of a higher rank": """13 g (float[2,3] x) => (float[1,2,3] y) <float[1,1,1] a = {1}, float[1] b = {-1}> {
        t = Min (x, a) y = Max (t, b) }""",
    "a split that is an input": """13 g (float[2,3] x, int64 length) => (int64 y) {
        s = SplitToSequence <axis=1> (x, length) y = SequenceLength (s) }""",
    # Names of inputs and outputs must not change.
    "an output that is an input": "13 g (float[2,3] x) => (float[2,3] x, float[2,3] y) { y = Relu (x) }",
    "an input twice as output": """13 g (float[2,3] x) => (float[2,3] y, float[2,3] z) {
        y = Identity (x) z = Identity (x) }""",
    "a value twice as output": """13 g (float[2,3] x) => (float[2,3] y, float[2,3] t, float[2,3] z) {
        t = Relu (x) y = Identity (t) z = Identity (t) }""",
    "an output that is a weight": """13 g (float[2] x) => (float[2] y, float[2] w, float[2] v) <float[2] w = {1, 2}> {
        y = Add (x, w) v = Add (w, w) }""",
    "a branch that is an outer value": """13 g (float[2,3] x) => (float[2,3] y, float[2,3] z) <bool c = {1}> {
        r = Relu (x)
        y, z = If (c) <then_branch = then () => (float[2,3] a, float[2,3] b) { a = Identity (r) b = Identity (r) },
                       else_branch = else () => (float[2,3] d, float[2,3] e) { d = Identity (x) e = Relu (r) }> }""",
}


@pytest.mark.parametrize("name", CHAINS)
def test_what_no_case_has(name: str) -> None:
    model = parsed(CHAINS[name])
    inputs = oracle_inputs(model)
    optimized = graph_passes.optimize(model).model
    assert [value.name for value in optimized.graph.output] == [value.name for value in model.graph.output]
    for got, want in zip(oracle.run(optimized, inputs), oracle.run(model, inputs), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["Bernoulli (c)", "Dropout (c, half, yes)", "RandomNormalLike (c)"])
def test_random_numbers_are_drawn_at_every_run(op: str) -> None:
    weights = "<float[4] c = {0.5, 0.5, 0.5, 0.5}, float half = {0.5}, bool yes = {1}>"
    model = parsed(f"15 g () => (float[4] y) {weights} {{ y = {op} }}")
    assert [node.op_type for node in graph_passes.optimize(model).model.graph.node] == [op.split()[0]]


def test_a_cast_keeps_how_it_overflows() -> None:
    model = parsed("""19 g (float[2] x, float8e4m3fn[1] like) => (float8e4m3fn[2] y) {
        y = CastLike <saturate=0> (x, like) }""")
    (node,) = graph_passes.optimize(model).model.graph.node
    assert {attribute.name: attribute.i for attribute in node.attribute}.get("saturate") == 0


def test_elements_of_a_sequence_keep_their_own_sizes() -> None:
    model = parsed("""13 g (seq(float[batch,3]) s, float[batch] x) => (int64 y, float[batch] z) {
        y = SequenceLength (s) z = Relu (x) }""")
    optimized = graph_passes.optimize(model).model
    sequence, x = optimized.graph.input
    assert sequence.type.sequence_type.elem_type.tensor_type.shape.dim[0].dim_param == "batch"
    assert x.type.tensor_type.shape.dim[0].dim_value == 1


def parsed(text: str) -> onnx.ModelProto:
    """Parses a model; the text begins with its opset."""
    opset, graph = text.split(maxsplit=1)
    return onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]>\n{graph}')


def oracle_inputs(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Returns standard normal numbers for floats, and ones for integers."""
    shapes, rng = oracle.input_shapes(model), np.random.default_rng(0)
    floats = {i.name for i in model.graph.input if i.type.tensor_type.elem_type == TensorProto.FLOAT}
    return {
        name: rng.standard_normal(shape, np.float32) if name in floats else np.ones(shape, np.int64)
        for name, shape in shapes.items()
    }
