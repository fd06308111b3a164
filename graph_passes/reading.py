"""Models in and out: what comes from outside is checked here, once, and refused in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from graph_passes.base import described
from graph_passes.lazy import ir
from graph_passes.values import STANDARD

if TYPE_CHECKING:
    import onnx

# A protobuf message holds less than 2 GiB; this leaves room for all that is no weight.
LARGEST_MESSAGE_BYTES = 2**31 - 2**26


def read(model: str | os.PathLike[str] | onnx.ModelProto) -> ir.Model:
    """The model of a file, or of a message, which stays as it is.

    External data stays where it is and is mapped when it is needed. Nodes are sorted topologically.

    Raises:
        ValueError: no ONNX model, or not a valid one: what is wrong, in one line.
        OSError: a file that cannot be read, external data that is missing.
    """
    import onnx

    if isinstance(model, onnx.ModelProto):
        own = onnx.ModelProto()
        own.CopyFrom(model)  # onnx_ir shares tensors with the message, and names them where passes name their values
        return _checked(own, None)
    path = Path(model)
    try:
        proto = onnx.load_model(path, format="protobuf", load_external_data=False)
    except OSError as error:
        raise type(error)(f"cannot read {path}: {error.strerror}") from None
    except Exception as error:
        if "DecodeError" not in type(error).__name__:
            raise
        raise ValueError(f"{path} is no ONNX model, or is cut off") from None
    return _checked(proto, path)


def _checked(proto: onnx.ModelProto, path: Path | None) -> ir.Model:
    import onnx

    name = path or "the model"
    if not proto.HasField("graph") or not proto.opset_import:
        raise ValueError(f"{name} is no ONNX model: it has no graph or names no opset")
    newest = onnx.defs.onnx_opset_version()
    for opset in proto.opset_import:
        if opset.domain in STANDARD and not 1 <= opset.version <= newest:
            raise ValueError(f"{name} has opset {opset.version}; the installed onnx knows 1 to {newest}")
    for tensor in _external(proto.graph):
        _check_external(tensor, path)
    try:
        model = ir.serde.deserialize_model(proto)
    except Exception as error:  # noqa: BLE001 - onnx_ir wraps whatever goes wrong on an invalid model
        raise ValueError(f"{name} is not valid: {_one_line(error.__cause__ or error)}") from None
    if path is not None:
        ir.external_data.set_base_dir(model.graph, path.parent)
    _check_graphs(model, name)
    _check_message(proto, path)
    return model


def _external(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Tensors whose elements are in other files."""
    import onnx

    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield tensor
    for node in graph.node:
        for attribute in node.attribute:
            for tensor in [attribute.t, *attribute.tensors]:
                if tensor.data_location == onnx.TensorProto.EXTERNAL:
                    yield tensor
            for inner in [attribute.g, *attribute.graphs]:
                yield from _external(inner)


def _check_external(tensor: onnx.TensorProto, path: Path | None) -> None:
    """Refuses data that is not there, is cut off, or lies outside of the model's folder."""
    folder = Path(path.parent if path else ".").resolve()
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location = fields.get("location", "")
    file = (folder / location).resolve()  # with symbolic links followed
    if not location or Path(location).is_absolute() or not file.is_relative_to(folder):
        raise ValueError(f"external data of {tensor.name} is at {location!r}, outside of the model's folder: refused")
    if not file.is_file():
        raise FileNotFoundError(f"external data of {tensor.name} is missing: {location}")
    try:
        offset, length = int(fields.get("offset", 0)), int(fields.get("length", 0))
    except ValueError:
        raise ValueError(f"external data of {tensor.name} has no whole number as its offset or length") from None
    if offset < 0 or length < 0 or offset + length > file.stat().st_size:
        raise ValueError(f"external data of {tensor.name} is cut off: {location} ends before byte {offset + length}")


def _check_graphs(model: ir.Model, name: str | Path) -> None:
    """Every value comes from somewhere, and no value from itself."""
    try:
        model.graph.sort()
    except ValueError:
        raise ValueError(f"{name} is not valid: its graph has a cycle") from None
    for graph in (model.graph, *model.graph.subgraphs()):
        for node in graph:
            for value in node.inputs:
                if value is not None and value.producer() is None and value.graph is None:
                    raise ValueError(f"{name} is not valid: {described(node)} reads {value.name}, which nothing makes")


def _check_message(proto: onnx.ModelProto, path: Path | None) -> None:
    """onnx's own check: types, attributes, arity. Unknown operators are no error here: passes leave them alone."""
    import onnx

    if proto.ByteSize() > LARGEST_MESSAGE_BYTES or _unknown_operators(proto):
        return
    if any(True for _ in _external(proto.graph)) and path is None:
        return  # onnx would look for the files in the current folder
    try:
        onnx.checker.check_model(os.fspath(path) if path else proto)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"{path or 'the model'} is not valid: {_one_line(error)}") from None


def _unknown_operators(proto: onnx.ModelProto) -> bool:
    import onnx

    versions = {opset.domain: opset.version for opset in proto.opset_import}
    return any(
        node.domain in STANDARD
        and not onnx.defs.has(node.op_type, versions.get("", versions.get("ai.onnx", 1)), "")
        for node in proto.graph.node
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split("\n\n==>")[0].split())


def write(model: ir.Model, path: str | os.PathLike[str]) -> None:
    """Writes a model, its weights into a second file beside it (``NAME.data``) where one message cannot hold them.

    Raises:
        OSError: a file that cannot be written.
    """
    path = Path(path)
    weights = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)
    external = any(isinstance(v.const_value, ir.ExternalTensor) for v in model.graph.initializers.values())
    if external or weights > LARGEST_MESSAGE_BYTES:
        ir.save(model, path, external_data=f"{path.name}.data")
        return
    temporary = path.with_name(f".{path.name}.part")  # so that a write that fails leaves what was there
    try:
        temporary.write_bytes(ir.serde.serialize_model(model).SerializeToString())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
