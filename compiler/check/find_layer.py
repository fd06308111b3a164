"""Finds the first layer of a compiled model that is wrong.

A layer is a node of the optimized model. The model is compiled once more with the output of every layer as an output.
ONNX Runtime runs each layer alone, on the inputs that the compiled program computed, so errors of earlier layers do not
count. If all layers are right in this program, the error depends on what the compiler fuses: then the model is compiled
with one layer's output in addition to its own, and a binary search finds the first layer that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.check import reference
from compiler.check.answers import Difference, Expected, difference, rounding, scale
from compiler.program.compiled_model import CompiledModel

if TYPE_CHECKING:
    import onnx

    from compiler.program.operators import Operators

Compile = Callable[["onnx.ModelProto"], CompiledModel]


def wrong_layer(
    model: onnx.ModelProto,
    inputs: Mapping[str, np.ndarray],
    expected: Expected,
    compile_model: Compile,
    operators: Operators | None = None,
) -> str | None:
    """Returns one line about the first layer that is wrong; None if no layer is.

    Args:
        model: the optimized model, before lowering.
        inputs: arrays by name.
        expected: the right outputs of the model.
        compile_model: lowers and compiles a model.
        operators: operators of users.
    """
    places = _outputs(model)
    own = [output.name for output in model.graph.output]
    found = _compiled_values(model, [*own, *(name for name in places if name not in own)], inputs, compile_model)
    if found is None:
        return None
    layers = list(_alone(model, places, {**inputs, **found}, operators))
    for layer in layers:
        if not layer.difference.ok:
            return f"{layer} on the same inputs"
    if all(output.ok for output in expected.compare(found)) and (
        fused := _fused(model, places, inputs, compile_model, operators)
    ):
        return fused
    largest = max(layers, key=lambda layer: layer.difference.error / (layer.difference.allowed or 1), default=None)
    return largest and f"no layer alone is wrong, their errors add up; the largest: {largest}"


@dataclass(frozen=True)
class _Layer:
    node: str
    difference: Difference

    def __str__(self) -> str:
        return f"{self.node}: {self.difference}"


def _described(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name or node.output[0]}"


def _outputs(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Returns the tensors of static shape that nodes of the main graph write, and the node of each."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    static = {
        value.name
        for value in (*inferred.graph.value_info, *inferred.graph.output)
        if value.type.HasField("tensor_type")
        and value.type.tensor_type.elem_type
        and value.type.tensor_type.HasField("shape")
        and all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
    }
    return {name: node for node in model.graph.node for name in node.output if name in static}


def _compiled_values(
    model: onnx.ModelProto, names: list[str], inputs: Mapping[str, np.ndarray], compile_model: Compile
) -> dict[str, np.ndarray] | None:
    """Returns these values as a compiled program computes them; None if it cannot be compiled with them."""
    import onnx

    typed = {
        value.name: value
        for value in (*onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info, *model.graph.output)
    }
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    changed.graph.output.extend(typed[name] for name in names)
    try:
        return compile_model(changed).run(inputs)
    except Exception:  # noqa: BLE001 - TVM's errors share no base class, and the check has a result without it
        return None


def _alone(
    model: onnx.ModelProto,
    places: Mapping[str, onnx.NodeProto],
    values: Mapping[str, np.ndarray],
    operators: Operators | None,
) -> Iterator[_Layer]:
    """Yields each node that ONNX Runtime can run on its inputs in ``values``, with its largest difference."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        outputs = [name for name in node.output if name in places and name in values]
        needed = [name for name in node.input if name and name not in constants]
        if not outputs or any(name not in values for name in needed):
            continue
        try:
            alone = _single(model, node, outputs, constants, values)
            want = reference.run(alone, {n: values[n] for n in needed}, operators=operators)
        except RuntimeError:  # a node that reads values inside a branch
            continue
        found = [difference(name, want[name], values[name], _allowed(node, want[name])) for name in outputs]
        yield _Layer(_described(node), max(found, key=lambda d: d.error - d.allowed))


def _allowed(node: onnx.NodeProto, want: np.ndarray) -> float:
    from graph_passes.patterns.layers import FusedLayer

    layer = FusedLayer.named(node.op_type)
    rounds = node.op_type in reference.QUANTIZERS or (layer is not None and layer.integer_output)
    if rounds and want.dtype.kind in "iu":
        return 1 / scale(want)  # the middle of two steps may go to either
    return rounding(want)


def _single(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    outputs: list[str],
    constants: Mapping[str, onnx.TensorProto],
    values: Mapping[str, np.ndarray],
) -> onnx.ModelProto:
    """Returns a model of one node."""
    from onnx import helper

    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values[name].dtype), values[name].shape)
        for name in dict.fromkeys(node.input)
        if name and name not in constants
    ]
    weights = [constants[name] for name in dict.fromkeys(node.input) if name in constants]
    graph = helper.make_graph(
        [node], "layer", given, [helper.make_empty_tensor_value_info(name) for name in outputs], weights
    )
    return helper.make_model(
        graph, opset_imports=model.opset_import, functions=model.functions, ir_version=model.ir_version
    )


def _fused(
    model: onnx.ModelProto,
    places: Mapping[str, onnx.NodeProto],
    inputs: Mapping[str, np.ndarray],
    compile_model: Compile,
    operators: Operators | None,
) -> str | None:
    """Searches the first wrong layer in programs with one more output each."""
    own = [output.name for output in model.graph.output]
    names = list(places)
    want = reference.run(reference.with_outputs(model, names), inputs, operators=operators)

    def wrong(name: str) -> Difference | None:
        found = _compiled_values(model, [*own, *([] if name in own else [name])], inputs, compile_model)
        if found is None or name not in want:
            return None
        compared = difference(name, want[name], found.get(name), rounding(want[name]))
        return None if compared.ok else compared

    low, high, last = 0, len(names) - 1, None
    while low <= high:
        middle = (low + high) // 2
        compared = wrong(names[middle])
        if compared is None:
            low = middle + 1
        else:
            high, last = middle - 1, (names[middle], compared)
    if last is None:
        return None
    return f"fused with other layers, {_described(places[last[0]])}: {last[1]}"
