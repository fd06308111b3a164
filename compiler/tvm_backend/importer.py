"""ONNX -> Relax: TVM's own front end, and calls of our kernels where the model has some."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from typing import Any

import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from compiler.kernel_calls import DOMAIN
from compiler.layer import Layer

# What the front end handles by itself, beside its table.
_DIRECT = {"Constant", "If"}
_STANDARD = ("", "ai.onnx")


class UnsupportedOperators(ValueError):
    """The model has operators that neither our kernels nor TVM's front end know."""


def import_model(model: onnx.ModelProto, layers: Sequence[Layer]) -> tvm.IRModule:
    """A module whose ``main`` takes the model's inputs and then the layers, an opaque object, and returns a tuple of
    the model's outputs.

    Args:
        model: without functions; nodes of the domain ``loopwright.kernels`` are calls of ``layers``.

    Raises:
        UnsupportedOperators: names every node of an operator that TVM does not import.
        ValueError: TVM's front end refuses a node.
    """
    _check_operators(model)
    opset = next(entry.version for entry in model.opset_import if entry.domain in _STANDARD)
    importer = _Importer(layers)
    # The front end prints before it raises, and warns of every name that it changes.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importer.from_onnx(model.graph, opset)
        except Exception as error:  # noqa: BLE001 - it raises what the TVM operator at hand happens to raise
            line = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise ValueError(f"TVM cannot import {importer.node or 'the model'}: {line}") from error


def _check_operators(model: onnx.ModelProto) -> None:
    known = set(onnx_frontend._get_convert_map()) | _DIRECT
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    unknown = [
        f"{node.op_type} (node {node.name or node.output[0]!r}, {node.domain or 'ai.onnx'} opset "
        f"{opsets.get(node.domain, opsets.get('ai.onnx', 'unknown'))})"
        for node in _nodes(model.graph)
        if node.domain != DOMAIN and (node.domain not in _STANDARD or node.op_type not in known)
    ]
    if unknown:
        raise UnsupportedOperators(f"operators that cannot be compiled: {'; '.join(unknown)}")


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """All nodes, those of the bodies of control flow too."""
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
        self.node = ""  # that is being imported

    def from_onnx(self, graph: onnx.GraphProto, opset: int) -> tvm.IRModule:
        self.opset = opset
        self._parse_graph_initializers(graph)
        self._parse_graph_input(graph)
        inputs = [value for value in self._inputs.values() if isinstance(value, relax.Var)]
        branches = any(node.op_type == "If" for node in graph.node)  # none may stand in a dataflow block
        with self.bb.function("main", params=[*inputs, self._object]):
            with contextlib.nullcontext() if branches else self.bb.dataflow():
                self._construct_nodes(graph)
                self.node = ""
                outputs = relax.Tuple([self._output(value.name) for value in graph.output])
                result = self.bb.emit(outputs) if branches else self.bb.emit_output(outputs)
            self.bb.emit_func_output(result)
        return self.bb.get()

    def _output(self, name: str) -> Any:
        """An output of the model, in memory of its own: no input and no constant."""
        value = self._nodes[name]
        if isinstance(value, relax.ShapeExpr):
            value = self.bb.emit(relax.op.shape_to_tensor(value))
        if isinstance(value, tvm.ir.Constant) or any(value.same_as(given) for given in self._inputs.values()):
            zeros = relax.op.zeros_like(value)
            return self.bb.emit(relax.op.where(relax.op.equal(zeros, zeros), value, value))
        return value

    def _convert_operator(self, op_name: str, inputs: list[Any], attrs: dict[str, Any], opset: int) -> Any:
        self.node = f"{op_name} (node {attrs['tvm_custom']['name']!r}, opset {opset})"
        if "place" not in attrs:
            return super()._convert_operator(op_name, inputs, attrs, opset)
        layer = self._layers[attrs["place"]]
        arguments = relax.Tuple([self._object, relax.prim_value(attrs["place"]), *inputs])
        answer = relax.TensorType(layer.output_shape, "float32")
        return self.bb.emit(relax.call_dps_packed(layer.function, arguments, answer), "layer")
