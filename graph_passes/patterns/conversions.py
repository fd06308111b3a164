"""Conversions between float32 and 8-bit integers with one constant scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.integer_weight import are_scales
from graph_passes.values import constant, data_input, is_op, new_constant, required

_OTHER_FORMS = ("block_size", "precision")  # attributes that layers do not have


@dataclass(frozen=True)
class Conversion:
    """A QuantizeLinear or DequantizeLinear.

    Attributes:
        scale: a scalar of float32 that is positive and finite, as is its inverse.
        zero: a scalar of int8 or uint8, the type of the integers.
    """

    node: ir.Node
    scale: np.ndarray
    zero: np.ndarray

    @classmethod
    def of(cls, node: ir.Node | None) -> Conversion | None:
        """Returns the conversion of a node; None if it is another node, or has another form."""
        if node is None or not is_op(node, "QuantizeLinear", "DequantizeLinear"):
            return None
        if any(node.attributes.get_int(name, 0) for name in _OTHER_FORMS):
            return None
        floats = required(node.inputs[0]) if is_op(node, "QuantizeLinear") else node.outputs[0]
        scale, zero = constant(node.inputs[1]), _zero_point(node)
        if floats.dtype not in (None, ir.DataType.FLOAT) or scale is None or zero is None:
            return None
        if scale.size != 1 or zero.size != 1 or not are_scales(scale):
            return None
        return cls(node, scale.reshape(()), zero.reshape(()))

    @property
    def quantizes(self) -> bool:
        return is_op(self.node, "QuantizeLinear")

    @property
    def integers(self) -> ir.Value:
        return self.node.outputs[0] if self.quantizes else required(self.node.inputs[0])

    @property
    def numbers(self) -> tuple[str, float, int]:
        """The type of the integers, the scale and the zero point."""
        return self.zero.dtype.name, float(self.scale), int(self.zero)

    def same(self, other: Conversion | None) -> bool:
        """Whether both convert in the same direction with the same numbers."""
        if other is None:
            return False
        return self.quantizes == other.quantizes and self.numbers == other.numbers

    def operands(self, graph: ir.Graph, name: str) -> dict[str, ir.Value | None]:
        """Returns the operands of a layer for its tensor ``name``: new constants of its scale and zero point."""
        own = self.integers.name
        return {
            f"{name}_scale": new_constant(graph, f"{own}_scale", self.scale),
            f"{name}_zero": new_constant(graph, f"{own}_zero", self.zero),
        }


def _zero_point(node: ir.Node) -> np.ndarray | None:
    """Returns the zero point of a conversion from or to 8-bit integers; None for another one."""
    given = data_input(node, 2)
    integers = node.outputs[0] if is_op(node, "QuantizeLinear") else required(node.inputs[0])
    if given is None:
        dtype = integers.dtype
        known = dtype in (ir.DataType.INT8, ir.DataType.UINT8)
        return np.zeros((), dtype.numpy()) if known and dtype is not None else None
    zero = constant(given)
    return zero if zero is not None and zero.dtype.name in ("int8", "uint8") else None
