"""Evaluates small values, such as counters of loops and conditions, from constants and from known shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graph_passes.lazy import ir
from graph_passes.values import STANDARD, constant, is_op, static_shape

LARGEST = 2**12  # elements of a value that is evaluated


def needed(value: ir.Value, body: ir.Graph) -> set[ir.Value]:
    """Returns the inputs of ``body`` that ``value`` depends on in any iteration of a loop.

    The inputs of the body are the iteration, the condition, and the states, which are the outputs but the first.
    """
    inputs = {given: place for place, given in enumerate(body.inputs)}
    found: set[ir.Value] = set()
    seen: set[ir.Value] = set()
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        if value in inputs:
            found.add(value)
            if inputs[value] >= 2:
                waiting.append(body.outputs[inputs[value] - 1])
            continue
        node = value.producer()
        if node is not None:
            waiting += [given for given in node.inputs if given is not None]
    return found


def evaluate(value: ir.Value, known: Mapping[ir.Value, np.ndarray] | None = None) -> np.ndarray | None:
    """Returns the elements of a value, from those of ``known``, constants and known shapes.

    None if it depends on anything else, or on a value of more than ``LARGEST`` elements.
    """
    values: dict[ir.Value, np.ndarray | None] = dict(known or {})
    waiting = [value]
    while waiting:
        current = waiting[-1]
        node = current.producer()
        if current in values:
            waiting.pop()
            continue
        array = _known(current)
        if array is not None or node is None:
            values[current] = array
            continue
        missing = [given for given in node.inputs if given is not None and given not in values]
        if missing:
            waiting += missing
            continue
        arrays = [None if given is None else values[given] for given in node.inputs]
        unknown = any(array is None for array, given in zip(arrays, node.inputs, strict=True) if given is not None)
        results = None if unknown else _run(node, [array for array in arrays if array is not None])
        for place, output in enumerate(node.outputs):
            values[output] = None if results is None or place >= len(results) else results[place]
    return values[value]


def can_divide(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Returns whether a quotient is defined: NumPy only warns where a runtime reports an error. None: not known."""
    if b is None or b.dtype.kind not in "iu":
        return True
    overflows = b.dtype.kind == "i" and bool((b == -1).any())
    return bool(b.all()) and not (overflows and a is not None and bool((a == np.iinfo(b.dtype).min).any()))


def _known(value: ir.Value) -> np.ndarray | None:
    """Returns the elements of a constant, or of the Shape of a value whose shape is known."""
    node = value.producer()
    if node is None or not is_op(node, "Shape"):
        return constant(value)
    shape, attributes = static_shape(node.inputs[0]), node.attributes
    if shape is None:
        return None
    return np.array(shape[attributes.get_int("start", 0) : attributes.get_int("end", None)], np.int64)


def _run(node: ir.Node, arrays: list[np.ndarray]) -> list[np.ndarray] | None:
    """Returns the outputs of one node; None for control flow, another domain, large arrays, or an error."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    if node.domain not in STANDARD or any(array.size > LARGEST for array in arrays):
        return None
    if is_op(node, "Div", "Mod") and not can_divide(*arrays):
        return None
    if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
        return None
    proto = ir.serde.serialize_node(node)
    given = [name for name in proto.input if name]
    graph = onnx.helper.make_graph(
        [proto],
        "one",
        [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in zip(given, arrays, strict=True)
        ],
        [onnx.helper.make_empty_tensor_value_info(name) for name in proto.output if name],
    )
    opset = node.graph.opset_imports.get("", node.version) if node.graph is not None else node.version
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset or 18)])
    try:
        answers = ReferenceEvaluator(model).run(None, dict(zip(given, arrays, strict=True)))
    except Exception:  # noqa: BLE001 - the reference raises what it likes; the value is then unknown
        return None
    return [np.asarray(answer) for answer in answers]
