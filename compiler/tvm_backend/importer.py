"""Imports ONNX to Relax, with calls of our kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx
import tvm
from onnx import numpy_helper
from tvm import relax

from compiler.partition.divide import SEGMENT, spec_of
from compiler.partition.graph import known_types, values_read
from compiler.program.segment import Segment
from compiler.program.tensor_spec import OPAQUE, TensorSpec
from compiler.tvm_backend.operators import CONVERTERS
from compiler.tvm_backend.operators.branches import converted_branch
from compiler.tvm_backend.operators.node import Node, Tensor, TensorList, Unsupported, tensor_type
from compiler.workloads.layer import DOMAIN, Layer

_STANDARD = ("", "ai.onnx")
_SEGMENT = "loopwright.segment"  # (layers, index of the segment, inputs...) -> outputs
_COPY = "runtime.TVMTensorCopyFromTo"  # (source, destination)


class InvalidNode(ValueError):
    """A node cannot be compiled. The message names it and the reason."""


@dataclass(frozen=True)
class Imported:
    """A model in Relax.

    Attributes:
        module: its function ``main`` computes the model.
        outputs: name, shape and type of each output; more precise than what the model states.
        rejected: for each node of the main graph that cannot be compiled, the reason, which names the node; "" if the
            node only reads the output of another one of these nodes. If there is one, the module does not compute the
            model.
    """

    module: tvm.IRModule
    outputs: tuple[TensorSpec, ...]
    rejected: Mapping[int, str]


@dataclass(frozen=True)
class _Foreign:
    """A value for segments only: its shape depends on data, or it is not a tensor. A constant has no expression."""

    expr: Any = None


_Value: TypeAlias = Tensor | TensorList | _Foreign


def import_model(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    segments: Sequence[Segment] = (),
    rejected: Mapping[int, str] | None = None,
) -> Imported:
    """Returns a module that computes the model.

    Its function ``main`` takes the model's inputs and then the layers, an opaque object. It returns a tuple of the
    model's outputs.

    Args:
        model: a model without functions. Nodes of the domain ``loopwright.kernels`` are calls of kernels, or segments.
        layers: the layers of these calls, by the attribute "place" of the nodes.
        segments: the segments, by the same attribute.
        rejected: nodes that must not be compiled, and the reasons.

    Raises:
        InvalidNode: a kernel reads what it does not support.
    """
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    # A model without an entry has no node of ONNX's own operators.
    opset = next((opsets[domain] for domain in _STANDARD if domain in opsets), onnx.defs.onnx_opset_version())
    importer = _Importer(layers, segments, opset, opsets, dict(rejected or {}))
    return Imported(importer.module(model.graph), importer.outputs, importer.rejected)


def import_within(
    model: onnx.ModelProto, layers: Sequence[Layer], rejected: Mapping[int, str] | None = None
) -> Imported:
    """Imports a model; rejects also the nodes that make the sequences which rejected nodes read."""
    imported = import_model(model, layers, rejected=rejected)
    while True:
        again = import_model(model, layers, rejected=imported.rejected) if imported.rejected else imported
        if set(again.rejected) == set(imported.rejected):
            return again
        imported = again


def _no_code(proto: onnx.NodeProto) -> str:
    hint = "" if proto.domain in _STANDARD else " (give a library that has it with `operators`)"
    return f"there is no code for this operator{hint}"


def _is_known(node: onnx.NodeProto) -> bool:
    return node.domain in _STANDARD and (node.op_type in CONVERTERS or node.op_type == "If")


def _name(node: onnx.NodeProto) -> str:
    return node.name or next(filter(None, node.output), "")


class _Importer:
    def __init__(
        self,
        layers: Sequence[Layer],
        segments: Sequence[Segment],
        opset: int,
        opsets: Mapping[str, int],
        rejected: dict[int, str],
    ) -> None:
        self._layers = layers
        self._segments = segments
        self._opset, self._opsets = opset, opsets
        self.rejected = rejected
        self._object = relax.Var("layers", relax.AnyType())
        self._by_kernels: list[Any] = []
        self._builder = relax.BlockBuilder()
        self._tensors: dict[str, _Value] = {}
        self._writers: dict[str, int] = {}  # nodes of the main graph by their outputs
        self._types: dict[str, onnx.TypeProto] = {}
        self.outputs: tuple[TensorSpec, ...] = ()

    def module(self, graph: onnx.GraphProto) -> tvm.IRModule:
        inputs = [self._input(value, index) for index, value in enumerate(_fed(graph))]
        branches = any(node.op_type == "If" for node in graph.node)  # dataflow blocks must not contain branches
        with self._no_open_blocks(), self._builder.function("main", params=[*inputs, self._object]):
            with contextlib.nullcontext() if branches else self._builder.dataflow():
                self._read(graph)
                for index, node in enumerate(graph.node):
                    self._node_of_main(index, node)
                outputs = relax.Tuple(self._outputs(graph))
                result = self._builder.emit(outputs) if branches else self._builder.emit_output(outputs)
            self._builder.emit_func_output(result)
        return self._builder.get()

    @contextlib.contextmanager
    def _no_open_blocks(self) -> Iterator[None]:
        """Closes the builder's blocks after an error. TVM would print a warning about each."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(tvm.error.InternalError):
                while True:
                    self._builder._end_block()
            raise

    def _input(self, value: onnx.ValueInfoProto, index: int) -> Any:
        spec = spec_of(value.name, {value.name: value.type})
        if spec.dtype == OPAQUE:
            variable = relax.Var(_identifier(value.name, index), relax.AnyType())
            self._tensors[value.name] = _Foreign(variable)
        else:
            variable = relax.Var(_identifier(value.name, index), tensor_type(spec.shape, spec.dtype))
            self._tensors[value.name] = Tensor(spec.shape, spec.dtype, variable)
        return variable

    def _read(self, graph: onnx.GraphProto) -> None:
        """Reads the types and the constants of a graph, or of a branch."""
        self._types |= known_types(graph)
        for initializer in graph.initializer:
            self._tensors[initializer.name] = _initialized(initializer)

    def _node_of_main(self, index: int, proto: onnx.NodeProto) -> None:
        """Emits a node of the main graph, or notes why it is rejected."""
        if proto.domain == DOMAIN and proto.op_type == SEGMENT:
            self._segment(proto)
            return
        self._writers |= dict.fromkeys(proto.output, index)
        reason = self.rejected.get(index)
        if reason is None:
            reason = self._reason(proto)
        if reason is None:
            try:
                self._node(proto)
                return
            except InvalidNode as error:
                reason = str(error)
        if proto.domain == DOMAIN:
            raise InvalidNode(f"the kernel of {proto.op_type} (node {_name(proto)!r}) reads a value of unknown shape")
        self._reject(index, proto, reason)

    def _reason(self, proto: onnx.NodeProto) -> str | None:
        """Returns why a node is rejected whatever its form, as ``rejected`` has it; None if it is not."""
        if proto.domain != DOMAIN and not _is_known(proto):
            return f"cannot compile {self._described(proto)}: {_no_code(proto)}"
        foreign = [name for name in values_read(proto) if isinstance(self._tensors.get(name), _Foreign)]
        if not foreign:
            return None
        follows = any(self._writers.get(name) in self.rejected for name in foreign)
        return "" if follows else f"cannot compile {self._described(proto)}: it reads values of an unsupported type"

    def _reject(self, index: int, proto: onnx.NodeProto, reason: str) -> None:
        """Gives the outputs of a rejected node, and the nodes that write its sequences, to segments."""
        self.rejected[index] = reason
        for name in values_read(proto):
            if isinstance(self._tensors.get(name), TensorList):
                self.rejected.setdefault(self._writers[name], "")
        for name in filter(None, proto.output):
            spec = spec_of(name, self._types)
            is_static = spec.dtype != OPAQUE and -1 not in spec.shape
            kind = tensor_type(spec.shape, spec.dtype) if is_static else relax.AnyType()
            expr = self._called(-1, [], [kind])[0]
            self._tensors[name] = Tensor(spec.shape, spec.dtype, expr) if is_static else _Foreign(expr)

    def _segment(self, proto: onnx.NodeProto) -> None:
        place = _place(proto)
        segment = self._segments[place]
        inputs = [self._value(name) for name in proto.input]
        is_static = [spec.name in segment.static for spec in segment.outputs]
        kinds = [
            tensor_type(spec.shape, spec.dtype) if static else relax.AnyType()
            for spec, static in zip(segment.outputs, is_static, strict=True)
        ]
        exprs = self._called(place, inputs, kinds)
        for spec, static, expr in zip(segment.outputs, is_static, exprs, strict=True):
            self._tensors[spec.name] = Tensor(spec.shape, spec.dtype, expr) if static else _Foreign(expr)

    def _called(self, place: int, inputs: Sequence[Any], kinds: Sequence[Any]) -> list[Any]:
        """Emits the call of a segment, and returns its outputs."""
        arguments = [self._object, relax.prim_value(place), *inputs]
        call: Any = relax.call_pure_packed(_SEGMENT, *arguments, ty_args=relax.TupleType(list(kinds)))
        outputs = self._builder.emit(call, "segment")
        return [self._builder.emit(relax.TupleGetItem(outputs, index)) for index in range(len(kinds))]

    def _node(self, proto: onnx.NodeProto) -> None:
        if proto.domain == DOMAIN:
            self._tensors.update(zip(proto.output, self._kernel(_place(proto), proto.input), strict=True))
            return
        if not _is_known(proto):
            raise InvalidNode(f"cannot compile {self._described(proto)}: {_no_code(proto)}")
        try:
            results = self._branches(proto) if proto.op_type == "If" else self._converted(proto)
        except InvalidNode:  # of a branch
            raise
        except Unsupported as error:
            raise InvalidNode(f"cannot compile {self._described(proto)}: {error}") from None
        except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
            # Attributes or shapes that no converter expects, or that TVM rejects.
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise InvalidNode(f"cannot compile {self._described(proto)}: it is not valid ({reason.strip()})") from error
        for name, tensor in zip(proto.output, results, strict=False):
            if name and tensor is not None:
                self._tensors[name] = tensor
        missing = [name for name in proto.output if name and name not in self._tensors]
        if missing:
            raise InvalidNode(f"cannot compile {self._described(proto)}: its output {missing[0]!r} is not supported")

    def _described(self, proto: onnx.NodeProto) -> str:
        version = f"opset {self._opset}"
        if proto.domain not in _STANDARD:
            version = f"{proto.domain} opset {self._opsets.get(proto.domain, 'unknown')}"
        return f"{proto.op_type} (node {_name(proto)!r}, {version})"

    def _converted(self, proto: onnx.NodeProto) -> Sequence[Tensor | TensorList | None]:
        result = CONVERTERS[proto.op_type](self._seen(proto))
        return [result] if isinstance(result, (Tensor, TensorList)) else list(result)

    def _seen(self, proto: onnx.NodeProto) -> Node:
        return Node(
            proto.op_type,
            _name(proto),
            self._opset,
            tuple(self._input_of(name) if name else None for name in proto.input),
            {attribute.name: _attribute(attribute) for attribute in proto.attribute},
            tuple(proto.output),
            tuple(_static_shape(self._types.get(name)) for name in proto.output),
            self._builder,
        )

    def _branches(self, proto: onnx.NodeProto) -> Sequence[Tensor]:
        graphs = {attribute.name: attribute.g for attribute in proto.attribute}
        condition = self._tensor(proto.input[0])

        def branch(name: str) -> list[Tensor]:
            outer = dict(self._tensors), dict(self._types)
            try:
                self._read(graphs[name])
                for node in graphs[name].node:
                    self._node(node)
                return [self._tensor(value.name) for value in graphs[name].output]
            finally:
                self._tensors, self._types = outer

        return converted_branch(self._builder, condition, branch)

    def _kernel(self, place: int, inputs: Iterable[str]) -> list[Tensor]:
        layer = self._layers[place]
        exprs = [self._tensor(name).expr for name in inputs]
        arguments = relax.Tuple([self._object, relax.prim_value(place), *exprs])
        answers = list(map(tensor_type, layer.output_shapes, layer.output_dtypes))
        if len(answers) == 1:
            written = [self._builder.emit(relax.call_dps_packed(layer.function, arguments, answers[0]), "layer")]
        else:
            both = self._builder.emit(relax.call_dps_packed(layer.function, arguments, answers), "layer")
            written = [self._builder.emit(relax.TupleGetItem(both, index)) for index in range(len(answers))]
        self._by_kernels += written
        return [Tensor.of(each) for each in written]

    def _tensor(self, name: str) -> Tensor:
        """Returns a tensor by its name.

        Raises:
            Unsupported: it is a sequence.
        """
        tensor = self._input_of(name)
        if isinstance(tensor, TensorList):
            raise Unsupported(f"{name!r} is a sequence; outputs of branches must be tensors")
        return tensor

    def _input_of(self, name: str) -> Tensor | TensorList:
        value = self._tensors[name]
        if isinstance(value, _Foreign):
            raise Unsupported(f"the type of {name!r} is not supported")
        return value

    def _value(self, name: str) -> Any:
        """Returns the expression of any value that a segment reads."""
        value = self._tensors[name]
        if isinstance(value, TensorList) or value.expr is None:
            raise InvalidNode(f"{name!r} cannot be passed to a segment")
        return value.expr

    def _outputs(self, graph: onnx.GraphProto) -> list[Any]:
        """Returns the model's outputs. None shares memory with an input, a constant or another output.

        Kernels write to new memory. Any other value may be a view, such as a reshaped constant, and is copied.
        """
        outputs: list[Any] = []
        specs = []
        for name in (value.name for value in graph.output):
            tensor = self._tensors[name]
            if isinstance(tensor, TensorList):  # a segment must write it
                self.rejected.setdefault(self._writers[name], f"cannot compile the output {name!r}: it is a sequence")
                tensor = self._tensors[name] = _Foreign(self._called(-1, [], [relax.AnyType()])[0])
            if isinstance(tensor, _Foreign):
                specs.append(spec_of(name, self._types))
                outputs.append(self._value(name))
                continue
            specs.append(TensorSpec(name, tensor.dtype, tensor.shape))
            value = tensor.expr
            is_new = any(value.same_as(written) for written in self._by_kernels)
            if not is_new or any(value.same_as(other) for other in outputs):
                same = tensor_type(tensor.shape, tensor.dtype)
                value = self._builder.emit(relax.call_dps_packed(_COPY, relax.Tuple([value]), same))
            outputs.append(value)
        self.outputs = tuple(specs)
        return outputs


def _initialized(initializer: onnx.TensorProto) -> Tensor | _Foreign:
    try:
        return Tensor.constant(numpy_helper.to_array(initializer))
    except Unsupported:
        return _Foreign()


def _place(proto: onnx.NodeProto) -> int:
    """Returns the index of the layer of a kernel's call, or of a segment."""
    return next(attribute.i for attribute in proto.attribute if attribute.name == "place")


def _fed(graph: onnx.GraphProto) -> Iterable[onnx.ValueInfoProto]:
    """Returns the inputs that a caller passes. In old models, initializers are inputs too."""
    constants = {initializer.name for initializer in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def _identifier(name: str, index: int) -> str:
    """Returns a name of a Relax variable."""
    cleaned = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return cleaned if cleaned[:1].isalpha() else f"input_{index}_{cleaned}"


def _static_shape(kind: onnx.TypeProto | None) -> tuple[int, ...] | None:
    """Returns the shape that a type states; None if it is not static."""
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    return tuple(dim.dim_value for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None


def _attribute(attribute: onnx.AttributeProto) -> Any:
    """Returns the value of an attribute: numbers, str, NumPy arrays, and sequences of these."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [text.decode(errors="replace") for text in value]
    return value
