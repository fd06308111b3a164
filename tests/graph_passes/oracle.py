"""ONNX Runtime as the oracle of graph passes, and the largest difference that float32 rounding explains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
from onnx import helper

UNIT_ROUNDOFF = float(np.finfo(np.float32).eps) / 2

# The allowed rounding error in standard deviations (see answers_and_tolerances).
DEVIATIONS = 8.0


def run(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], optimized: bool = False) -> list[np.ndarray]:
    """Runs the model on one thread and returns its outputs in order.

    ``optimized`` enables ONNX Runtime's own optimizations.
    """
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {n: np.asarray(x) for n, x in inputs.items()})]


_BYTES = {"uint8": (0, 256), "int8": (-128, 128)}


def random_inputs(model: onnx.ModelProto, seed: int, batch: int = 1) -> dict[str, np.ndarray]:
    """Returns standard normal values for each float32 input without initializer, and all integers for those of 8 bits.

    Symbolic dimensions become ``batch``.
    """
    rng = np.random.default_rng(seed)
    types = {i.name: onnx.helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in model.graph.input}
    return {
        name: rng.integers(*_BYTES[types[name].name], shape, types[name])
        if types[name].name in _BYTES
        else rng.standard_normal(shape, dtype=np.float32)
        for name, shape in input_shapes(model, batch).items()
    }


def input_shapes(model: onnx.ModelProto, batch: int = 1) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each input without initializer; symbolic dimensions become ``batch``."""
    initialized = {initializer.name for initializer in model.graph.initializer}
    return {
        i.name: tuple(d.dim_value if d.HasField("dim_value") else batch for d in i.type.tensor_type.shape.dim)
        for i in model.graph.input
        if i.name not in initialized
    }


def assert_same(original: onnx.ModelProto, changed: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> None:
    """Checks that both models have the same outputs in the same order, and equal values within rounding."""
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
            f"{name}: the largest difference is {difference.max():.3g}, {limit:.3g} is allowed; "
            f"{np.mean(~(difference <= limit)):.0%} of the elements differ by more"
        )


def answers_and_tolerances(
    model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]
) -> tuple[list[np.ndarray], list[float]]:
    """Returns the outputs of the model, and for each the largest absolute difference that rounding explains.

    Two correct programs for one model may sum in another order and may round a folded weight once more. Rounding errors
    behave like random numbers. A value with R roundings has an error of about ``sqrt(R) u`` times its size, where
    u = eps / 2. It exceeds lambda times that with probability ``2 exp(-lambda**2 / 2)`` (Higham and Mary, "A New
    Approach to Probabilistic Rounding Error Analysis", 2019). The classical bound ``R u`` is far above the error of any
    kernel, and would accept a weight with an error of a thousandth.

    R is n for a sum of n products, plus 2 per node: one for its output and one for a constant folded into it. R counts
    the roundings of all nodes before an output. Both programs round, so ``u`` grows by ``sqrt(2)``. lambda is
    ``DEVIATIONS``, 8. Random errors exceed it with probability 1e-14; the rest is a margin for dependent errors, such
    as that of a weight, which affects every position.

    Errors are relative to the largest magnitude among the output and everything that it depends on, since a small
    difference of large values has an error of their size. Nodes also propagate the errors of their inputs. The gain is
    near 1 in the networks of the zoo, but not after a normalization of nearly constant values. It is measured: the
    output's change if all inputs change by a relative ``2**-12``, over that change of the largest magnitude; at least
    1.
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
    """Returns every value of the graph by name: inputs, initializers and node outputs."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if name]
    del probe.graph.output[:]
    # ONNX Runtime infers the types of outputs without a declared type.
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    return constants | dict(inputs) | dict(zip(names, run(probe, inputs), strict=True))


def _feeding(output: str, producers: Mapping[str, onnx.NodeProto]) -> tuple[list[onnx.NodeProto], set[str]]:
    """Returns the nodes that an output depends on, and the names of all values that they read or write."""
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
    """Returns the largest finite absolute value; 0 for other types than floating point, such as shapes."""
    if not np.issubdtype(x.dtype, np.floating):
        return 0.0
    finite = np.abs(x[np.isfinite(x)])
    return float(finite.max()) if finite.size else 0.0


def _reduction_length(node: onnx.NodeProto, values: Mapping[str, np.ndarray]) -> int:
    """Returns the number of terms in the sum of one output element."""
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
    """Returns the length of the reduced axes; all axes from ``axis`` on for LayerNormalization, a bound for Softmax."""
    return math.prod(shape[axis if axis >= 0 else len(shape) + axis :])
