"""Guards of nodes that could end the process in ONNX Runtime: it divides integers without a check.

The CPU traps at a division by zero, and at the smallest integer over -1. A guard adds an index to the divisor that is 0
if no divisor is zero and outside of its table otherwise. ONNX Runtime then reports the node of that lookup, whose name
says what is wrong. The smallest integer is divided by 1 instead of -1, which gives what compiled code returns: the same
integer, and a remainder of 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx.parser
from onnx import helper, numpy_helper

_DIVIDING = ("Div", "Mod")
_INTEGERS = frozenset(
    helper.np_dtype_to_tensor_dtype(np.dtype(name))
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
)


def guarded(
    node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto], taken: Collection[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Returns the nodes that replace a node, and the constants that they read. Bodies of control flow are changed too.

    Args:
        types: the types of values by name.
        taken: names that new values must not have.
    """
    replaced = onnx.NodeProto()
    replaced.CopyFrom(node)
    for attribute in replaced.attribute:
        for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            _guard_body(body, types, taken)
    kind = next((k for k in (_element_type(name, types) for name in node.input) if k in _INTEGERS), None)
    if node.domain not in ("", "ai.onnx") or node.op_type not in _DIVIDING or kind is None:
        return [replaced], []
    return _guard(replaced, kind, taken)


def _guard_body(graph: onnx.GraphProto, outer: Mapping[str, onnx.TypeProto], taken: Collection[str]) -> None:
    stated = (*graph.input, *graph.value_info, *graph.output)
    types = {**outer, **{value.name: value.type for value in stated}}
    types |= {
        tensor.name: helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims)) for tensor in graph.initializer
    }
    parts = [guarded(node, types, taken) for node in graph.node]
    del graph.node[:]
    for nodes, constants in parts:
        graph.node.extend(nodes)
        graph.initializer.extend(constants)


def _element_type(name: str, types: Mapping[str, onnx.TypeProto]) -> int | None:
    kind = types.get(name)
    return kind.tensor_type.elem_type if kind is not None and kind.HasField("tensor_type") else None


def _guard(
    node: onnx.NodeProto, kind: int, taken: Collection[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    a, b = node.input
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    prefix = f"{node.output[0]}/guard"
    while any(name.startswith(f"{prefix}/") for name in taken):
        prefix += "_"
    fault = f"division of integers by zero in {node.op_type} {node.name or node.output[0]}"
    constants = {"zero": np.zeros((), dtype), "table": np.zeros(1, dtype)}
    constants |= {"flat": np.array([-1], np.int64), "none": np.zeros(1, np.int64)}
    text, valid = "", "b"
    if dtype.kind == "i":
        constants |= {"minus_one": np.full((), -1, dtype), "least": np.full((), np.iinfo(dtype).min, dtype)}
        text = (
            "negates = Equal (b, minus_one) is_least = Equal (a, least) overflows = And (negates, is_least) "
            f"one = Cast <to = {kind}> (overflows) two = Add (one, one) positive = Add (b, two) "
        )
        valid = "positive"
    # The maximum of no elements is not defined, so one element is always valid.
    body = onnx.parser.parse_graph(
        f"g (float a, float b) => (float divisor) {{ {text} bad = Equal (b, zero) "
        f"flags = Cast <to = {onnx.TensorProto.INT64}> (bad) listed = Reshape (flags, flat) "
        "all = Concat <axis = 0> (listed, none) index = ReduceMax <keepdims = 0> (all) "
        f"offset = Gather (table, index) divisor = Add ({valid}, offset) }}"
    )
    names = {"a": a, "b": b}  # the types are not read
    for guard in body.node:
        guard.name = fault if guard.op_type == "Gather" else ""
        guard.input[:] = [names.get(name, f"{prefix}/{name}") for name in guard.input]
        guard.output[:] = [f"{prefix}/{name}" for name in guard.output]
    node.input[1] = f"{prefix}/divisor"
    return [*body.node, node], [numpy_helper.from_array(x, f"{prefix}/{name}") for name, x in constants.items()]
