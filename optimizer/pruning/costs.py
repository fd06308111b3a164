"""What the channels that groups keep cost: parameters, or multiply-adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import mul
from typing import TypeAlias

from optimizer.pruning.widths import Layer, Product, Weight, Width

# How a user gives a model fixed sizes.
FIX_SIZES = "give the inputs fixed sizes first, with python -m graph_passes --passes freeze_shapes --input-shape"
Value: TypeAlias = Callable[..., float]


@dataclass(frozen=True)
class Term:
    """A part of a cost that depends on a few widths.

    Attributes:
        widths: the sizes that it depends on.
        value: the cost for these sizes. It is computed once for each.
    """

    widths: tuple[Width, ...]
    value: Value
    _found: dict[tuple[int, ...], float] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, kept: Sequence[int]) -> float:
        sizes = tuple(width(kept) for width in self.widths)
        if sizes not in self._found:
            self._found[sizes] = self.value(*sizes)
        return self._found[sizes]

    @property
    def groups(self) -> frozenset[int]:
        return frozenset(group for width in self.widths for group, _ in width.parts)


@dataclass(frozen=True)
class Cost:
    """A cost of a model: the sum of its terms.

    Attributes:
        unit: of its values.
        terms: its terms.
    """

    unit: str
    terms: tuple[Term, ...]

    def __call__(self, kept: Sequence[int]) -> float:
        """Returns the cost of a model in which each group keeps so many channels."""
        return sum(term(kept) for term in self.terms)


def parameters(weights: Sequence[Weight]) -> Cost:
    """Returns the number of elements of all constants."""
    return Cost("parameters", tuple(_elements(weight, 1) for weight in weights))


def macs(layers: Sequence[Layer], products: Sequence[Product]) -> Cost:
    """Returns the multiply-adds of all convolutions and products.

    Raises:
        ValueError: the shape of a layer is unknown.
    """
    terms = []
    for layer in layers:
        if layer.positions is None:
            raise ValueError(
                f"the number of multiply-adds of {layer.op_type} {layer.node} depends on sizes that vary; {FIX_SIZES}"
            )
        terms.append(_elements(layer.weight, layer.positions))
    for product in products:
        if product.macs is None:
            raise ValueError(
                f"the number of multiply-adds of MatMul {product.node} depends on sizes that vary; {FIX_SIZES}"
            )
        terms.append(Term((product.parts,), partial(mul, product.macs)))
    return Cost("multiply-adds", tuple(terms))


def _elements(weight: Weight, times: int) -> Term:
    def value(*sizes: int) -> float:
        product = times
        for size in sizes:
            product *= size
        return float(product)

    return Term(weight.sizes, value)
