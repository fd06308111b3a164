"""Error bounds of float32 arithmetic.

Higham: Accuracy and Stability of Numerical Algorithms (2nd edition, SIAM 2002), chapters 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.workloads.activations import MAX_SLOPE
from compiler.workloads.operators.operator import Array, Arrays, Instance, Sizes

UNIT = float(np.finfo(np.float32).eps) / 2  # the largest relative error of one rounding
EXP_UNITS = 8  # error of a float32 exponential, in units of rounding


def gamma(roundings: int) -> float:
    """The largest relative error of a product with this many roundings."""
    return roundings * UNIT / (1 - roundings * UNIT)


def sum_tolerance(
    reference: Callable[[Sizes, Arrays], Array],
    reduction: Callable[[Sizes], int],
    fast: Callable[[Instance, Arrays, str], Array | float],
) -> Callable[[Instance, Arrays, str], Array]:
    """The bound of an operator whose outputs are sums of products.

    A sum of k products in any order has an error of at most gamma(k) · Σ|x||w| (Higham, 3.1). The additions of the
    epilogue add two to k. An activation adds 8 units of its value and of its argument, and multiplies the error by
    its slope.

    Args:
        reference: of the operator; with absolute values it computes Σ|x||w|.
        reduction: k.
        fast: the bound on the products alone for an algorithm other than ``"direct"``, on absolute values.
    """

    def tolerance(workload: Instance, inputs: Arrays, algorithm: str) -> Array:
        magnitudes = {name: np.abs(array) for name, array in inputs.items()}
        magnitude = reference(workload.sizes, magnitudes)
        for step in ("bias", "residual"):
            magnitude = magnitude + magnitudes.get(step, 0.0)
        if algorithm == "direct":
            error = gamma(reduction(workload.sizes) + 2) * magnitude
        else:
            error = fast(workload, magnitudes, algorithm) + gamma(4) * magnitude
        if workload.activation is None:
            return error
        slope = np.maximum(1, magnitudes["slopes"]) if "slopes" in magnitudes else MAX_SLOPE
        return slope * (error + 8 * UNIT * (magnitude + 1))

    return tolerance
