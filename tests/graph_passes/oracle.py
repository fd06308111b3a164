"""ONNX Runtime as the oracle of graph passes, and how far two correct float32 answers may lie apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
from onnx import helper

UNIT_ROUNDOFF = float(np.finfo(np.float32).eps) / 2

# How many standard deviations of its rounding error an answer may be off (see answers_and_tolerances).
DEVIATIONS = 8.0


def run(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], optimized: bool = False) -> list[np.ndarray]:
    """The model's outputs in their order, on one thread; ONNX Runtime's own optimizations are off unless asked for."""
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {n: np.asarray(x) for n, x in inputs.items()})]


def random_inputs(model: onnx.ModelProto, seed: int, batch: int = 1) -> dict[str, np.ndarray]:
    """Standard normal values for each float32 input that has no initializer; symbolic dimensions become ``batch``."""
    rng = np.random.default_rng(seed)
    shapes = input_shapes(model, batch)
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def input_shapes(model: onnx.ModelProto, batch: int = 1) -> dict[str, tuple[int, ...]]:
    """Of each input that has no initializer; symbolic dimensions become ``batch``."""
    initialized = {initializer.name for initializer in model.graph.initializer}
    return {
        i.name: tuple(d.dim_value if d.HasField("dim_value") else batch for d in i.type.tensor_type.shape.dim)
        for i in model.graph.input
        if i.name not in initialized
    }


def assert_same(original: onnx.ModelProto, changed: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> None:
    """Both models name the same outputs, in the same order, and answer the same within rounding."""
    names, changed_names = ([output.name for output in m.graph.output] for m in (original, changed))
    assert changed_names == names, f"outputs {changed_names} instead of {names}"
    expected, allowed = answers_and_tolerances(original, inputs)
    actual = run(changed, inputs)
    for name, want, got, limit in zip(names, expected, actual, allowed, strict=True):
        assert got.dtype == want.dtype, f"{name} is {got.dtype} instead of {want.dtype}"
        assert got.shape == want.shape, f"{name} has shape {got.shape} instead of {want.shape}"
        assert np.isfinite(want).all(), f"the original's {name} is not finite"
        difference = np.abs(got.astype(np.float64) - want)
        assert np.all(difference <= limit), (
            f"{name}: the largest difference is {difference.max():.3g}, allowed is {limit:.3g}; "
            f"{np.mean(~(difference <= limit)):.0%} of the elements differ by more"
        )


def answers_and_tolerances(
    model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]
) -> tuple[list[np.ndarray], list[float]]:
    """The model's answers, and for each the largest absolute difference that rounding explains.

    Two correct programs for one model may sum in another order, and may round a folded weight once more. Rounding
    errors are as good as random: a value that R roundings went into is off by about ``sqrt(R) u`` times its size, where
    u = eps / 2, and by more than lambda times that with probability ``2 exp(-lambda**2 / 2)`` (Higham and Mary, "A New
    Approach to Probabilistic Rounding Error Analysis", 2019; the classical bound ``R u`` is one that no kernel comes
    near, and under it a weight that is wrong by a thousandth would pass). R is n for a sum of n products, and 2 more a
    node: one for its answer, one for a constant that was folded into it. Roundings of all nodes before an output count,
    and as both programs have theirs, ``u`` grows by ``sqrt(2)``. lambda is ``DEVIATIONS``, 8, which 1e-14 of random
    errors exceed: the rest is room for errors that are not independent, such as a weight's, which meets every position.

    What errors are relative to: the largest magnitude among the output and all that feeds it, for the error of a small
    difference of large values has their size. Nodes also pass on the errors of their inputs, by a gain that is near 1
    in the networks of our zoo, but not behind a normalisation of nearly constant values. That gain is measured: the
    output's change when all inputs change by a relative ``2**-12``, over that change of the largest magnitude; at
    least 1.
    """
    model = onnx.inliner.inline_local_functions(model) if model.functions else model
    values = _all_values(model, inputs)
    moved = _all_values(model, {name: _moved(x) for name, x in inputs.items()})
    producers = {name: node for node in model.graph.node for name in node.output if name}
    answers = [values[output.name] for output in model.graph.output]
    limits = []
    for output in model.graph.output:
        nodes, names = _feeding(output.name, producers)
        scale = max(_magnitude(values[name]) for name in names if name in values)
        change = _magnitude(moved[output.name].astype(np.float64) - values[output.name])
        gain = max(1.0, change / (scale * 2.0**-12)) if scale else 1.0
        roundings = sum(_reduction_length(node, values) + 2 for node in nodes)
        limits.append(DEVIATIONS * UNIT_ROUNDOFF * math.sqrt(2 * roundings) * scale * gain)
    return answers, limits


def _moved(x: np.ndarray) -> np.ndarray:
    signs = np.random.default_rng(x.size).choice([-1.0, 1.0], x.shape)
    return (x * (1 + 2.0**-12 * signs)).astype(x.dtype)


def _all_values(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every value of the graph by name: inputs, initializers, and what the nodes answer."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if name]
    del probe.graph.output[:]
    # ONNX Runtime infers the types of outputs that state none.
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    return constants | dict(inputs) | dict(zip(names, run(probe, inputs), strict=True))


def _feeding(output: str, producers: Mapping[str, onnx.NodeProto]) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that an output depends on, and the names of all values that they read or write."""
    nodes: dict[int, onnx.NodeProto] = {}
    names = {output}
    waiting = [output]
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or id(node) in nodes:
            continue
        nodes[id(node)] = node
        new = set(node.input) - names
        names |= new
        waiting += new
    return list(nodes.values()), names


def _magnitude(x: np.ndarray) -> float:
    """The largest finite absolute value; 0 for what is not floating point, such as shapes."""
    if not np.issubdtype(x.dtype, np.floating):
        return 0.0
    finite = np.abs(x[np.isfinite(x)])
    return float(finite.max()) if finite.size else 0.0


def _reduction_length(node: onnx.NodeProto, values: Mapping[str, np.ndarray]) -> int:
    """How many terms one element of the node's output sums up."""
    shapes: list[tuple[int, ...]] = [values[name].shape if name in values else () for name in node.input]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Conv":
        return math.prod(shapes[1][1:]) + 1
    if node.op_type == "ConvTranspose":
        return shapes[1][0] // attributes.get("group", 1) * math.prod(shapes[1][2:]) + 1
    if node.op_type == "Gemm":
        return shapes[0][0 if attributes.get("transA") else 1] + 1
    if node.op_type == "MatMul":
        return shapes[0][-1]
    if node.op_type == "AveragePool":
        return math.prod(attributes["kernel_shape"])
    if node.op_type in ("Softmax", "LayerNormalization"):
        return _extent(shapes[0], attributes.get("axis", -1))
    if node.op_type.startswith("Reduce") or node.op_type == "GlobalAveragePool":
        return max(values[node.input[0]].size // max(values[node.output[0]].size, 1), 1)
    return 1


def _extent(shape: Sequence[int], axis: int) -> int:
    """Of one axis for LayerNormalization, which reduces all from ``axis`` on, and an upper bound for Softmax."""
    return math.prod(shape[axis if axis >= 0 else len(shape) + axis :])
