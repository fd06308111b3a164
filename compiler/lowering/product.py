"""What recognizers of products of a matrix with a constant weight share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import shape_of, vector
from compiler.lowering.epilogue import LayerEpilogue, epilogue_of
from graph_passes.patterns.layers import FusedLayer


@dataclass(frozen=True)
class Product:
    """x (..., k) · Wᵀ (k, n), and what follows.

    Attributes:
        rows: of x, over all axes but the last.
        inputs: x, then the residual if there is one.
        attributes: residual and activation of the layer.
        weights: of bias and slopes.
    """

    rows: int
    inputs: tuple[ir.Value, ...]
    attributes: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]
    epilogue: LayerEpilogue

    @classmethod
    def of(cls, node: ir.Node, fused: FusedLayer, n: int, k: int) -> Product | None:
        """Returns the product of a node; None if shapes are unknown, or the kernels do not support a part."""
        operands = fused.operands(node)
        x, residual = operands["x"], operands.get("r")
        rows, output = shape_of(x), shape_of(node.outputs[0])
        if x is None or len(rows) < 2 or rows[-1] != k:
            return None
        # A bias may add axes of size 1 in front.
        extra = len(output) - len(rows)
        if extra < 0 or output != (*(1 for _ in range(extra)), *rows[:-1], n):
            return None
        if fused.residual and shape_of(residual) != output:
            return None
        epilogue = epilogue_of(node, fused, n)
        bias = vector(operands["b"], n) if fused.bias else None
        if epilogue is None or (fused.bias and bias is None):
            return None
        activation = next((step for step in epilogue.steps if step not in ("bias", "residual")), None)
        return cls(
            prod(rows[:-1]),
            (x, residual) if residual is not None else (x,),
            {"residual": fused.residual, "activation": activation},
            {**epilogue.weights, **({} if bias is None else {"bias": bias})},
            epilogue,
        )
