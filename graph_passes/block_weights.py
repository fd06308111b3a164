"""Makes layers of products whose constant weights have few bits, so that memory holds no floats of them.

::

    x, numbers, scales, zeros ── com.microsoft.MatMulNBits ── y
    x ── MatMul(DequantizeLinear(w, scales, zeros)) ── y

    x, w, w_scale, w_zero ── loopwright.BlockMatMul ── y

The weights have 2, 4 or 8 bits, and a scale and a zero point per block of each column, or per column. x is float32, and
not quantized itself: such layers belong to integer_layers. The pass raises the opset if there is a layer, whose
function needs it. It is not part of the default passes, since other runtimes have kernels for these operators.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from graph_passes.base import Pass, Remark, every_node, too_old
from graph_passes.lazy import ir
from graph_passes.opset import raise_opset
from graph_passes.patterns.block_layers import BlockLayer
from graph_passes.replacement import infer_shapes

OLDEST_OPSET = 17  # that of fuse_layers, which adds to the layers


@dataclass(frozen=True)
class BlockWeights(Pass):
    """
    Attributes:
        by_rows: whether the number of rows of x may decide, which a program for ranges of sizes cannot have.
    """

    name: ClassVar[str] = "block_weights"
    by_rows: bool = True

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        if all(BlockLayer.of(node, self.by_rows) is None for node in every_node(model)):
            return
        yield from raise_opset(model)
        remark = too_old(model, OLDEST_OPSET)
        if remark is not None:
            yield remark
            return
        for node in list(every_node(model)):
            layer = BlockLayer.of(node, self.by_rows)
            if layer is not None:
                layer.write(model)
        infer_shapes(model)
