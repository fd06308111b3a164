"""If: two branches, of which one runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import relax

from compiler.tvm_backend.operators.node import Tensor, Unsupported, shape_expr


def converted_branch(
    builder: relax.BlockBuilder, condition: Tensor, branch: Callable[[str], Sequence[Tensor]]
) -> list[Tensor]:
    """Returns the outputs of If.

    Args:
        branch: emits a branch by the name of its attribute, and returns its outputs.

    Raises:
        Unsupported: the branches have outputs of different shapes.
    """
    if condition.size != 1:
        raise Unsupported(f"its condition has shape {condition.shape}; it must be one element")
    if condition.array is not None:
        return list(branch("then_branch" if condition.array.item() else "else_branch"))
    bodies, results = [], []
    for name in ("then_branch", "else_branch"):
        # The block of the branch. Its values must not be visible outside.
        builder._begin_binding_block()
        try:
            tensors = list(branch(name))
            body = builder.emit(relax.Tuple([tensor.expr for tensor in tensors]))
        finally:
            block = builder._end_block()
        bodies.append(relax.SeqExpr([block], body))
        results.append([(tensor.shape, tensor.dtype) for tensor in tensors])
    if results[0] != results[1]:
        raise Unsupported(f"its branches have outputs of different shapes, {results[0]} and {results[1]}")
    flag = condition.expr if not condition.shape else builder.emit(relax.op.reshape(condition.expr, shape_expr(())))
    chosen = builder.emit(relax.If(flag, *bodies))
    return [Tensor.of(builder.emit(relax.TupleGetItem(chosen, index))) for index in range(len(results[0]))]
