"""Draws cases with hypothesis: nodes from the schema of their operator, and chains of such nodes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import numpy as np
import onnx
import onnx.shape_inference
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from onnx import defs, helper

from tests.compiler.differential.case import ABSENT, CORRECT, SYMBOLIC, Case, model_of
from tests.compiler.differential.draft import ModelDraft, NodeDraft, Value
from tests.compiler.differential.operators import STRATEGIES
from tests.compiler.differential.values import DTYPES, with_subnormals

NEWEST = defs.onnx_opset_version()
# The versions of an operator at these opsets have cases.
OPSETS = (7, 9, 11, 13, 18, NEWEST)
# Cases of a version relative to others: operators with many attributes need more.
WEIGHTS = {
    **dict.fromkeys("Attention Conv ConvTranspose Pad Resize Slice GRU LSTM MaxPool AveragePool".split(), 4),
    **dict.fromkeys("Einsum Gather GatherElements GatherND Gemm GridSample MatMul OneHot Reshape RNN".split(), 2),
    **dict.fromkeys("RoiAlign ScatterElements ScatterND Split TopK QLinearConv Cast Unsqueeze".split(), 2),
}


@dataclass(frozen=True)
class Unit:
    """Cases that one process draws and checks: of an operator's version, or random graphs if ``operator`` is empty."""

    operator: str
    version: int
    opsets: tuple[int, ...]
    count: int
    seed: int

    @property
    def seed_of_draws(self) -> int:
        return zlib.crc32(f"{self.seed}/{self.operator}/{self.version}/{self.opsets}".encode())


def versions(operator: str) -> dict[int, tuple[int, ...]]:
    """Returns the versions of an operator at ``OPSETS``, each with the opsets that have it."""
    found: dict[int, list[int]] = {}
    for opset in OPSETS:
        try:
            schema = defs.get_schema(operator, opset, "")
        except defs.SchemaError:
            continue
        if not schema.deprecated:
            found.setdefault(schema.since_version, []).append(opset)
    return {version: tuple(opsets) for version, opsets in found.items()}


def units(cases: int, graphs: int, seed: int, operators: tuple[str, ...] = (), most: int = 100) -> list[Unit]:
    """Divides a number of cases among the versions of the operators, and the graphs into units of ``most``."""
    names = sorted(set(operators) or STRATEGIES)
    weighted = [
        (name, version, opsets, WEIGHTS.get(name, 1)) for name in names for version, opsets in versions(name).items()
    ]
    total = sum(weight for *_, weight in weighted) or 1
    found = []
    done, place = 0, 0
    for name, version, opsets, weight in weighted:
        place += weight
        count = cases * place // total - done
        done += count
        found += [
            Unit(name, version, opsets, min(most, count - start), seed * 1000 + start)
            for start in range(0, count, most)
        ]
    found += [Unit("", 0, (13, 18, 21), min(25, graphs - start), seed * 1000 + start) for start in range(0, graphs, 25)]
    return found


def drawn(unit: Unit) -> list[Case]:
    """Returns the unit's cases; the same for the same seed and version of hypothesis."""
    found: list[Case] = []

    @hypothesis.seed(unit.seed_of_draws)
    @hypothesis.settings(
        max_examples=unit.count + 1,
        deadline=None,
        database=None,
        derandomize=False,
        phases=(Phase.generate,),
        suppress_health_check=[check for check in HealthCheck if isinstance(check, HealthCheck)],
    )
    @hypothesis.given(cases(unit))
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found[1 : unit.count + 1]  # the first is always the simplest


@st.composite
def cases(draw: Callable[..., Any], unit: Unit) -> Case:
    """Draws a case of a unit: one node, or a chain of nodes."""
    opset = draw(st.sampled_from(unit.opsets))
    dynamic = draw(st.sampled_from((0, 0, 0, 50, 100)))
    draft = ModelDraft(draw, opset, dynamic=dynamic)
    if unit.operator:
        node = drafted(draft, unit.operator)
        outputs = [name for name in node.made.output if name]
        names, nodes = (unit.operator,), [node]
    else:
        draft.pool = []
        nodes, outputs = chain(draft, draw(st.integers(2, 8)))
        names = tuple(node.op_type for node in draft.nodes)
    symbolic = [name for name in draft.inputs if draw(st.integers(0, 9)) == 9]
    model = model_of(draft, outputs, symbolic)
    ieee = draw(st.sampled_from((False, False, True)))
    return Case(
        operators=names,
        opset=opset,
        version=unit.version,
        model=model,
        inputs={name: with_subnormals(x) for name, x in draft.inputs.items()} if ieee else draft.inputs,
        input_shapes={name: draft.inputs[name].shape for name in symbolic},
        features=tuple(dict.fromkeys(feature for n in nodes for feature in n.features)),
        stated=draw(st.sampled_from((CORRECT, CORRECT, ABSENT, SYMBOLIC))),
        threads=draw(st.sampled_from((1, 2))),
        undefined=any(n.draft.undefined for n in nodes),
        illegal=any(n.draft.illegal for n in nodes),
        ieee=ieee,
    )


