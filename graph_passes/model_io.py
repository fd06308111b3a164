"""Reads and writes models. Input is validated here, once, and every error is one line."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph_passes import file_kinds, model_file
from graph_passes.base import described, every_graph
from graph_passes.definitions import definition
from graph_passes.lazy import ir
from graph_passes.replacement import infer_shapes
from graph_passes.values import STANDARD

if TYPE_CHECKING:
    import onnx

# A protobuf message holds less than 2 GiB. The margin is for everything but weights.
LARGEST_MESSAGE_BYTES = 2**31 - 2**26
_WITH_AXES = 13  # the first opset whose quantizations have an axis


def read(model: str | os.PathLike[str] | onnx.ModelProto) -> ir.Model:
    """Reads a model from a file, a folder or a zip archive (see :mod:`graph_passes.model_file`), or copies a message.

    External data is not copied but mapped on use; that of an archive is loaded. Nodes are sorted topologically.

    Raises:
        ValueError: The file is not an ONNX model, or the model is not valid. The message is one line.
        OSError: A file cannot be read, or external data is missing.
    """
    import onnx

    if isinstance(model, onnx.ModelProto):
        own = onnx.ModelProto()
        own.CopyFrom(model)  # onnx_ir shares tensors with the message, and passes rename them
        return _checked(own, None)
    path = Path(model)
    with model_file.opened(path) as file:
        try:
            proto = onnx.load_model(file, format="protobuf", load_external_data=False)
        except OSError as error:
            raise type(error)(f"cannot read {path}: {error.strerror}") from None
        except Exception as error:
            if "DecodeError" not in type(error).__name__:
                raise
            raise ValueError(f"{path} is not an ONNX model: {file_kinds.of_file(file)}") from None
        if file.is_file() and not (proto.HasField("graph") and proto.opset_import):
            raise ValueError(f"{path} is not an ONNX model: {_without_graph(proto, file)}")
        read = _checked(proto, file, path)
        if file != path and model_file.is_archive(path):
            ir.external_data.load_to_model(read)  # the file is about to be deleted
        return read


def _without_graph(proto: onnx.ModelProto, file: Path) -> str:
    """Returns what a file is that has no graph or no opset, although it has the structure of a message."""
    is_message = proto.HasField("graph") or proto.ir_version
    return "it has no graph or no opset" if is_message else file_kinds.of_file(file)


def _checked(proto: onnx.ModelProto, path: Path | None, name: Path | None = None) -> ir.Model:
    """Returns a model; ``path`` is its file, and ``name`` what errors call it."""
    try:
        return _deserialized(proto, path, name or path or "the model")
    except ValueError as error:
        raise ValueError(_one_line(error)) from None  # names in a model may contain line breaks


def _deserialized(proto: onnx.ModelProto, path: Path | None, name: str | Path) -> ir.Model:
    import onnx

    if not proto.HasField("graph") or not proto.opset_import:
        raise ValueError(f"{name} is not an ONNX model: it has no graph or no opset")
    newest = onnx.defs.onnx_opset_version()
    for opset in proto.opset_import:
        if opset.domain in STANDARD and not 1 <= opset.version <= newest:
            raise ValueError(f"{name} has opset {opset.version}; the installed onnx supports 1 to {newest}")
    _check_texts(proto, name)
    _check_equations(proto, name)
    _check_types(proto.graph, name)
    for tensor in _external(proto):
        _check_external(tensor, path)
    try:
        model = ir.serde.deserialize_model(proto)
    except Exception as error:  # noqa: BLE001 - onnx_ir wraps all errors of an invalid model
        raise ValueError(f"{name} is not valid: {error.__cause__ or error}") from None
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        ir.external_data.set_base_dir(graph, path.parent if path else "")
    _load_attributes(model)
    moved = _check_graphs(model, name)
    _check_message(ir.serde.serialize_model(model) if moved else proto, name)
    _correct_shapes(model)
    return model


def _correct_shapes(model: ir.Model) -> None:
    """Replaces the stated shapes of values by inferred ones, so that no pass relies on one that contradicts the graph.

    Runtimes accept such models and ignore the stated shape. It stays where nothing is inferred, and its sizes stay
    where an inferred shape of the same rank has none.
    """
    values = [value for graph in every_graph(model) for node in graph for value in node.outputs]
    stated = {value: value.shape for value in values if value.type is None or isinstance(value.type, ir.TensorType)}
    if all(shape is None for shape in stated.values()):
        return
    for value in stated:
        value.shape = None
    infer_shapes(model)
    for value, shape in stated.items():
        if value.shape is None or shape is None:
            value.shape = shape
        elif len(value.shape) == len(shape):
            pairs = zip(value.shape, shape, strict=True)
            value.shape = ir.Shape([had if isinstance(had, int) else want for had, want in pairs])


def _check_texts(message: Any, name: str | Path) -> None:
    """Raises ValueError if a text field is not UTF-8; protobuf would return it as bytes."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            if bytes in map(type, [value] if isinstance(value, (str, bytes)) else value):
                raise ValueError(f"{name} is not valid: its field {field.name} is not UTF-8")
        elif field.type == field.TYPE_MESSAGE:
            for inner in value if hasattr(value, "__len__") else [value]:
                _check_texts(inner, name)


