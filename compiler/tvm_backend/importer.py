"""Imports ONNX to Relax, with calls of our kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import tvm
from onnx import numpy_helper
from tvm import relax

from compiler.program.tensor_spec import TensorSpec
from compiler.tvm_backend.operators import CONVERTERS
from compiler.tvm_backend.operators.branches import converted_branch
from compiler.tvm_backend.operators.cast import named
from compiler.tvm_backend.operators.node import Node, Tensor, TensorList, Unsupported, tensor_type
from compiler.workloads.layer import DOMAIN, Layer

_STANDARD = ("", "ai.onnx")
_COPY = "runtime.TVMTensorCopyFromTo"  # (source, destination)


class UnsupportedOperators(ValueError):
    """The model has operators that cannot be compiled."""


class InvalidNode(ValueError):
    """A node has a form that cannot be compiled. The message names it."""


@dataclass(frozen=True)
class Imported:
    """A model in Relax.

    Attributes:
        module: its function ``main`` computes the model.
        outputs: name, shape and type of each output; more precise than what the model states.
    """

    module: tvm.IRModule
    outputs: tuple[TensorSpec, ...]


def import_model(model: onnx.ModelProto, layers: Sequence[Layer]) -> Imported:
    """Returns a module that computes the model.

    Its function ``main`` takes the model's inputs and then the layers, an opaque object. It returns a tuple of the
    model's outputs.

    Args:
        model: a model without functions. Nodes of the domain ``loopwright.kernels`` are calls of kernels.
        layers: the layers of these calls, by the attribute "place" of the nodes.

    Raises:
        UnsupportedOperators: operators without a converter; the message names every node.
        InvalidNode: a node has a form that cannot be compiled; the message says what is possible.
        ValueError: an input or an initializer has a type that programs do not support.
    """
    _check_operators(model)
    opset = next((entry.version for entry in model.opset_import if entry.domain in _STANDARD), None)
    if opset is None:
        raise ValueError("the model does not say which version of ONNX's operators it uses")
    importer = _Importer(layers, opset)
    return Imported(importer.module(model.graph), importer.outputs)


def _check_operators(model: onnx.ModelProto) -> None:
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    unknown = [
        f"{node.op_type} (node {_name(node)!r}, {node.domain or 'ai.onnx'} opset "
        f"{opsets.get(node.domain, opsets.get('ai.onnx', 'unknown'))})"
        for node in _nodes(model.graph)
        if node.domain != DOMAIN and not _is_known(node)
    ]
    if unknown:
        raise UnsupportedOperators(f"operators that cannot be compiled: {'; '.join(unknown)}")


def _is_known(node: onnx.NodeProto) -> bool:
    return node.domain in _STANDARD and (node.op_type in CONVERTERS or node.op_type == "If")


def _name(node: onnx.NodeProto) -> str:
    return node.name or next(filter(None, node.output), "")


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Returns all nodes, including those in the bodies of control flow."""
    nodes = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                nodes += _nodes(attribute.g)
    return nodes


