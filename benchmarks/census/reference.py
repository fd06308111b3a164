"""ONNX Runtime as the reference of the census, and how far its own answers may be from each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

# Operators that round to steps, and the float input that they round.
QUANTIZERS: Mapping[str, int] = {"QuantizeLinear": 0, "DynamicQuantizeLinear": 0, "DynamicQuantizeLSTM": 0}
VARIANTS = 8
MOVED = 2.0**-20  # relative; the rounding of a float32 sum of some hundred terms
MIXING = 12345.678  # makes the sine of an element a number between -1 and 1 that neighbors do not share


def run(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], optimized: bool = False) -> dict[str, np.ndarray]:
    """Returns the outputs of a model by name, on one thread.

    Raises:
        RuntimeError: ONNX Runtime does not run the model; the message is one line.
    """
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        answers = session.run(None, dict(inputs))
    except Exception as error:  # noqa: BLE001 - its errors share no base class
        raise RuntimeError(" ".join(str(error).split())) from None
    return {output.name: np.asarray(answer) for output, answer in zip(session.get_outputs(), answers, strict=True)}


def is_quantized(model: onnx.ModelProto) -> bool:
    return any(node.op_type in QUANTIZERS for graph in graphs(model.graph) for node in graph.node)


def steps(
    model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Returns, for each output of a quantized model, the difference that one step of quantization causes.

    Two correct programs round sums differently. Where a sum is close to the middle of two steps, one program rounds it
    up and the other down; this step moves later sums across other boundaries. What results at an output is a property
    of the model. It is measured: each float tensor that is quantized is multiplied by 1 plus or minus ``MOVED``, a
    different sign and size for each element, and the largest change of each output over ``VARIANTS`` such models is
    its step.
    """
    largest = dict.fromkeys(answers, 0.0)
    for seed in range(VARIANTS):
        moved = run(_moved(model, seed), inputs)
        for name, answer in answers.items():
            change = np.abs(moved[name].astype(np.float64) - answer.astype(np.float64))
            largest[name] = max(largest[name], float(np.nanmax(change, initial=0)))
    return largest


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yields a graph and all graphs of its control flow."""
    yield graph
    for attribute in itertools.chain.from_iterable(node.attribute for node in graph.node):
        for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield from graphs(inner)


def _moved(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Returns the model with slightly different values before every quantizer."""
    rng = np.random.default_rng(seed)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for graph in list(graphs(changed.graph)):
        nodes: list[onnx.NodeProto] = []
        for place, node in enumerate(graph.node):
            if node.op_type in QUANTIZERS:
                index = QUANTIZERS[node.op_type]
                name = f"{node.input[index]}_moved_{place}"
                nodes += _moving(node.input[index], name, rng)
                node.input[index] = name
            nodes.append(node)
        kept = [_copy(node) for node in nodes]
        del graph.node[:]
        graph.node.extend(kept)
    return changed


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _moving(value: str, name: str, rng: np.random.Generator) -> Sequence[onnx.NodeProto]:
    """Returns the nodes of name = value * (1 + MOVED * sin(k * value)), for a random k."""
    numbers = {
        "k": rng.uniform(0.5, 2) * MIXING,
        "moved": MOVED * rng.choice([-1, 1]),
        "one": 1.0,
    }
    constants = [
        helper.make_node(
            "Constant", [], [f"{name}_{key}"], value=numpy_helper.from_array(np.float32(number).reshape(()))
        )
        for key, number in numbers.items()
    ]
    return [
        *constants,
        helper.make_node("Mul", [value, f"{name}_k"], [f"{name}_a"]),
        helper.make_node("Sin", [f"{name}_a"], [f"{name}_b"]),
        helper.make_node("Mul", [f"{name}_b", f"{name}_moved"], [f"{name}_c"]),
        helper.make_node("Add", [f"{name}_c", f"{name}_one"], [f"{name}_d"]),
        helper.make_node("Mul", [value, f"{name}_d"], [name]),
    ]
