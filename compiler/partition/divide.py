"""Puts the nodes that cannot be compiled into segments, each of which is one node of the divided model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from compiler.partition.graph import dependencies, known_types, names_of, values_read
from compiler.partition.guards import guarded
from compiler.partition.order import grouped
from compiler.program.segment import Segment
from compiler.program.tensor_spec import DTYPES, OPAQUE, TensorSpec
from compiler.workloads.layer import DOMAIN, WITHOUT_KERNELS

SEGMENT = "Segment"  # the operator of domain DOMAIN whose attribute "place" is the index of a segment


@dataclass(frozen=True)
class Divided:
    """A divided model.

    Attributes:
        model: the model with one node per segment.
        segments: the segments, by the attribute "place" of these nodes.
    """

    model: onnx.ModelProto
    segments: tuple[Segment, ...]


def divide(model: onnx.ModelProto, reasons: Mapping[int, str]) -> Divided:
    """Divides a model into the fewest segments.

    Args:
        model: a model without functions.
        reasons: for each node of the main graph that cannot be compiled, the reason; "" if it only reads the output of
            another one of these nodes.

    Raises:
        ValueError: a segment exceeds the 2 GiB of a message.
    """
    graph = model.graph
    types = known_types(graph)
    divided = onnx.ModelProto()
    divided.CopyFrom(model)
    del divided.graph.node[:]
    divided.opset_import.extend([] if _imports(model, DOMAIN) else [helper.make_opsetid(DOMAIN, 1)])
    segments: list[Segment] = []
    order = grouped(dependencies(graph.node), reasons)
    for turn, group in enumerate(order):
        nodes = [graph.node[index] for index in group]
        if turn % 2 == 0:
            divided.graph.node.extend(nodes)
            continue
        segment = _segment(model, group, reasons, types)
        name = f"segment {len(segments)}"
        outputs = [spec.name for spec in segment.outputs]
        node = helper.make_node(SEGMENT, segment.inputs, outputs, name, domain=DOMAIN, place=len(segments))
        divided.graph.node.append(node)
        segments.append(segment)
    return Divided(divided, tuple(segments))


def write_constant_outputs(graph: onnx.GraphProto) -> None:
    """Adds a node that writes each output that is a constant of a type for segments only, such as strings."""
    outputs, taken = {value.name for value in graph.output}, names_of(graph)
    outputs -= {value.name for value in graph.input}
    nodes = []
    for tensor in graph.initializer:
        kind = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        if tensor.name in outputs and spec_of(tensor.name, {tensor.name: kind}).dtype == OPAQUE:
            output = tensor.name
            while tensor.name in taken:
                tensor.name += "_constant"
            taken.add(tensor.name)
            nodes.append(helper.make_node("Identity", [tensor.name], [output]))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def spec_of(name: str, types: Mapping[str, onnx.TypeProto]) -> TensorSpec:
    """Returns the name, type and shape of a value; dimensions that are not known are -1."""
    kind = types.get(name)
    if kind is None or not kind.HasField("tensor_type"):
        return TensorSpec(name, OPAQUE, ())
    tensor = kind.tensor_type
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except KeyError:
        dtype = OPAQUE
    if dtype not in DTYPES or not tensor.HasField("shape"):
        return TensorSpec(name, OPAQUE, ())
    return TensorSpec(
        name, dtype, tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    )


def _imports(model: onnx.ModelProto, domain: str) -> bool:
    return any(opset.domain == domain for opset in model.opset_import)


def _segment(
    model: onnx.ModelProto, group: Sequence[int], reasons: Mapping[int, str], types: dict[str, onnx.TypeProto]
) -> Segment:
    """Returns the segment of a group of nodes; adds the types that inference finds in it to ``types``."""
    graph, chosen = model.graph, set(group)
    nodes = [_without_kernels(graph.node[index]) for index in group]
    written = {name for node in nodes for name in node.output if name}
    read = {name for node in nodes for name in values_read(node)} - written
    elsewhere = {name for index, node in enumerate(graph.node) if index not in chosen for name in values_read(node)}
    elsewhere |= {value.name for value in graph.output}
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    inputs = sorted(read - {tensor.name for tensor in constants})
    outputs = [name for node in nodes for name in node.output if name in elsewhere]
    compiled = [node for index, node in enumerate(graph.node) if index not in reasons]
    static = {name for node in compiled for name in values_read(node)}.intersection(outputs)
    part = onnx.ModelProto(ir_version=model.ir_version, producer_name="loopwright")
    part.opset_import.extend(opset for opset in model.opset_import if opset.domain != DOMAIN)
    part.graph.name = graph.name or "segment"
    constant_types = {t.name: helper.make_tensor_type_proto(t.data_type, list(t.dims)) for t in constants}
    part.graph.initializer.extend(constants)
    taken = names_of(graph)
    for node in nodes:
        guarded_nodes, tables = guarded(node, types | constant_types, taken)
        part.graph.node.extend(guarded_nodes)
        part.graph.initializer.extend(tables)
    part.graph.input.extend(_value(name, types) for name in inputs)
    part.graph.output.extend(_value(name, types) for name in outputs)
    _infer(part, types)
    if any(attribute.HasField("g") for node in nodes for attribute in node.attribute):
        for value in (*part.graph.input, *part.graph.output):
            _forget_sizes(value.type)
    try:
        data = part.SerializeToString()
    except Exception as error:  # protobuf has several types for it
        raise ValueError("a segment of ONNX Runtime has more than 2 GiB of weights") from error
    operators = Counter(node.op_type for node in nodes)
    first = tuple(dict.fromkeys(reasons[index] for index in group if reasons[index]))
    specs = tuple(spec_of(name, types) for name in outputs)
    return Segment(data, tuple(inputs), specs, frozenset(static), dict(operators), first)


def _without_kernels(node: onnx.NodeProto) -> onnx.NodeProto:
    """Returns an If with the branches that have no calls of kernels; any other node unchanged."""
    kept = [attribute for attribute in node.attribute if attribute.name.endswith(WITHOUT_KERNELS)]
    if not kept:
        return node
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    del plain.attribute[:]
    plain.attribute.extend(kept)
    for attribute in plain.attribute:
        attribute.name = attribute.name.removesuffix(WITHOUT_KERNELS)
    return plain


def _value(name: str, types: Mapping[str, onnx.TypeProto]) -> onnx.ValueInfoProto:
    value = onnx.ValueInfoProto(name=name)
    if name in types:
        value.type.CopyFrom(types[name])
    return value


def _forget_sizes(kind: onnx.TypeProto) -> None:
    """Removes the dimensions of a type. With them, ONNX Runtime rejects branches that never run for these sizes.

    Segments without branches keep them: ONNX Runtime checks the number of ``sizes`` of Resize, for one. Strings keep
    them too, because only ONNX Runtime checks their shape.
    """
    if kind.tensor_type.elem_type == onnx.TensorProto.STRING:
        return
    for dim in kind.tensor_type.shape.dim if kind.HasField("tensor_type") else ():
        dim.Clear()


def _infer(part: onnx.ModelProto, types: dict[str, onnx.TypeProto]) -> None:
    """Adds the types of outputs that the model does not state, as a later segment must state those of its inputs."""
    missing = [value for value in part.graph.output if not value.HasField("type")]
    if not missing:
        return
    try:
        inferred = onnx.shape_inference.infer_shapes(part, data_prop=True)
    except Exception:  # noqa: BLE001 - an operator of another domain, for example; ONNX Runtime infers it
        return
    found = known_types(inferred.graph)
    for value in missing:
        if value.name in found:
            types[value.name] = found[value.name]
            value.type.CopyFrom(found[value.name])
