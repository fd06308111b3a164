"""What a model computes from its sizes alone: the shapes of its tensors, and constants that shapes decide.

Programs are not merged at sizes of 1, where operations drop out because dimensions are broadcast. Shapes, numbers and
conditions depend on such sizes in no other way than on larger ones, so they are compared there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.sizes.differing import DifferentPrograms, Undetermined, Witnesses
from compiler.sizes.expression import evaluated

if TYPE_CHECKING:
    import onnx_ir as ir

_MOST_ELEMENTS = 64  # of a constant whose elements are compared; of larger ones, the digests are
_MOST_BYTES = 2**20  # of a constant that is compared
_UNIT = 2.0**-23  # of float32, to which a reciprocal may be rounded

Folded = Mapping[str, Any]


def folded(model: ir.Model) -> Folded:
    """Returns the shapes of tensors and the constants of a model by name, in forms that may be expressions."""
    from graph_passes.lazy import ir
    from graph_passes.values import static_shape

    found: dict[str, Any] = {}
    for node in model.graph:
        for value in node.outputs:
            shape = static_shape(value)
            if value.name and shape is not None:
                found[value.name] = {"shape": list(shape)}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes > _MOST_BYTES or tensor.dtype == ir.DataType.STRING:
            continue
        found[name] = _forms(np.asarray(tensor.numpy()))
    return found


def _forms(array: np.ndarray) -> dict[str, Any]:
    """Returns an array as JSON in each form that may be an expression, such as floats that are reciprocals."""
    if array.size > _MOST_ELEMENTS:
        return {"digest": hashlib.sha256(array.tobytes()).hexdigest()}
    if array.dtype.kind in "iub":
        return {"constant": array.tolist()}
    forms: dict[str, Any] = {"bits": array.tobytes().hex()}
    if array.dtype.kind == "f":
        wide = array.astype(np.float64)
        with np.errstate(all="ignore"):
            candidates = {"whole": wide, "inverse": 1 / wide}
        for form, numbers in candidates.items():
            near = np.rint(numbers)
            if (
                np.isfinite(numbers).all()
                and np.allclose(numbers, near, rtol=_UNIT, atol=0)
                and (abs(near) < 2**53).all()
            ):
                forms[form] = near.astype(np.int64).tolist()
    return forms


def check_folded(parts: Sequence[Folded], witnesses: Witnesses, point: Mapping[str, int], other: Folded) -> None:
    """Compares what a model has at a point with what follows from the witnesses; ``parts``: what it has at these.

    Raises:
        DifferentPrograms: it has another form at the point.
    """
    for name in set(other).intersection(*parts):
        merged = {}
        for form in set(parts[0][name]).intersection(*(part[name] for part in parts)):
            with suppress(DifferentPrograms, Undetermined):  # programs that use this form are not merged either
                merged[form] = witnesses.merged([part[name][form] for part in parts], name)
        if merged and not any(evaluated(value, point) == other[name].get(form) for form, value in merged.items()):
            listed = ", ".join(f"{size} {value}" for size, value in point.items())
            raise DifferentPrograms(f"{name} has another form at {listed}; give smaller ranges, or numbers")
