"""Einstein sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import te

from compiler.tvm_backend.operators.binary import reshaped
from compiler.tvm_backend.operators.cast import converted, widened
from compiler.tvm_backend.operators.elements import read
from compiler.tvm_backend.operators.node import Converter, Expr, Node, Tensor, Unsupported


def _einsum(node: Node) -> Tensor:
    """Multiplies the tensors and sums over every label that the output lacks, as numpy.einsum."""
    tensors = node.given()
    dtype = tensors[0].dtype
    tensors = [widened(node, tensor) for tensor in tensors]
    if any(0 in tensor.shape for tensor in tensors):
        raise Unsupported("an input has no elements")
    labels, output = _labels(str(node.attributes["equation"]).replace(" ", ""), tensors)
    sizes: dict[str, int] = {}
    for names, tensor in zip(labels, tensors, strict=True):
        for name, size in zip(names, tensor.shape, strict=True):
            if sizes.get(name, 1) != 1 and size not in (1, sizes[name]):
                raise Unsupported(f"the label {name!r} has sizes {sizes[name]} and {size}")
            sizes[name] = max(sizes.get(name, 1), size)
    if unknown := [name for name in output if name not in sizes]:
        raise Unsupported(f"the label {unknown[0]!r} of the output is in no input")
    summed = [name for name in sizes if name not in output]

    def compute(*data: Any) -> Any:
        axes = {name: te.reduce_axis((0, sizes[name]), name=f"k{i}") for i, name in enumerate(summed)}

        def element(*index: Expr) -> Expr:
            place = dict(zip(output, index, strict=False)) | {name: axis.var for name, axis in axes.items()}
            product: Any = None
            for names, array in zip(labels, data, strict=True):
                factor = read(array, [place[name] for name in names])
                product = factor if product is None else product * factor
            return te.sum(product, axis=list(axes.values())) if axes else product

        # An output without axes cannot be scheduled, so it gets one of size 1.
        return te.compute(tuple(sizes[name] for name in output) or (1,), element, name="einsum")

    result = node.computed(compute, *tensors)
    return converted(node, reshaped(node, result, [sizes[name] for name in output]), dtype)


def _labels(equation: str, tensors: list[Tensor]) -> tuple[list[list[str]], list[str]]:
    """Returns one label per axis of each tensor, and of the output. The axes of an ellipsis are "0", "1", ..."""
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(tensors):
        raise Unsupported(f"the equation {equation!r} has {len(terms)} terms for {len(tensors)} inputs")
    ellipses = [tensor.rank - len(term.replace("...", "")) for term, tensor in zip(terms, tensors, strict=True)]
    widest = max((n for n, term in zip(ellipses, terms, strict=True) if "..." in term), default=0)

    def split(term: str, rank: int | None) -> list[str]:
        if "..." not in term:
            return list(term)
        before, after = term.split("...")
        count = widest if rank is None else rank - len(before) - len(after)
        return [*before, *(str(i) for i in range(widest - count, widest)), *after]

    labels = [split(term, tensor.rank) for term, tensor in zip(terms, tensors, strict=True)]
    for names, tensor, term in zip(labels, tensors, terms, strict=True):
        if len(names) != tensor.rank:
            raise Unsupported(f"the term {term!r} does not fit {tensor.rank} dimensions")
    if arrow:
        return labels, split(output, None)
    every = [name for names in labels for name in names]
    once = sorted(name for name in set(every) if every.count(name) == 1 and not name.isdigit())
    return labels, [*(str(i) for i in range(widest)), *once]


CONVERTERS: Mapping[str, Converter] = {"Einsum": _einsum}
