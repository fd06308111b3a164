"""Nodes of operators of users: the types of their outputs, and the calls that compute them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call
from graph_passes.base import described
from graph_passes.values import static_shape

_LISTS = (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS)
_KINDS = (ir.AttributeType.INT, ir.AttributeType.FLOAT, ir.AttributeType.STRING, *_LISTS)


class Operators(Protocol):
    """Operators of users; see :class:`compiler.program.operators.Operators`."""

    @property
    def names(self) -> Collection[tuple[str, str]]: ...

    def infer(self, description: Mapping[str, Any], outputs: int) -> list[dict[str, Any]]: ...


def is_known(node: ir.Node, operators: Operators | None) -> bool:
    """Returns whether a node is one of ``operators``."""
    return operators is not None and (node.domain, node.op_type) in operators.names


def unknown_input(node: ir.Node) -> str | None:
    """Returns the name of the first input whose type or shape is not known; None if all are."""
    for value in node.inputs:
        if value is not None and (value.dtype is None or static_shape(value) is None):
            return str(value.name)
    return None


def description_of(node: ir.Node, operators: Operators) -> dict[str, Any]:
    """Returns the attributes of the layer that computes a node, whose inputs are known.

    Raises:
        ValueError: the operator does not take such a node; one line that names the node.
    """
    try:
        description = {
            "domain": node.domain,
            "operator": node.op_type,
            "attributes": [_attribute(attribute) for attribute in node.attributes.values()],
            "inputs": [None if value is None else _type(value) for value in node.inputs],
        }
        return description | {"outputs": operators.infer(description, len(node.outputs))}
    except ValueError as error:
        raise ValueError(f"cannot compile {described(node)}: {error}") from None


def recognize(node: ir.Node, operators: Operators) -> Call:
    """
    Raises:
        ValueError: as :func:`description_of`, or the type of an input is not known.
    """
    if unknown := unknown_input(node):
        raise ValueError(
            f"cannot compile {described(node)}: the size of its input {unknown} depends on data, and operators of "
            "users have inputs of known sizes"
        )
    inputs = tuple(value for value in node.inputs if value is not None)
    return Call("user_operator", inputs, description_of(node, operators), outputs=tuple(range(len(node.outputs))))


def _type(value: ir.Value) -> dict[str, Any]:
    dtype = value.dtype
    return {
        "dtype": "none" if dtype is None else np.dtype(dtype.numpy()).name,
        "shape": list(static_shape(value) or ()),
    }


def _attribute(attribute: ir.Attr) -> list[Any]:
    if attribute.type not in _KINDS:
        raise ValueError(
            f"its attribute {attribute.name} is of the kind {attribute.type}; operators of users have numbers, strings "
            "and lists of them"
        )
    value = list(attribute.value) if attribute.type in _LISTS else attribute.value
    return [attribute.name, int(attribute.type), value]
