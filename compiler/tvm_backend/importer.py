"""Imports ONNX to Relax: TVM's front end, extended by calls of our kernels."""

from __future__ import annotations

import contextlib
import io
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from compiler.workloads.layer import DOMAIN, Layer

# Operators that the front end supports but does not list in its table.
_DIRECT = {"Constant", "If"}
_STANDARD = ("", "ai.onnx")
# Attributes of Constant that the front end does not support.
_CONSTANTS = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
_RESIZE_ATTRIBUTES = (
    *("method", "coordinate_transformation_mode", "rounding_method"),
    *("cubic_alpha", "cubic_exclude", "extrapolation_value"),
)
# The front end computes the first output of these operators, and zeros in place of the others.
_FIRST_OUTPUT = {"Attention", "LayerNormalization"}
_LONGEST_REASON = 200  # in characters; some errors print entire operators
_COPY = "runtime.TVMTensorCopyFromTo"  # (source, destination)


class UnsupportedOperators(ValueError):
    """The model has operators that neither our kernels nor TVM's front end support."""


def import_model(model: onnx.ModelProto, layers: Sequence[Layer]) -> tvm.IRModule:
    """Returns a module whose ``main`` computes the model.

    ``main`` takes the model's inputs and then the layers, an opaque object. It returns a tuple of the model's outputs.

    Args:
        model: a model without functions. Nodes of the domain ``loopwright.kernels`` are calls of kernels.
        layers: the layers of these calls, by the attribute "place" of the nodes.

    Raises:
        UnsupportedOperators: operators without support; the message names every node.
        ValueError: TVM's front end rejects a node; the message names it, with TVM's reason.
    """
    _check_operators(model)
    opset = next(entry.version for entry in model.opset_import if entry.domain in _STANDARD)
    importer = _Importer(layers)
    # The front end prints before it raises, and warns about every name that it changes.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importer.module(model.graph, opset)
        except Exception as error:  # the type depends on the operator
            line = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            reason = textwrap.shorten(line, _LONGEST_REASON, placeholder=" ...")
            raise ValueError(f"TVM cannot import {importer.node or 'the model'}: {reason}") from error


