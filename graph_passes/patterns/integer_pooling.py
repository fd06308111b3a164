"""Maxima of dequantized numbers: those of the integers, since a scale is positive.

::

    x8 ── DequantizeLinear ── MaxPool ── QuantizeLinear ── y8

    x8 ── MaxPool ── y8
"""

from __future__ import annotations

from graph_passes.base import every_node
from graph_passes.lazy import ir
from graph_passes.patterns.conversions import Conversion
from graph_passes.values import bypass, graph_of, is_op, producer, static_shape, supplant

_IMAGE_RANK = 4
_UNSUPPORTED = ("auto_pad", "storage_order")  # attributes that our kernel of integers does not have


def pool_integers(model: ir.Model) -> None:
    """Makes each MaxPool of dequantized images one of integers. A DequantizeLinear follows where floats are read."""
    for node in list(every_node(model)):
        source = Conversion.of(producer(node.inputs[0])) if is_op(node, "MaxPool") else None
        if source is None or source.quantizes or not _is_supported(node):
            continue
        integers = source.integers
        pool = ir.node("MaxPool", [integers], {name: attr.value for name, attr in node.attributes.items()})
        pool.name = node.name
        pool.outputs[0].type, pool.outputs[0].shape = integers.type, node.outputs[0].shape
        floats = ir.node("DequantizeLinear", [pool.outputs[0], *source.node.inputs[1:]])
        floats.outputs[0].type, floats.outputs[0].shape = node.outputs[0].type, node.outputs[0].shape
        supplant([node], [pool, floats])
        for use in list(floats.outputs[0].uses()):
            back = Conversion.of(use.node)
            if back is not None and back.quantizes and back.numbers == source.numbers:
                bypass(back.node, pool.outputs[0])
        if not floats.outputs[0].uses() and not floats.outputs[0].is_graph_output():
            graph_of(floats).remove(floats, safe=True)


def _is_supported(node: ir.Node) -> bool:
    shape = static_shape(node.inputs[0])
    plain = len(node.outputs) == 1 and not any(name in node.attributes for name in _UNSUPPORTED)
    return plain and shape is not None and len(shape) == _IMAGE_RANK
