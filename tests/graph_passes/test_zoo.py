"""Tests of the random networks, of the oracle's tolerance, and of every graph pass on these networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import graph_passes
from compiler.build import passes_of_build
from graph_passes.lazy import ir
from tests.graph_passes import oracle
from tests.graph_passes.zoo import networks


def cases(ordinary: int) -> settings:
    """Returns the profile ``thorough`` if it is loaded, otherwise settings with the same few cases in every run."""
    thorough = settings.get_profile("thorough")
    if settings.default is thorough:
        return thorough
    slow = [HealthCheck.too_slow]
    return settings(max_examples=ordinary, derandomize=True, deadline=None, suppress_health_check=slow)


def sample(count: int, strategy: st.SearchStrategy[onnx.ModelProto] | None = None) -> list[onnx.ModelProto]:
    """Settings with the same networks in every run."""
    models = []

    @settings(max_examples=count, derandomize=True, deadline=None, database=None, phases=[Phase.generate])
    @given(strategy or networks())
    def collect(model: onnx.ModelProto) -> None:
        models.append(model)

    collect()
    return models


# The networks


@settings(max_examples=60, derandomize=True, deadline=None)
@given(networks(), st.integers(1, 3))
def test_networks_are_valid_and_finite(model: onnx.ModelProto, batch: int) -> None:
    onnx.checker.check_model(model, full_check=True)
    answers = oracle.run(model, oracle.random_inputs(model, 0, batch))
    for output, answer in zip(model.graph.output, answers, strict=True):
        stated = tuple(d.dim_value or batch for d in output.type.tensor_type.shape.dim)
        assert answer.shape == stated
        assert answer.dtype == np.float32
        assert np.isfinite(answer).all()
        assert np.abs(answer).max() < 1e4


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def features(model: onnx.ModelProto) -> Iterator[str]:
    """Yields properties of the network that are relevant to a pass."""
    graph = model.graph
    yield f"opset {model.opset_import[0].version}"
    producers = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    initializers = {i.name: tuple(i.dims) for i in graph.initializer}
    constants = {*initializers, *(n.output[0] for n in graph.node if n.op_type.startswith("Constant"))}
    outputs = {o.name for o in graph.output}
    if any(i.name in initializers for i in graph.input):
        yield "weight that is an input"
    if outputs & constants:
        yield "weight that is an output"
    if any(d.dim_param for i in graph.input for d in i.type.tensor_type.shape.dim):
        yield "dynamic batch"
    if len(outputs) > 1:
        yield "many outputs"
    yield f"rank {len(graph.input[0].type.tensor_type.shape.dim)}"
    for node in graph.node:
        yield node.op_type
        if len(set(node.input)) < len(node.input):
            yield f"{node.op_type} of a value with itself"
        sources = [producers[name].op_type if name in producers else None for name in node.input]
        if node.op_type == "BatchNormalization":
            yield f"BatchNormalization after {sources[0]}"
            if node.input[0] in outputs or readers[node.input[0]] > 1:
                yield "BatchNormalization of a value used twice"
        if node.op_type == "Conv":
            found = conv_features(node)
            yield from found
            if sources[0] in ("Relu", "Add") and "strided 1x1" in found:
                yield "strided 1x1 after a join"
        if node.op_type in ("Sub", "Div") and node.input[0] in constants:
            yield f"{node.op_type} reversed"
        if node.op_type in ("Conv", "Gemm", "MatMul") and readers[node.input[1]] > 1 and node.input[1] in constants:
            yield "shared weight"
        if node.op_type == "Gemm":
            yield from (f"Gemm with {name}" for name in attributes(node))
            if len(node.input) == 2:
                yield "Gemm without C"


def conv_features(node: onnx.NodeProto) -> list[str]:
    given_ = attributes(node)
    found = [f"Conv {name}" for name in given_] + ["Conv with bias" if len(node.input) > 2 else "Conv without bias"]
    kernel, strides = (list(given_.get(name, [1])) for name in ("kernel_shape", "strides"))
    found.append(f"kernel {kernel}")
    found.append(f"auto_pad {given_.get('auto_pad')}")
    if set(kernel) == {1} and max(strides) > 1:
        found.append("strided 1x1")
    if len(set(strides)) > 1:
        found.append("unequal strides")
    return found


WANTED = """
opset 11; opset 13; opset 17; opset 18; opset 20; rank 2; rank 3; rank 4; rank 5; dynamic batch; many outputs;
weight that is an input; weight that is an output; shared weight; Constant; ConstantOfShape;
kernel [1, 1]; kernel [3, 3]; kernel [5, 5]; kernel [3, 1]; kernel [3]; kernel [3, 3, 3];
Conv strides; Conv pads; Conv dilations; Conv group; Conv auto_pad; Conv with bias; Conv without bias;
auto_pad b'SAME_UPPER'; auto_pad b'SAME_LOWER'; auto_pad b'VALID'; unequal strides;
strided 1x1; strided 1x1 after a join;
ConvTranspose; BatchNormalization after Conv; BatchNormalization after ConvTranspose; BatchNormalization after Add;
BatchNormalization after Relu; BatchNormalization after Gemm; BatchNormalization of a value used twice;
Mul; Add; Sub; Div; Sub reversed; Div reversed; Add of a value with itself;
Relu; Clip; Sigmoid; HardSwish; HardSigmoid; Erf; Tanh; Pow; LeakyRelu; PRelu; Gelu;
MaxPool; AveragePool; GlobalAveragePool; ReduceMean; Concat; Pad; Resize; Slice;
Transpose; Reshape; Flatten; Squeeze; Identity; Dropout;
Gemm; Gemm with alpha; Gemm with beta; Gemm with transA; Gemm with transB; Gemm without C;
MatMul; Softmax; LayerNormalization
"""


def test_networks_have_what_the_passes_care_about() -> None:
    found = Counter(feature for model in sample(800) for feature in set(features(model)))
    missing = [feature for feature in (f.strip() for f in WANTED.split(";")) if not found[feature]]
    assert not missing, f"not in the sample: {missing}"


# The tolerance


Mutation = Callable[[onnx.ModelProto, onnx.NodeProto], bool]


def scale_weight(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Multiplies a weight by 1.001, however it is stored."""
    factor = numpy_helper.from_array(np.array(1.001, np.float32), "mutant_factor")
    model.graph.initializer.append(factor)
    insert_before(model, node, [helper.make_node("Mul", [node.input[1], factor.name], ["mutant"])], 1)
    return True