def _check_operators(model: onnx.ModelProto) -> None:
    known = set(onnx_frontend._get_convert_map()) | _DIRECT
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    nodes = _nodes(model.graph)
    read = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}

    def lacks_output(node: onnx.NodeProto) -> bool:
        return node.op_type in _FIRST_OUTPUT and not read.isdisjoint(node.output[1:])

    unknown = [
        f"{node.op_type}{' with more than its first output' * lacks_output(node)} "
        f"(node {node.name or node.output[0]!r}, {node.domain or 'ai.onnx'} opset "
        f"{opsets.get(node.domain, opsets.get('ai.onnx', 'unknown'))})"
        for node in nodes
        if node.domain != DOMAIN and (node.domain not in _STANDARD or node.op_type not in known or lacks_output(node))
    ]
    if unknown:
        raise UnsupportedOperators(f"operators that cannot be compiled: {'; '.join(unknown)}")


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Returns all nodes, including those in the bodies of control flow."""
    nodes = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                nodes += _nodes(attribute.g)
    return nodes


class _Importer(onnx_frontend.ONNXGraphImporter):
    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__({}, {}, keep_params_in_input=False, sanitize=True)
        self._layers = layers
        self._object = relax.Var("layers", relax.AnyType())
        self._by_kernels: list[relax.Var] = []
        self.node = ""  # description of the node that is being imported

    def module(self, graph: onnx.GraphProto, opset: int) -> tvm.IRModule:
        self.opset = opset
        self._parse_graph_initializers(graph)
        self._parse_graph_input(graph)
        inputs = list(self._inputs.values())
        branches = any(node.op_type == "If" for node in graph.node)  # dataflow blocks must not contain branches
        with self.bb.function("main", params=[*inputs, self._object]):
            with contextlib.nullcontext() if branches else self.bb.dataflow():
                self._construct_nodes(graph)
                self.node = ""
                outputs = relax.Tuple(self._outputs(graph))
                result = self.bb.emit(outputs) if branches else self.bb.emit_output(outputs)
            self.bb.emit_func_output(result)
        return self.bb.get()

    def _outputs(self, graph: onnx.GraphProto) -> list[Any]:
        """Returns the model's outputs. None shares memory with an input, a constant or another output.

        Kernels write to new memory. Any other value may be a view, such as a reshaped constant, and is copied.
        """
        outputs: list[Any] = []
        for name in (value.name for value in graph.output):
            value: Any = self._nodes[name]
            if isinstance(value, relax.ShapeExpr):
                value = self.bb.emit(relax.op.shape_to_tensor(value))
            is_new = any(value.same_as(written) for written in self._by_kernels)
            if not is_new or any(value.same_as(other) for other in outputs):
                same = relax.TensorType(value.ty.shape, value.ty.dtype)
                value = self.bb.emit(relax.call_dps_packed(_COPY, relax.Tuple([value]), same))
            outputs.append(value)
        return outputs

    def _convert_operator(self, op_name: str, inputs: list[Any], attrs: dict[str, Any], opset: int) -> Any:
        self.node = f"{op_name} (node {attrs['tvm_custom']['name']!r}, opset {opset})"
        if op_name == "Constant":
            for form, dtype in _CONSTANTS.items():
                if form in attrs:
                    return relax.const(np.array(attrs[form], dtype), dtype)
        if op_name == "Resize":
            return self._resize(inputs, attrs, opset)
        if "place" not in attrs:
            return self.bb.normalize(_bounded(super()._convert_operator(op_name, inputs, attrs, opset)))
        layer = self._layers[attrs["place"]]
        arguments = relax.Tuple([self._object, relax.prim_value(attrs["place"]), *inputs])
        answer = relax.TensorType(layer.output_shape, "float32")
        written = self.bb.emit(relax.call_dps_packed(layer.function, arguments, answer), "layer")
        self._by_kernels.append(written)
        return written

    def _resize(self, inputs: list[Any], attrs: dict[str, Any], opset: int) -> Any:
        """Imports Resize, also of channels-last images, for which TVM's front end would resize the wrong axes."""
        given = [_numbers(array) for array in inputs[2:4]]
        shape = [int(size) for size in inputs[0].ty.shape]
        resized = {
            axis
            for numbers, unchanged in zip(given, ([1.0] * len(shape), shape), strict=False)
            for axis, number in enumerate(numbers)
            if number != unchanged[axis]
        }
        if min(resized, default=2) >= 2:
            return super()._convert_operator("Resize", inputs, attrs, opset)
        if len(shape) != 4 or not resized <= {1, 2}:
            raise ValueError("Resize is supported for the two axes of an image only")
        nothing: Any = None
        first = [0, 3, 1, 2]  # to channels first, which the front end requires
        moved: list[Any] = [relax.const(np.array(numbers)[first]) if numbers else None for numbers in given]
        image: Any = self.bb.emit(relax.op.permute_dims(inputs[0], first))
        call: Any = super()._convert_operator("Resize", [image, nothing, *moved], attrs, opset)
        return self.bb.normalize(
            relax.op.image.resize2d(
                inputs[0], call.args[1], layout="NHWC", **{name: call.attrs[name] for name in _RESIZE_ATTRIBUTES}
            )
        )


def _numbers(array: Any) -> list[Any]:
    """Returns the elements of a constant; an empty list for any other value."""
    constant: Any = tvm.ir.GenericConst
    return list(array.value.numpy()) if isinstance(array, constant) else []


def _bounded(value: Any) -> Any:
    """Clips the indices of a Gather, which may be inputs of the model, so that it does not read out of bounds.

    ONNX Runtime raises an error for such an index.
    """
    if isinstance(value, relax.Call) and value.op == tvm.ir.Op.get("relax.take"):
        attributes: Any = value.attrs
        if attributes.mode == "fast":
            return relax.op.take(*value.args, axis=attributes.axis, mode="clip")
    return value
