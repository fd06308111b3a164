"""A digest of the structure of a model, without the values of its weights."""

from __future__ import annotations

import hashlib

import onnx

_SMALL = 64  # elements of a constant of integers that counts as structure, such as the shape of a Reshape


def digest(model: onnx.ModelProto) -> str:
    """Returns the SHA-256 of the nodes, their connections and attributes, and the types and shapes of constants.

    Names of tensors and nodes have no influence.
    """
    graph = model.graph
    numbers: dict[str, int] = {"": -1}
    found = hashlib.sha256()

    def add(*parts: object) -> None:
        found.update(repr(parts).encode())

    def number(name: str) -> int:
        return numbers.setdefault(name, len(numbers))

    for value in graph.input:
        kind = value.type.tensor_type
        add("input", number(value.name), kind.elem_type, [dim.dim_value for dim in kind.shape.dim])
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for name in node.input:
            if name in constants and name not in numbers:
                tensor = constants[name]
                add("constant", number(name), tensor.data_type, list(tensor.dims))
                if tensor.data_type == onnx.TensorProto.INT64 and sum(tensor.dims) <= _SMALL:
                    add(onnx.numpy_helper.to_array(tensor).tolist())
        add(node.domain, node.op_type, [number(name) for name in (*node.input, *node.output)])
        for attribute in sorted(node.attribute, key=lambda each: each.name):
            add(attribute.name, attribute.SerializeToString(deterministic=True))
    add("outputs", [number(value.name) for value in graph.output])
    return found.hexdigest()
