"""Guards of nodes that could end the process in ONNX Runtime.

It divides integers without a check, and the CPU traps at a division by zero, and at the smallest integer over -1. A
guard adds an index to the divisor that is 0 if no divisor is zero and outside of its table otherwise. ONNX Runtime then
reports the node of that lookup, whose name says what is wrong. The smallest integer is divided by 1 instead of -1,
which gives what compiled code returns: the same integer, and a remainder of 0.

LSTM and GRU end the process for an empty batch, and GRU for a sequence without steps. Their guard adds such an index to
the input.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx.parser
from onnx import helper, numpy_helper

_DIVIDING = ("Div", "Mod")
_NONEMPTY = ("LSTM", "GRU")
_LENGTHS = 4  # the input with the number of steps of each sequence
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
    if node.domain in ("", "ai.onnx") and node.op_type in _NONEMPTY:
        return _guard_sizes(replaced, types, taken)
    kind = next((k for k in (_element_type(name, types) for name in node.input) if k in _INTEGERS), None)
    if node.domain not in ("", "ai.onnx") or node.op_type not in _DIVIDING or kind is None:
        return [replaced], []
    return _guard_division(replaced, kind, taken)


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


def _guard_division(
    node: onnx.NodeProto, kind: int, taken: Collection[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
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
    text += (
        f"bad = Equal (b, zero) flags = Cast <to = {onnx.TensorProto.INT64}> (bad) listed = Reshape (flags, flat) "
        "all = Concat <axis = 0> (listed, none) index = ReduceMax <keepdims = 0> (all) "
        f"offset = Gather (table, index) divisor = Add ({valid}, offset)"
    )
    return _guarded(node, 1, text, constants, fault, taken)


def _guard_sizes(
    node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto], taken: Collection[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    kind = _element_type(node.input[0], types)
    sizes = [dim.dim_value for dim in types[node.input[0]].tensor_type.shape.dim] if kind else []
    if not kind or (sizes and min(sizes) > 0):  # 0 if it is not known
        return [node], []
    has_lengths = len(node.input) > _LENGTHS and node.input[_LENGTHS]
    axes = [1] if node.op_type == "LSTM" or has_lengths else [0, 1]
    constants = {"axes": np.array(axes), "zero": np.zeros((), np.int64)}
    constants["table"] = np.zeros(1, helper.tensor_dtype_to_np_dtype(kind))
    text = (
        "shape = Shape (a) sizes = Gather (shape, axes) bad = Equal (sizes, zero) "
        f"flags = Cast <to = {onnx.TensorProto.INT64}> (bad) index = ReduceMax <keepdims = 0> (flags) "
        "offset = Gather (table, index) checked = Add (a, offset)"
    )
    fault = f"an empty input of {node.op_type} {node.name or next(filter(None, node.output), '')}"
    return _guarded(node, 0, text, constants, fault, taken)


def _guarded(
    node: onnx.NodeProto,
    place: int,
    text: str,
    constants: Mapping[str, np.ndarray],
    fault: str,
    taken: Collection[str],
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Returns the nodes of ``text`` and the node, which reads their last value at ``place``.

    Args:
        text: nodes in ONNX's text format; ``a`` and ``b`` are the first inputs of the node.
        fault: the name of the lookup that fails.
    """
    prefix = f"{next(filter(None, node.output), node.op_type)}/guard"
    while any(name.startswith(f"{prefix}/") for name in taken):
        prefix += "_"
    body = onnx.parser.parse_graph(f"g (float a, float b) => (float c) {{ {text} }}")
    names = dict(zip("ab", node.input, strict=False))  # the types are not read
    for guard in body.node:
        guard.name = fault if guard.output[0] == "offset" else ""
        guard.input[:] = [names.get(name, f"{prefix}/{name}") for name in guard.input]
        guard.output[:] = [f"{prefix}/{name}" for name in guard.output]
    node.input[place] = body.node[-1].output[0]
    return [*body.node, node], [numpy_helper.from_array(x, f"{prefix}/{name}") for name, x in constants.items()]
