"""What a model computes from its sizes alone: the shapes of its tensors, and constants that shapes decide.

Programs are not merged at sizes of 1, where operations drop out because dimensions are broadcast. Shapes, numbers and
conditions depend on such sizes in no other way than on larger ones, so they are compared there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.sizes.differing import DifferentPrograms, Undetermined, Witnesses
from compiler.sizes.expression import evaluated

if TYPE_CHECKING:
    import onnx_ir as ir

_MOST_ELEMENTS = 64  # of a constant that is compared

Folded = Mapping[str, Any]


def folded(model: ir.Model) -> Folded:
    """Returns the shapes of tensors and the small integer constants of a model by name, as JSON."""
    from graph_passes.values import static_shape

    found: dict[str, Any] = {}
    for node in model.graph:
        for value in node.outputs:
            shape = static_shape(value)
            if value.name and shape is not None:
                found[value.name] = {"shape": list(shape)}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.size > _MOST_ELEMENTS:
            continue
        array = np.asarray(tensor.numpy())
        if array.dtype.kind in "iub":
            found[name] = {"constant": array.tolist()}
    return found


def check_folded(parts: Sequence[Folded], witnesses: Witnesses, point: Mapping[str, int], other: Folded) -> None:
    """Compares what a model has at a point with what follows from the witnesses; ``parts``: what it has at these.

    Raises:
        DifferentPrograms: it has another form at the point.
    """
    for name in set(other).intersection(*parts):
        try:
            merged = witnesses.merged([part[name] for part in parts], name)
        except (DifferentPrograms, Undetermined):
            continue  # programs that use it are not merged either
        if evaluated(merged, point) != other[name]:
            listed = ", ".join(f"{size} {value}" for size, value in point.items())
            raise DifferentPrograms(f"{name} has another form at {listed}; give smaller ranges, or numbers")