class _Importer:
    def __init__(self, layers: Sequence[Layer], opset: int) -> None:
        self._layers = layers
        self._opset = opset
        self._object = relax.Var("layers", relax.AnyType())
        self._by_kernels: list[Any] = []
        self._builder = relax.BlockBuilder()
        self._tensors: dict[str, Tensor | TensorList] = {}
        self._declared: dict[str, tuple[int, ...]] = {}
        self.outputs: tuple[TensorSpec, ...] = ()

    def module(self, graph: onnx.GraphProto) -> tvm.IRModule:
        inputs = [self._input(value, index) for index, value in enumerate(_fed(graph))]
        branches = any(node.op_type == "If" for node in graph.node)  # dataflow blocks must not contain branches
        with self._no_open_blocks(), self._builder.function("main", params=[*inputs, self._object]):
            with contextlib.nullcontext() if branches else self._builder.dataflow():
                self._graph(graph)
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
        kind = value.type.tensor_type
        try:
            dtype = named(kind.elem_type)
        except Unsupported as error:
            raise ValueError(f"input {value.name!r}: {error}") from None
        shape = [dim.dim_value for dim in kind.shape.dim]
        variable = relax.Var(_identifier(value.name, index), tensor_type(shape, dtype))
        self._tensors[value.name] = Tensor(shape, dtype, variable)
        return variable

    def _graph(self, graph: onnx.GraphProto) -> None:
        """Emits the nodes of a graph, or of a branch."""
        for value in (*graph.value_info, *graph.output):
            stated = _stated(value)
            if stated is not None:
                self._declared[value.name] = stated
        for initializer in graph.initializer:
            self._tensors[initializer.name] = _initialized(initializer)
        for node in graph.node:
            self._node(node)

    def _node(self, proto: onnx.NodeProto) -> None:
        if proto.domain == DOMAIN:
            self._tensors[proto.output[0]] = self._kernel(proto)
            return
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
        return f"{proto.op_type} (node {_name(proto)!r}, opset {self._opset})"

    def _converted(self, proto: onnx.NodeProto) -> Sequence[Tensor | TensorList | None]:
        result = CONVERTERS[proto.op_type](self._seen(proto))
        return [result] if isinstance(result, (Tensor, TensorList)) else list(result)

    def _seen(self, proto: onnx.NodeProto) -> Node:
        return Node(
            proto.op_type,
            _name(proto),
            self._opset,
            tuple(self._tensors[name] if name else None for name in proto.input),
            {attribute.name: _attribute(attribute) for attribute in proto.attribute},
            tuple(proto.output),
            tuple(self._declared.get(name) for name in proto.output),
            self._builder,
        )

    def _branches(self, proto: onnx.NodeProto) -> Sequence[Tensor]:
        graphs = {attribute.name: attribute.g for attribute in proto.attribute}
        condition = self._tensor(proto.input[0])

        def branch(name: str) -> list[Tensor]:
            outer = dict(self._tensors), dict(self._declared)
            self._graph(graphs[name])
            results = [self._tensor(value.name) for value in graphs[name].output]
            self._tensors, self._declared = outer
            return results

        return converted_branch(self._builder, condition, branch)

    def _kernel(self, proto: onnx.NodeProto) -> Tensor:
        place = next(attribute.i for attribute in proto.attribute if attribute.name == "place")
        layer = self._layers[place]
        inputs = [self._tensor(name).expr for name in proto.input]
        arguments = relax.Tuple([self._object, relax.prim_value(place), *inputs])
        answer = tensor_type(layer.output_shape, "float32")
        written = self._builder.emit(relax.call_dps_packed(layer.function, arguments, answer), "layer")
        self._by_kernels.append(written)
        return Tensor.of(written)

    def _tensor(self, name: str) -> Tensor:
        """Returns a tensor by its name.

        Raises:
            ValueError: it is a sequence.
        """
        tensor = self._tensors[name]
        if isinstance(tensor, TensorList):
            raise ValueError(f"{name!r} is a sequence; outputs of models and branches must be tensors")
        return tensor

    def _outputs(self, graph: onnx.GraphProto) -> list[Any]:
        """Returns the model's outputs. None shares memory with an input, a constant or another output.

        Kernels write to new memory. Any other value may be a view, such as a reshaped constant, and is copied.
        """
        results = [(value.name, self._tensor(value.name)) for value in graph.output]
        self.outputs = tuple(TensorSpec(name, tensor.dtype, tensor.shape) for name, tensor in results)
        outputs: list[Any] = []
        for _, tensor in results:
            value = tensor.expr
            is_new = any(value.same_as(written) for written in self._by_kernels)
            if not is_new or any(value.same_as(other) for other in outputs):
                same = tensor_type(tensor.shape, tensor.dtype)
                value = self._builder.emit(relax.call_dps_packed(_COPY, relax.Tuple([value]), same))
            outputs.append(value)
        return outputs


def _initialized(initializer: onnx.TensorProto) -> Tensor:
    try:
        return Tensor.constant(numpy_helper.to_array(initializer))
    except Unsupported as error:
        raise ValueError(f"initializer {initializer.name!r}: {error}") from None


def _fed(graph: onnx.GraphProto) -> Iterable[onnx.ValueInfoProto]:
    """Returns the inputs that a caller passes. In old models, initializers are inputs too."""
    constants = {initializer.name for initializer in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def _identifier(name: str, index: int) -> str:
    """Returns a name of a Relax variable."""
    cleaned = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return cleaned if cleaned[:1].isalpha() else f"input_{index}_{cleaned}"


def _stated(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """Returns the shape that a model states for a value; None if it is not static."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    if not all(dim.HasField("dim_value") for dim in kind.shape.dim):
        return None
    return tuple(dim.dim_value for dim in kind.shape.dim)


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