def _check_types(graph: onnx.GraphProto, name: str | Path) -> None:
    """Raises ValueError if the type of a value is a map, which onnx_ir does not support."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        if _has_map(value.type):
            advice = "scikit-learn's converter omits ZipMap with options={'zipmap': False}"
            raise ValueError(f"{name} has maps, such as {value.name}, which are not supported; {advice}")


def _has_map(kind: onnx.TypeProto) -> bool:
    field = kind.WhichOneof("value")
    return field == "map_type" or (
        field in ("sequence_type", "optional_type") and _has_map(getattr(kind, field).elem_type)
    )


# A term of an Einsum's equation, and the equation. onnx's shape inference does not end for "......->", for example.
_TERM = r"[A-Za-z ]*(?:\.\.\.)?[A-Za-z ]*"
_EQUATION = re.compile(rf"{_TERM}(?:,{_TERM})*(?:->{_TERM})?")


def _check_equations(proto: onnx.ModelProto, name: str | Path) -> None:
    """Raises ValueError if the equation of an Einsum is not valid."""
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        for node in _nodes(nodes):
            for attribute in node.attribute if node.op_type == "Einsum" else ():
                equation = attribute.s.decode()
                if attribute.name == "equation" and not _EQUATION.fullmatch(equation):
                    raise ValueError(f"{name} is not valid: {equation!r} of Einsum {node.name} is not an equation")


def _nodes(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yields ``nodes`` and all nodes of their subgraphs."""
    yield from nodes
    for graph in _inner_graphs(nodes):
        yield from graph.node


