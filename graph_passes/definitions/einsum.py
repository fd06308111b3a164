"""Einsum of two operands as a product of matrices, and of one operand as a transposition.

The letters of an equation fall into four groups, and the operands are brought into their order::

    batch (both operands and the output)     a: batch, left, sum      b: batch, sum, right
    left, right (one operand and the output)
    sum (both operands)                      y: batch, left, right

Letters of a group are joined to one axis where MatMul needs one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

from graph_passes.definitions.call import Call, reshaped
from graph_passes.values import constant


def einsum(call: Call) -> str:
    operands, output = _parsed(call)
    if len(operands) == 1:
        (a,) = operands
        call.require(sorted(a) == sorted(output), "an Einsum of one operand that sums is not supported")
        return f"(a) => (y)\n{_transposed('a', a, output, 'y')}"
    call.require(len(operands) == 2, f"an Einsum of {len(operands)} operands is not supported")
    a, b = operands
    sizes = _sizes(call, operands)
    batch = [letter for letter in output if letter in a and letter in b]
    left, right = ([c for c in output if c in mine and c not in other] for mine, other in ((a, b), (b, a)))
    summed = [letter for letter in a if letter in b and letter not in output]
    alone = set(a + b) - set(batch + left + right + summed)
    call.require(not alone, "an Einsum that sums over axes of one operand is not supported")
    names = ("a", "b")
    if not batch and constant(call.node.inputs[0]) is not None:  # kernels take the constant as the second operand
        names, a, b, left, right = ("b", "a"), b, a, right, left
        summed = [letter for letter in a if letter in summed]
    lines = [
        _transposed(names[0], a, batch + left + summed, "left"),
        _transposed(names[1], b, batch + summed + right, "right"),
    ]
    shape = _shape(sizes)
    if summed:
        rows = shape(left) if not batch and left else [prod(shape(left))]
        columns, inner = prod(shape(right)), prod(shape(summed))
        lines += [
            reshaped("left", [*shape(batch), *rows, inner], "left_matrix"),
            reshaped("right", [*shape(batch), inner, columns], "right_matrix"),
            "product = MatMul (left_matrix, right_matrix)",
        ]
    else:
        lines += [
            reshaped("left", [*shape(batch), *shape(left), *[1] * len(right)], "left_factor"),
            reshaped("right", [*shape(batch), *[1] * len(left), *shape(right)], "right_factor"),
            "product = Mul (left_factor, right_factor)",
        ]
    letters = batch + left + right
    lines += [reshaped("product", shape(letters), "ordered"), _transposed("ordered", letters, output, "y")]
    return "(a, b) => (y)\n" + "\n".join(lines)


def _parsed(call: Call) -> tuple[list[list[str]], list[str]]:
    """Returns the letters of each operand and of the output."""
    equation = "".join(call.text("equation").split())
    call.require("." not in equation, "an Einsum with an ellipsis is not supported")
    left, arrow, right = equation.partition("->")
    operands = [list(letters) for letters in left.split(",")]
    call.require(len(operands) == len(call.node.inputs), f"its equation is {equation!r}")
    call.require(all(len(set(a)) == len(a) for a in operands), "an Einsum of a diagonal is not supported")
    everything = [letter for letters in operands for letter in letters]
    output = list(right) if arrow else sorted(c for c in everything if everything.count(c) == 1)
    call.require(len(set(output)) == len(output) and set(output) <= set(everything), f"its equation is {equation!r}")
    return operands, output


def _sizes(call: Call, operands: Sequence[Sequence[str]]) -> Mapping[str, int]:
    call.require(call.dtype().name in ("FLOAT", "DOUBLE"), "an Einsum of this type is not supported")
    sizes: dict[str, int] = {}
    for index, letters in enumerate(operands):
        shape = call.shape(index)
        call.require(len(shape) == len(letters), "an operand has another number of axes than its letters")
        for letter, size in zip(letters, shape, strict=True):
            call.require(sizes.setdefault(letter, size) == size and size > 0, f"the sizes of its axis {letter} differ")
    return sizes


def _shape(sizes: Mapping[str, int]) -> Callable[[Sequence[str]], list[int]]:
    return lambda letters: [sizes[letter] for letter in letters]


def _transposed(x: str, letters: Sequence[str], wanted: Sequence[str], y: str) -> str:
    if list(letters) == list(wanted):
        return f"{y} = Identity ({x})"
    return f"{y} = Transpose <perm = {[letters.index(letter) for letter in wanted]}> ({x})"
