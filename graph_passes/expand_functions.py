"""Replaces operators that ONNX defines by other operators, such as Attention, by their definitions.

The definition comes from ONNX's schema, for the operator's inputs and attributes. For com.microsoft's operators, and
for some that ONNX no longer has, it comes from :mod:`graph_passes.definitions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graph_passes.base import Pass, Remark, described, every_node
from graph_passes.definitions import definition, oldest_opset
from graph_passes.definitions.call import Call, Undefined, function_proto
from graph_passes.lazy import ir
from graph_passes.quantized_lstm import infer_quantized_lstms
from graph_passes.replacement import infer_shapes
from graph_passes.values import graph_of, is_op, new_constant

# Operators that importers support less often than their definitions. Others, such as Softmax, stay.
EXPANDED = (
    *("AffineGrid", "Attention", "BlackmanWindow", "CausalConvWithState", "CenterCropPad", "HammingWindow"),
    *("HannWindow", "LinearAttention", "NegativeLogLikelihoodLoss", "RotaryEmbedding", "SoftmaxCrossEntropyLoss"),
    "SwiGLU",
)
_DOMAIN = "loopwright.expanded"


@dataclass(frozen=True)
class ExpandFunctions(Pass):
    name: ClassVar[str] = "expand_functions"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        from onnx_ir.passes import common

        opset = model.opset_imports.get("", 1)
        infer_quantized_lstms(model)
        # A definition may use another one of these operators, and may need a shape that another one determines.
        while nodes := [node for node in every_node(model) if _is_expanded(node, opset)]:
            reasons = []
            for number, node in enumerate(nodes):
                where = described(node)
                try:
                    function, remarks = _function(node, opset, number)
                except Undefined as error:
                    reasons.append(Remark(where, f"not expanded: {error}"))
                    continue
                yield from (Remark(where, remark) for remark in remarks)
                model.functions[function.identifier()] = function
                node.domain, node.op_type, node.overload = function.domain, function.name, ""
                for output in node.outputs:
                    output.name = output.name or None  # the value inside would be called "", too
            if len(reasons) == len(nodes):
                yield from reasons
                return
            model.opset_imports[_DOMAIN] = 1
            common.InlinePass(lambda function: function.domain == _DOMAIN)(model)
            common.RemoveUnusedOpsetsPass()(model)
            infer_shapes(model)


def _is_expanded(node: ir.Node, opset: int) -> bool:
    return is_op(node, *EXPANDED) or definition(node.domain, node.op_type, opset) is not None


def _function(node: ir.Node, opset: int, number: int) -> tuple[ir.Function, list[str]]:
    """Returns the definition as a function that fits this node, and remarks on it.

    Raises:
        Undefined: there is no definition for this form of the operator.
    """
    name = f"{node.op_type}_{number}"
    defined = definition(node.domain, node.op_type, opset)
    remarks: list[str] = []
    if defined is None:
        proto = _of_schema(node, opset, name)
    else:
        call = Call(node, opset)
        call.since(oldest_opset(node.domain, node.op_type), "its definition")
        try:
            proto = function_proto(call, defined(call), _DOMAIN, name)
        except Undefined:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # attributes or shapes that do not fit
            raise Undefined(f"it is not valid ({error})") from None
        _give(node, call.held, len(proto.input))
        remarks = call.remarks
    if not _complete_outputs(proto, node):
        raise Undefined("one of its outputs is not supported for its inputs")
    return ir.serde.deserialize_function(proto), remarks


def _give(node: ir.Node, held: Mapping[str, np.ndarray], inputs: int) -> None:
    """Adds constants of a definition as the last ones of ``inputs`` inputs of a node."""
    if held:
        node.resize_inputs(inputs)
    for place, (name, array) in enumerate(held.items(), inputs - len(held)):
        value = new_constant(graph_of(node), f"{node.outputs[0].name}_{name}", array)
        node.replace_input_with(place, value)


def _of_schema(node: ir.Node, opset: int, name: str) -> Any:
    """Returns the definition in ONNX's schema, for this node's attributes and types.

    Raises:
        Undefined: ONNX has no such definition.
    """
    import onnx

    missing = Undefined("ONNX has no definition for its inputs")
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opset, "")  # its annotations lack functions
    except onnx.defs.SchemaError:
        raise missing from None
    proto = onnx.FunctionProto()
    versions = [version for version in schema.function_opset_versions if version <= opset]
    if versions:
        proto.ParseFromString(schema.get_function_with_opset_version(versions[-1]))
    elif versions := [v for v in schema.context_dependent_function_opset_versions if v <= opset]:
        types = [_type(value).SerializeToString() for value in node.inputs]
        body = schema.get_context_dependent_function_with_opset_version(
            versions[-1], ir.serde.serialize_node(node).SerializeToString(), types
        )
        proto.ParseFromString(body)
    if not proto.node:
        raise missing
    _set_defaults(node, proto, schema)
    proto.domain, proto.name = _DOMAIN, name
    del proto.opset_import[:]
    proto.opset_import.add(domain="", version=opset)
    return proto


def _complete_outputs(proto, node: ir.Node) -> bool:
    """Gives outputs that the definition lacks for this node's inputs some value; returns False if one is used."""
    del proto.output[len(node.outputs) :]
    written = {name for inner in proto.node for name in inner.output}
    for place, name in enumerate(proto.output):
        if name in written:
            continue
        if node.outputs[place].uses() or node.outputs[place].is_graph_output():
            return False
        proto.node.add(op_type="Identity", input=[proto.input[0]], output=[name])
    return True


def _set_defaults(node: ir.Node, proto, schema) -> None:
    """Gives the node the default values of the attributes that its definition reads."""
    for name in proto.attribute:
        if name not in node.attributes and schema.attributes[name].default_value.name:
            node.attributes.add(ir.serde.deserialize_attribute(schema.attributes[name].default_value))


def _type(value: ir.Value | None):
    import onnx

    if value is None or value.type is None:
        return onnx.TypeProto()
    return ir.serde.serialize_value(value).type
