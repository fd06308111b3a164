"""Sequences of tensors whose length is known when the model is compiled. They exist only at that time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compiler.tvm_backend.operators.binary import reshaped
from compiler.tvm_backend.operators.movement import concatenated, parts
from compiler.tvm_backend.operators.node import Converter, Node, Tensor, TensorList, Unsupported, checked_axis


def _elements(node: Node) -> list[Tensor]:
    sequence: Any = node.inputs[0]
    if not isinstance(sequence, TensorList):
        raise Unsupported("its input must be a sequence that the model makes itself")
    return list(sequence)


def _position(node: Node, index: int, length: int, default: int, last: int) -> int:
    known = node.known(index, "the position")
    if known is None:
        return default
    position = int(known.item())
    if not -length <= position <= last:
        raise Unsupported(f"there is no position {position} in a sequence of {length}")
    return position + length if position < 0 else position


def _at(node: Node) -> Tensor:
    elements = _elements(node)
    return elements[_position(node, 1, len(elements), 0, len(elements) - 1)]


def _insert(node: Node) -> TensorList:
    elements = _elements(node)
    elements.insert(_position(node, 2, len(elements), len(elements), len(elements)), node.input(1))
    return TensorList(elements)


def _erase(node: Node) -> TensorList:
    elements = _elements(node)
    del elements[_position(node, 1, len(elements), len(elements) - 1, len(elements) - 1)]
    return TensorList(elements)


def _split(node: Node) -> TensorList:
    x, axis = node.x, node.axis(0)
    size, keep = x.shape[axis], bool(node.attribute("keepdims", 1))
    split = node.known(1, "split")
    if split is None:
        sizes = [1] * size
    elif split.ndim == 0:
        chunk = int(split)
        if chunk < 1:
            raise Unsupported(f"a tensor cannot be split into parts of {chunk}")
        sizes = [min(chunk, size - start) for start in range(0, size, chunk)]
    else:
        sizes = [int(n) for n in split]
    found = parts(node, x, axis, sizes)
    if split is None and not keep:
        found = [reshaped(node, part, [n for i, n in enumerate(part.shape) if i != axis]) for part in found]
    return TensorList(found)


def _concat(node: Node) -> Tensor:
    elements = _elements(node)
    if not elements:
        raise Unsupported("the sequence is empty")
    new = bool(node.attribute("new_axis", 0))
    axis = checked_axis(int(node.attributes["axis"]), elements[0].rank + new)
    if new:
        elements = [reshaped(node, x, [*x.shape[:axis], 1, *x.shape[axis:]]) for x in elements]
    return concatenated(node, elements, axis)


CONVERTERS: Mapping[str, Converter] = {
    "ConcatFromSequence": _concat,
    "SequenceAt": _at,
    "SequenceConstruct": lambda node: TensorList(node.given()),
    "SequenceEmpty": lambda _node: TensorList(),
    "SequenceErase": _erase,
    "SequenceInsert": _insert,
    "SequenceLength": lambda node: Tensor.constant(np.array(len(_elements(node)), np.int64)),
    "SplitToSequence": _split,
}
