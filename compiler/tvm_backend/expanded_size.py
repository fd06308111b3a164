"""The size of an expression to TVM's code generator, which limits what one loop computes.

The code generator simplifies each value of a ``Let`` with the values of earlier ones in place of their variables. So
exp reads its argument 108 times and sin 900 times, and one loop for exp(exp(exp(x))) would take hours to compile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tvm import ir, tirx

from compiler.tvm_backend.vector_math import vectorizable

LARGEST = 8000  # takes about two seconds
_OPERANDS = ("a", "b", "condition", "true_value", "false_value", "value")  # of the nodes of an expression


def expanded_size(expression: Any, load_size: Callable[[Any], int] = lambda _: 1) -> int:
    """Returns the number of variables and loads in the arithmetic of an expression without ``Let``.

    Args:
        load_size: the size of a load from a buffer.
    """
    return _size(vectorizable(expression), {}, load_size)


def _size(node: Any, known: Mapping[Any, int], load_size: Callable[[Any], int]) -> int:
    if isinstance(node, tirx.Var):
        return known.get(node, 1)
    if isinstance(node, ir.TensorLoad):
        return load_size(node.source)
    if isinstance(node, tirx.Let):
        return _size(node.body, {**known, node.var: _size(node.value, known, load_size)}, load_size)
    operands = node.args if isinstance(node, ir.Call) else [getattr(node, n) for n in _OPERANDS if hasattr(node, n)]
    return sum(_size(operand, known, load_size) for operand in operands if isinstance(operand, ir.Expr))