def _inner_graphs(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    """Yields the subgraphs of control flow at all levels."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield graph
            yield from _inner_graphs(graph.node)


def _external(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Returns the tensors with external data."""
    import onnx

    tensors = [tensor for graph in (proto.graph, *_inner_graphs(proto.graph.node)) for tensor in graph.initializer]
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        for attribute in (attribute for node in _nodes(nodes) for attribute in node.attribute):
            tensors += [attribute.t] if attribute.HasField("t") else attribute.tensors
    return [tensor for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL]


def _check_external(tensor: onnx.TensorProto, path: Path | None) -> None:
    """Raises an error if external data is missing, truncated or outside of the model's folder."""
    about = f"external data of {tensor.name}"
    folder = Path(os.path.realpath(path.parent if path else "."))
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location = fields.get("location", "")
    file = Path(os.path.realpath(folder / location))  # with symbolic links followed
    if not location or Path(location).is_absolute() or not file.is_relative_to(folder):
        raise ValueError(f"{about} is at {location!r}, outside of the model's folder")
    if not file.is_file():
        raise FileNotFoundError(f"{about} is missing: {location!r}")
    if file.stat().st_nlink > 1:  # onnx_ir rejects it
        raise ValueError(
            f"{about}, {location}, has several hard links, so it may be outside of the model's folder; copy it"
        )
    size = _bytes(tensor)
    try:
        offset, length = int(fields.get("offset", 0)), int(fields.get("length", size))
    except ValueError:
        raise ValueError(f"the offset or length of {about} is not an integer") from None
    if offset < 0 or length != size:
        raise ValueError(f"{about} has {length} bytes at offset {offset}; its shape and type require {size}")
    if offset + length > file.stat().st_size:
        raise ValueError(f"{about} is truncated: {location} ends before byte {offset + length}")


def _bytes(tensor: onnx.TensorProto) -> int:
    """Returns the size of a tensor's elements in bytes."""
    try:
        bits = ir.DataType(tensor.data_type).bitwidth
    except (TypeError, ValueError):
        raise ValueError(f"the type of {tensor.name} has no fixed size") from None
    if any(dim < 0 for dim in tensor.dims):
        raise ValueError(f"{tensor.name} has a negative dimension")
    return -(-prod(tensor.dims) * bits // 8)


def _check_graphs(model: ir.Model, name: str | Path) -> bool:
    """Sorts the graphs topologically. Returns whether the order changed.

    Raises:
        ValueError: Two outputs have the same name, a graph has a cycle, or an input has no producer.
    """
    outputs = [output.name for output in model.graph.outputs]
    for output in outputs:
        if outputs.count(output) > 1:
            raise ValueError(f"{name} is not valid: two of its outputs are named {output}")
    graphs = list(every_graph(model))
    before = [list(graph) for graph in graphs]
    try:
        model.graph.sort()
    except ValueError:
        raise ValueError(f"{name} is not valid: its graph has a cycle") from None
    for node in (node for nodes in before for node in nodes):
        for value in node.inputs:
            if value is not None and value.producer() is None and value.graph is None:
                raise ValueError(f"{name} is not valid: {described(node)} reads {value.name}, which has no producer")
    return before != [list(graph) for graph in graphs]


def _check_message(proto: onnx.ModelProto, name: str | Path) -> None:
    """Runs onnx's checker: types, attributes, arity.

    Parts of ``proto`` that the checker need not accept, or that are slow to copy, are replaced before: unknown
    operators get an unknown domain, tensors become empty, omitted types and shapes, which runtimes infer, are added,
    and the axes of early quantizations are removed.
    """
    import onnx

    try:
        for graph in (proto.graph, *_inner_graphs(proto.graph.node)):
            _empty_weights(graph)
            _remove_early_axes(graph, proto)
        for value in (*proto.graph.input, *proto.graph.output):
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.shape.SetInParent()
        for value in proto.graph.output:
            if not value.HasField("type"):
                value.type.CopyFrom(onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ()))
        for tensor in _external(proto):
            tensor.CopyFrom(_empty(tensor))
        for node in _unknown_operators(proto):
            node.domain = "unknown"
        for scope in (proto, *proto.functions):
            scope.opset_import.add(domain="unknown", version=1)
        onnx.checker.check_model(proto)
    except (ValueError, onnx.checker.ValidationError) as error:
        raise ValueError(f"{name} is not valid: {error}") from None


def _remove_early_axes(graph: onnx.GraphProto, proto: onnx.ModelProto) -> None:
    """Removes an attribute that quantizations have from opset 13 on, and that ONNX Runtime writes and reads before."""
    opset = next((entry.version for entry in proto.opset_import if entry.domain in STANDARD), _WITH_AXES)
    for node in graph.node if opset < _WITH_AXES else ():
        if node.domain in STANDARD and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            kept = [attribute for attribute in node.attribute if attribute.name != "axis"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _empty_weights(graph: onnx.GraphProto) -> None:
    """Replaces the weights of a graph by empty tensors. The model keeps using the original messages."""
    import onnx

    weights = list(graph.initializer)
    del graph.initializer[:]
    for tensor in weights:
        raw = tensor.HasField("raw_data")
        if raw and len(tensor.raw_data) != _bytes(tensor):
            raise ValueError(
                f"{tensor.name} has {len(tensor.raw_data)} bytes; its shape and type require {_bytes(tensor)}"
            )
        external = tensor.data_location == onnx.TensorProto.EXTERNAL
        graph.initializer.append(_empty(tensor) if raw or external else tensor)


def _empty(tensor: onnx.TensorProto) -> onnx.TensorProto:
    import onnx

    return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=[0])


def _unknown_operators(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Returns nodes of ONNX's domain that the installed onnx does not define, or that only passes define.

    They are valid; passes ignore the former.
    """
    import onnx

    unknown = []
    for scope, nodes in ((proto, proto.graph.node), *((function, function.node) for function in proto.functions)):
        versions = [opset.version for opset in scope.opset_import if opset.domain in STANDARD]
        if versions:
            of_onnx = (node for node in _nodes(nodes) if node.domain in STANDARD)
            opset = versions[0]
            unknown += [
                node
                for node in of_onnx
                if not onnx.defs.has(node.op_type, opset, "") or definition("", node.op_type, opset)
            ]
    return unknown


def _load_attributes(model: ir.Model) -> None:
    """Loads external data of tensor attributes: only initializers are written as external data."""
    scopes = (*every_graph(model), *model.functions.values())
    for node in (node for scope in scopes for node in scope):
        for attribute in list(node.attributes.values()):
            if not attribute.is_ref() and isinstance(attribute.value, ir.ExternalTensor):
                (tensor,) = ir.external_data.convert_tensors_from_external([attribute.value])
                node.attributes.add(ir.AttrTensor(attribute.name, tensor))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split("\n\n==>")[0].split())


def write(model: ir.Model, path: str | os.PathLike[str]) -> None:
    """Writes a model.

    Weights are written to ``path`` + ``.data`` if they came from external data or do not fit into one message. On
    failure, existing files do not change. If the model's own external data is overwritten, ``model`` becomes invalid;
    read the file again.

    Raises:
        OSError: A file cannot be written.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # such as /dev/null, which must not be replaced
        path.write_bytes(ir.serde.serialize_model(model).SerializeToString())
        return
    weights = [v.const_value for g in every_graph(model) for v in g.initializers.values() if v.const_value is not None]
    external = [tensor for tensor in weights if isinstance(tensor, ir.ExternalTensor)]
    with tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=f".{path.name}.") as folder:
        whole, data = Path(folder, path.name), Path(folder, f"{path.name}.data")
        if external or sum(tensor.nbytes for tensor in weights) > LARGEST_MESSAGE_BYTES:
            ir.save(model, whole, external_data=data.name)
        else:
            whole.write_bytes(ir.serde.serialize_model(model).SerializeToString())
        if data.exists():
            target = path.with_name(data.name)
            overwritten = [tensor for tensor in external if os.path.realpath(tensor.path) == os.path.realpath(target)]
            data.replace(target)
            for tensor in overwritten:
                tensor.invalidate()
        whole.replace(path)
