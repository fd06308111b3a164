"""ONNX Runtime without its optimizations as the reference, and how far right answers may be from each other."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.installation import extras

if TYPE_CHECKING:
    import onnx

    from compiler.program.operators import Operators

# Operators that round to steps, and the float input that they round.
QUANTIZERS: Mapping[str, int] = {"QuantizeLinear": 0, "DynamicQuantizeLinear": 0, "DynamicQuantizeLSTM": 0}
VARIANTS = 8
MOVED = 2.0**-20  # relative; the rounding of a float32 sum of some hundred terms
MIXING = 12345.678  # makes the sine of an element a number between -1 and 1 that neighbors do not share


def run(
    model: str | os.PathLike[str] | onnx.ModelProto,
    inputs: Mapping[str, np.ndarray],
    optimized: bool = False,
    operators: Operators | None = None,
) -> dict[str, np.ndarray]:
    """Returns the outputs of a model by name, on one thread. Outputs that are not tensors are left out.

    Args:
        model: the path of a model, or a model.
        inputs: arrays by name.
        optimized: whether ONNX Runtime may use its own graph optimizations.
        operators: operators of users, which run alone; see :mod:`compiler.check.with_operators`.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
        RuntimeError: ONNX Runtime does not run the model; the message is one line.
    """
    extras.require("a check", "check")
    from compiler.check import with_operators
    from graph_passes.onnx_runtime import answers  # imports packages that programs do not need

    try:
        if operators is not None and operators.names:
            values = with_operators.answers(model, inputs, optimized, operators)
        else:
            custom = () if operators is None else operators.custom
            values = answers(model, inputs, optimized, threads=1, custom=custom)
    except RuntimeError as error:
        raise RuntimeError(f"ONNX Runtime does not run the model: {error}") from None
    return {name: np.asarray(value) for name, value in values if not isinstance(value, (list, dict, type(None)))}


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Returns a copy of a model whose outputs are these values of its main graph."""
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    # ONNX Runtime infers the types of outputs without a type.
    changed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return changed


def is_quantized(model: onnx.ModelProto) -> bool:
    return any(node.op_type in QUANTIZERS for graph in _graphs(model.graph) for node in graph.node)


def steps(
    model: onnx.ModelProto,
    inputs: Mapping[str, np.ndarray],
    answers: Mapping[str, np.ndarray],
    operators: Operators | None = None,
) -> dict[str, float]:
    """Returns, for each output of a quantized model, the difference that one step of quantization causes.

    Two correct programs round sums differently. Where a sum is close to the middle of two steps, one program rounds it
    up and the other down, and this step moves later sums across other boundaries. The effect at an output is a property
    of the model. It is measured: each float tensor that is quantized is multiplied by 1 plus or minus ``MOVED``, by a
    different number for each element, and the largest change of each output over ``VARIANTS`` such models is its step.

    Raises:
        RuntimeError: as :func:`run`.
    """
    largest = dict.fromkeys(answers, 0.0)
    for seed in range(VARIANTS):
        moved = run(_moved(model, seed), inputs, operators=operators)
        for name, answer in answers.items():
            change = np.abs(moved[name].astype(np.float64) - answer.astype(np.float64))
            largest[name] = max(largest[name], float(change[np.isfinite(change)].max(initial=0)))
    return largest


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yields a graph and all graphs of its control flow."""
    yield graph
    for attribute in itertools.chain.from_iterable(node.attribute for node in graph.node):
        for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield from _graphs(inner)


def _moved(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Returns the model with slightly different values before every quantizer."""
    import onnx

    rng = np.random.default_rng(seed)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for graph in list(_graphs(changed.graph)):
        nodes: list[Any] = []
        for place, node in enumerate(graph.node):
            if node.op_type in QUANTIZERS:
                index = QUANTIZERS[node.op_type]
                name = f"{node.input[index]}_moved_{place}"
                nodes += _moving(node.input[index], name, rng)
                node.input[index] = name
            copied = onnx.NodeProto()  # deleting the nodes of the graph empties the original
            copied.CopyFrom(node)
            nodes.append(copied)
        del graph.node[:]
        graph.node.extend(nodes)
    return changed


def _moving(value: str, name: str, rng: np.random.Generator) -> list[Any]:
    """Returns the nodes of name = value * (1 + MOVED * sin(k * value)), for a random k."""
    from onnx import helper, numpy_helper

    def number(key: str, value: float) -> onnx.NodeProto:
        tensor = numpy_helper.from_array(np.array(value, np.float32))
        return helper.make_node("Constant", [], [f"{name}_{key}"], value=tensor)

    return [
        number("k", rng.uniform(0.5, 2) * MIXING),
        number("moved", MOVED * rng.choice([-1, 1])),
        number("one", 1),
        helper.make_node("Mul", [value, f"{name}_k"], [f"{name}_a"]),
        helper.make_node("Sin", [f"{name}_a"], [f"{name}_b"]),
        helper.make_node("Mul", [f"{name}_b", f"{name}_moved"], [f"{name}_c"]),
        helper.make_node("Add", [f"{name}_c", f"{name}_one"], [f"{name}_d"]),
        helper.make_node("Mul", [value, f"{name}_d"], [name]),
    ]