@dataclass(frozen=True)
class Drafted:
    draft: NodeDraft
    made: onnx.NodeProto

    @property
    def features(self) -> Iterator[str]:
        """Names what the node has: attributes, types, optional inputs, its version, dynamic parameters."""
        d = self.draft
        yield f"version {d.version}"
        yield from (f"attribute {name}" for name in d.attributes)
        yield from (f"type {dtype}" for dtype in dict.fromkeys(v.dtype.name for v in d.values[:1] if v is not None))
        formal = d.schema.inputs
        for index, value in enumerate(d.values):
            if (
                value is not None
                and formal[min(index, len(formal) - 1)].option == defs.OpSchema.FormalParameterOption.Optional
            ):
                yield f"input {formal[index].name}"
            if index and value is not None and value.name in d.model.inputs:
                yield "parameters at run time"


def drafted(model: ModelDraft, operator: str) -> Drafted:
    """Draws a node and adds it to the model."""
    schema = defs.get_schema(operator, model.opset, "")
    draft = NodeDraft(model, schema)
    STRATEGIES[operator](draft)
    made = draft.node()
    model.nodes.append(made)
    return Drafted(draft, made)


# Operators that random graphs have: those whose outputs have a shape that does not depend on data.
CHAINED = sorted(
    set(STRATEGIES)
    - set(
        "Compress NonZero Unique NonMaxSuppression MaxUnpool Upsample Scatter TfIdfVectorizer ImageDecoder "
        "ConstantOfShape Range BlackmanWindow HannWindow HammingWindow MelWeightMatrix Det STFT DFT Shape Size "
        # Not continuous, so that a difference by rounding has no bound.
        "ArgMax ArgMin Hardmax TopK Floor Ceil Round Sign Mod OneHot EyeLike BitCast QuantizeLinear "
        "DynamicQuantizeLinear QLinearConv QLinearMatMul Equal Greater Less GreaterOrEqual LessOrEqual IsInf IsNaN "
        "Shrink ThresholdedRelu NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss Cast CastLike Not And Or Xor "
        "BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitShift Tan Pow Reciprocal Cosh Sinh Exp".split()
    )
)
# Chosen more often, since models consist of them.
_FREQUENT = (
    "Conv Relu Add Mul MatMul Gemm Transpose Reshape Concat Slice Pad MaxPool AveragePool Softmax ReduceMean Squeeze "
    "Unsqueeze BatchNormalization LayerNormalization Split Resize Sigmoid Tanh Flatten Expand Gather Where Clip"
).split()


def chain(model: ModelDraft, count: int) -> tuple[list[Drafted], list[str]]:
    """Draws ``count`` nodes that read earlier outputs; returns them, and the outputs of the graph."""
    assert model.pool is not None
    operators = st.one_of(st.sampled_from(CHAINED), st.sampled_from(_FREQUENT), st.sampled_from(_FREQUENT))
    nodes: list[Drafted] = []
    for _ in range(count):
        operator = model.draw(operators)
        try:
            schema = defs.get_schema(operator, model.opset, "")
        except defs.SchemaError:
            continue
        if schema.deprecated:
            continue
        node = drafted(model, operator)
        nodes.append(node)
        model.pool += _results(model, node)
    read = {name for node in model.nodes for name in node.input}
    outputs = [name for node in model.nodes for name in node.output if name and name not in read]
    inner = [name for node in model.nodes for name in node.output if name in read]
    if inner and model.draw(st.integers(0, 3)) == 3:  # an output that a node reads, too
        outputs.append(model.draw(st.sampled_from(inner)))
    hypothesis.assume(outputs)
    return nodes, outputs


def _results(model: ModelDraft, node: Drafted) -> list[Value]:
    """Returns the outputs whose shapes inference finds."""
    declared = []
    constants = []
    for value in {v.name: v for v in node.draft.values if v is not None}.values():
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        if value.name in model.constants:
            constants.append(onnx.numpy_helper.from_array(model.constants[value.name], value.name))
        else:
            declared.append(helper.make_tensor_value_info(value.name, kind, value.shape))
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.made.output if name]
    graph = helper.make_graph([node.made], "g", declared, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", model.opset)], ir_version=10)
    try:
        inferred = onnx.shape_inference.infer_shapes(made, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return []
    found = []
    for value in inferred.graph.output:
        tensor = value.type.tensor_type
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
        known = tensor.elem_type and tensor.HasField("shape") and None not in sizes
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else None
        if known and dtype in DTYPES.values() and np.prod([s or 0 for s in sizes]) <= 2000:
            assert dtype is not None
            found.append(Value(value.name, dtype, tuple(size or 0 for size in sizes)))
    return found
