"""Makes layers of products of 8-bit integers.

::

    x ── DynamicQuantizeLinear ── MatMulInteger(w) ── Cast ── Mul ── y
                     └─ scale ────────── Mul(w_scale) ─────────┘

    x, w, w_scale ── loopwright.DynamicMatMul ── y

    x8 ── DequantizeLinear ── Conv(DequantizeLinear(w)) ── Add(DequantizeLinear(r8)) ── Relu ── QuantizeLinear ── y8

    x8, w, w_scale, x_scale, x_zero, r8, ... ── loopwright.QuantizedConv_residual_relu_r8_y8 ── y8

Layers read integers, and write integers if all of their readers do. The weights are constants of int8 with the zero
point 0, or of uint8 with 128, which is the same. The forms are those of ONNX Runtime's quantization. A
DynamicQuantizeLinear stays unless all its readers have this form. The image of a depthwise convolution that is
quantized per channel gets one scale first (patterns/channel_scales.py). The pass inlines functions and, if there is a
layer, raises the opset, which the functions of layers need. It is not part of the default passes, since other runtimes
have kernels for the integer operators.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from graph_passes.base import DOMAIN, Pass, Remark, described, every_node, too_old
from graph_passes.lazy import ir
from graph_passes.opset import raise_opset
from graph_passes.patterns.channel_scales import unify_channel_scales
from graph_passes.patterns.dynamic_products import Product, products_of, replace_dynamic_products
from graph_passes.patterns.integer_pooling import pool_integers
from graph_passes.patterns.integer_weight import IN_FLOAT
from graph_passes.patterns.layer_growth import grow_layer
from graph_passes.patterns.quantized_layers import QuantizedLayer
from graph_passes.replacement import infer_shapes
from graph_passes.values import is_op

_QUANTIZED = ("ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QuantizeLinear")
OLDEST_OPSET = 17  # that of fuse_layers, which adds to the layers


@dataclass(frozen=True)
class IntegerLayers(Pass):
    name: ClassVar[str] = "integer_layers"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        if not any(is_op(node, *_QUANTIZED) for node in every_node(model)):
            return
        from onnx_ir.passes import common

        common.InlinePass(lambda function: function.domain != DOMAIN)(model)
        for node in list(every_node(model)):
            reason = unify_channel_scales(node)
            if reason is not None:
                yield Remark(described(node), reason)
        if all(_layer(node) is None for node in every_node(model)):
            yield from _remarks(model)
            return
        yield from raise_opset(model)
        remark = too_old(model, OLDEST_OPSET)
        if remark is not None:
            yield remark
            return
        pool_integers(model)
        new = []
        for node in list(every_node(model)):
            layer = _layer(node)
            if isinstance(layer, QuantizedLayer):
                new.append(layer.write(model))
            elif layer is not None:
                replace_dynamic_products(model, node, layer)
        yield from _remarks(model)
        infer_shapes(model)
        for node in reversed(new):
            yield from grow_layer(model, node)
        infer_shapes(model)


def _layer(node: ir.Node) -> QuantizedLayer | Sequence[Product] | None:
    """Returns the layer of a node, or the products of a DynamicQuantizeLinear; None for any other node."""
    if is_op(node, "DynamicQuantizeLinear"):
        return products_of(node) or None
    found = QuantizedLayer.of(node)
    return None if isinstance(found, str) else found


def _remarks(model: ir.Model) -> Iterator[Remark]:
    """Yields the reasons why quantized layers did not become layers of integers."""
    for node in every_node(model):
        reason = QuantizedLayer.of(node)
        if is_op(node, "ConvInteger"):
            reason = "convolutions that are quantized dynamically have no integer kernel"
        elif is_op(node, "MatMulInteger"):
            reason = "it has another form than a dynamically quantized product"
        if isinstance(reason, str):
            yield Remark(described(node), f"{IN_FLOAT}: {reason}")
