"""Makes layers of products of 8-bit integers.

::

    x ── DynamicQuantizeLinear ── MatMulInteger(w) ── Cast ── Mul ── y
                     └─ scale ────────── Mul(w_scale) ─────────┘

    x, w, w_scale ── loopwright.DynamicMatMul ── y

    x ── QuantizeLinear ── DequantizeLinear ── Conv(DequantizeLinear(w)) ── y

    x, w, w_scale, x_scale, x_zero ── loopwright.QuantizedConv ── y

The weights are constants of int8 with the zero point 0, or of uint8 with 128, which is the same. The forms are those of
ONNX Runtime's quantization. A DynamicQuantizeLinear stays unless all its readers have this form. The pass inlines
functions and, if there is a layer, raises the opset, which the functions of layers need. It is not part of the default
passes, since other runtimes have kernels for the integer operators.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from graph_passes.base import DOMAIN, Pass, Remark, every_node, too_old
from graph_passes.lazy import ir
from graph_passes.opset import raise_opset
from graph_passes.patterns.dynamic_products import Product, products_of, replace_dynamic_products
from graph_passes.patterns.quantized_layers import QuantizedLayer
from graph_passes.replacement import infer_shapes
from graph_passes.values import is_op

OLDEST_OPSET = 17  # that of fuse_layers, which adds to the layers


@dataclass(frozen=True)
class IntegerLayers(Pass):
    name: ClassVar[str] = "integer_layers"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        if not any(is_op(node, "DynamicQuantizeLinear", "QuantizeLinear") for node in every_node(model)):
            return
        from onnx_ir.passes import common

        common.InlinePass(lambda function: function.domain != DOMAIN)(model)
        if not any(_layers(node) for node in every_node(model)):
            return
        yield from raise_opset(model)
        remark = too_old(model, OLDEST_OPSET)
        if remark is not None:
            yield remark
            return
        for node in list(every_node(model)):
            found = _layers(node)
            if isinstance(found, QuantizedLayer):
                found.write(model)
            elif found:
                replace_dynamic_products(model, node, found)
        infer_shapes(model)


def _layers(node: ir.Node) -> QuantizedLayer | Sequence[Product] | None:
    """Returns the layer of a node, or the products of a DynamicQuantizeLinear; nothing if it has another form."""
    if is_op(node, "DynamicQuantizeLinear"):
        return products_of(node)
    return QuantizedLayer.of(node) if is_op(node, "Conv", "Gemm", "MatMul") else None
