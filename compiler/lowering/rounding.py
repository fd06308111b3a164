"""Finds layers whose output is rounded to the steps of a quantization."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from graph_passes.patterns.layers import FusedLayer
from graph_passes.values import is_op

_BETWEEN = ("Add", "Clip", "Div", "Max", "Min", "Mul", "Relu", "Reshape", "Sub", "Transpose")
_MOST_NODES = 8  # whose readers are visited, from the layer on


def rounds_next(node: ir.Node, weights: Mapping[str, np.ndarray]) -> bool:
    """Returns whether an error of the output may move a value to the next step.

    An error of fast algorithms does so ten times as often as that of a plain sum. Sums of integers are an exception:
    whatever the algorithm, they are rounded to the same integer.
    """
    waiting, seen = [node], 0
    while waiting and seen < _MOST_NODES:
        seen += 1
        for use in waiting.pop(0).outputs[0].uses():
            fused = FusedLayer.of(use.node)
            if is_op(use.node, "Round", "QuantizeLinear") or (fused is not None and fused.of_integers):
                whole = bool(weights) and all(np.array_equal(np.rint(weight), weight) for weight in weights.values())
                return not whole
            if is_op(use.node, *_BETWEEN):
                waiting.append(use.node)
    return False