def shift_stride(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """A strided convolution reads position 1, 1 + s, ... instead of 0, s, ..."""
    if node.op_type != "Conv" or max(attributes(node).get("strides", [1])) == 1:
        return False
    rank = len(attributes(node)["kernel_shape"])
    numbers = {
        "pads": [0] * (2 + rank) + [0, 0] + [1] * rank,
        "starts": [1] * rank,
        "ends": [2**31] * rank,
        "axes": [*range(2, rank + 2)],
    }
    for name, value in numbers.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    longer = helper.make_node("Pad", [node.input[0], "pads"], ["longer"], mode="edge")
    shifted = helper.make_node("Slice", ["longer", "starts", "ends", "axes"], ["mutant"])
    insert_before(model, node, [longer, shifted], 0)
    return True


def forget_bias(_: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    if node.op_type == "MatMul" or len(node.input) < 3:
        return False
    del node.input[2]
    return True


def insert_before(model: onnx.ModelProto, node: onnx.NodeProto, new: Sequence[onnx.NodeProto], operand: int) -> None:
    position = list(model.graph.node).index(node)
    node.input[operand] = new[-1].output[0]
    for offset, added in enumerate(new):
        model.graph.node.insert(position + offset, added)


def mutants(model: onnx.ModelProto, mutate: Mutation) -> Iterator[onnx.ModelProto]:
    for position, node in enumerate(model.graph.node):
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            mutant = onnx.ModelProto()
            mutant.CopyFrom(model)
            if mutate(mutant, mutant.graph.node[position]):
                yield mutant


@pytest.mark.parametrize(("mutate", "share"), [(scale_weight, 0.8), (shift_stride, 0.95), (forget_bias, 0.95)])
def test_the_tolerance_catches_real_errors(mutate: Mutation, share: float) -> None:
    """Nearly all errors that have an effect. A thousandth can vanish in a sigmoid or next to larger sums."""
    caught = changed = 0
    for model in sample(60):
        inputs = oracle.random_inputs(model, 0)
        expected = oracle.run(model, inputs)
        for mutant in mutants(model, mutate):
            answers = oracle.run(mutant, inputs)
            if all(np.array_equal(a, b) for a, b in zip(answers, expected, strict=True)):
                continue
            changed += 1
            try:
                oracle.assert_same(model, mutant, inputs)
            except AssertionError:
                caught += 1
    assert changed > 20
    assert caught >= share * changed, f"{caught} of {changed}"


@settings(max_examples=60, derandomize=True, deadline=None)
@given(networks())
def test_the_tolerance_accepts_other_kernels(model: onnx.ModelProto) -> None:
    """ONNX Runtime's own fusions compute the same outputs in another order."""
    inputs = oracle.random_inputs(model, 0)
    expected, allowed = oracle.answers_and_tolerances(model, inputs)
    for want, got, limit in zip(expected, oracle.run(model, inputs, optimized=True), allowed, strict=True):
        assert np.abs(got - want).max() <= limit


# The passes


def check_optimize(model: onnx.ModelProto, batch: int, passes: Sequence[Any] | None) -> onnx.ModelProto:
    """Checks that the result is valid, has the same interface and outputs, and does not change in a second run.

    Several passes together may find more in a second run: strides can reduce a constant image to a single pixel, one
    number per channel, which an earlier pass can fold.
    """
    inputs = oracle.random_inputs(model, 1, batch)
    freezes = passes is None or any(p.name == "freeze_shapes" for p in passes)
    shapes = oracle.input_shapes(model, batch) if is_dynamic(model) and freezes else None
    before = model.SerializeToString()
    optimized = graph_passes.optimize(model, input_shapes=shapes, passes=passes).model
    assert model.SerializeToString() == before
    onnx.checker.check_model(optimized, full_check=True)
    assert interface(optimized, batch) == interface(model, batch)
    oracle.assert_same(model, optimized, inputs)
    again = graph_passes.optimize(optimized, input_shapes=shapes, passes=passes).model
    if passes is None or len(passes) > 1:
        assert len(again.graph.node) <= len(optimized.graph.node)
    else:
        assert operators(again) == operators(optimized)
    return optimized


def is_dynamic(model: onnx.ModelProto) -> bool:
    return any(d.dim_param for i in model.graph.input for d in i.type.tensor_type.shape.dim)


def interface(model: onnx.ModelProto, batch: int) -> list[tuple[str, int, tuple[int, ...]]]:
    """Returns the declared names, types and shapes of the outputs."""
    types = ((o.name, o.type.tensor_type) for o in model.graph.output)
    return [(name, t.elem_type, tuple(d.dim_value or batch for d in t.shape.dim)) for name, t in types]


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@cases(40)
@given(networks(), st.integers(1, 3))
def test_optimize_answers_as_before(model: onnx.ModelProto, batch: int) -> None:
    optimized = check_optimize(model, batch, None)
    inlined = graph_passes.inline(optimized)
    assert not inlined.functions
    oracle.assert_same(model, inlined, oracle.random_inputs(model, 2, batch))


@cases(25)
@given(networks(), st.integers(1, 3))
def test_the_passes_for_tvm_answer_as_before(model: onnx.ModelProto, batch: int) -> None:
    assert not check_optimize(model, batch, graph_passes.FOR_TVM).functions


@cases(10)
@given(networks(), st.integers(1, 3))
def test_each_pass_alone_answers_as_before(model: onnx.ModelProto, batch: int) -> None:
    for name, create in graph_passes.PASSES.items():
        note(f"pass {name}")
        check_optimize(model, batch, [create()])


def check_every_pass(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> None:
    """Checks that the model runs in ONNX Runtime and computes the same outputs after each pass of a build."""
    shapes = {name: array.shape for name, array in inputs.items() if array.ndim}

    def after_pass(_: int, a_pass: graph_passes.Pass, rewritten: ir.Model) -> None:
        note(f"after {a_pass.name}")
        oracle.assert_same(model, ir.serde.serialize_model(rewritten), inputs)

    graph_passes.optimize(model, shapes, passes_of_build(), after_pass)


@cases(25)
@given(networks(), st.integers(1, 2))
def test_a_model_runs_after_every_pass(model: onnx.ModelProto, batch: int) -> None:
    check_every_pass(model, oracle.random_inputs(model, 3, batch))


@cases(15)
@given(networks(), st.booleans())
def test_branches_run_after_every_pass(model: onnx.ModelProto, chosen: bool) -> None:
    """The network is in both branches of an If on an input; one of them doubles its outputs."""
    inputs = oracle.random_inputs(model, 4)
    check_every_pass(in_branches(model), {**inputs, "chosen": np.array(chosen)})


def in_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    branches = {}
    produced = {name for node in model.graph.node for name in node.output}
    outputs = [output.name for output in model.graph.output]
    for branch in ("then_branch", "else_branch"):
        nodes = []
        for node in model.graph.node:
            renamed = onnx.NodeProto()
            renamed.CopyFrom(node)
            for names in (renamed.input, renamed.output):
                names[:] = [f"{branch}_{name}" if name in produced else name for name in names]
            nodes.append(renamed)
        own = [f"{branch}_{name}" if name in produced else name for name in outputs]
        results = [f"{branch}_result_{place}" for place in range(len(own))]
        last = "Add" if branch == "then_branch" else "Mul"
        nodes += [helper.make_node(last, [name, name], [result]) for name, result in zip(own, results, strict=True)]
        values = [helper.make_empty_tensor_value_info(result) for result in results]
        branches[branch] = helper.make_graph(nodes, branch, [], values)
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    del whole.graph.node[:], whole.graph.output[:], whole.graph.value_info[:]
    results = [f"if_{place}" for place in range(len(outputs))]
    whole.graph.node.append(helper.make_node("If", ["chosen"], results, **branches))
    whole.graph.input.append(helper.make_tensor_value_info("chosen", onnx.TensorProto.BOOL, ()))
    whole.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in results)
    return whole
