"""Finds the first graph pass after which a model computes something else, and the first value that differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.check import reference
from compiler.check.answers import Expected, difference, rounding

if TYPE_CHECKING:
    import onnx

    from compiler.program.operators import Operators


def wrong_pass(
    model: Any,
    input_shapes: Mapping[str, Sequence[int]] | None,
    passes: Sequence[Any],
    inputs: Mapping[str, np.ndarray],
    expected: Expected,
    operators: Operators | None = None,
) -> str | None:
    """Returns one line about the first pass whose result is wrong; None if all are right.

    ONNX Runtime runs the model after each pass. Values that the models before and after the pass have in common, by
    name and shape, show where it goes wrong.
    """
    import graph_passes
    from graph_passes.lazy import ir

    before: list[onnx.ModelProto] = []
    found: list[str] = []

    def after_pass(_: int, a_pass: graph_passes.Pass, rewritten: ir.Model) -> None:
        if found:
            return
        after = ir.serde.serialize_model(rewritten)
        try:
            wrong = [d for d in expected.compare(reference.run(after, inputs, operators=operators)) if not d.ok]
        except RuntimeError as error:
            found.append(f"graph pass {a_pass.name}: {error}")
            return
        if wrong:
            where = _first_value(before[-1], after, inputs, operators) if before else None
            found.append(f"graph pass {a_pass.name}: output {wrong[0]}" + (f"; first at {where}" if where else ""))
        before[:] = [after]

    graph_passes.optimize(model, input_shapes, passes, after_pass)
    return found[0] if found else None


def _first_value(
    before: onnx.ModelProto, after: onnx.ModelProto, inputs: Mapping[str, np.ndarray], operators: Operators | None
) -> str | None:
    """Returns the first node of ``after`` whose output differs from the value of that name in ``before``."""
    try:
        one, other = (_all_values(model, inputs, operators) for model in (before, after))
    except RuntimeError:  # a value that cannot be an output
        return None
    for node in after.graph.node:
        for name in node.output:
            if name in one and name in other and one[name].shape == other[name].shape:
                found = difference(name, one[name], other[name], rounding(one[name]))
                if not found.ok:
                    return f"{node.op_type} {node.name or name}: {found}"
    return None


def _all_values(
    model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], operators: Operators | None
) -> dict[str, np.ndarray]:
    names = [name for node in model.graph.node for name in node.output if name]
    return reference.run(reference.with_outputs(model, names), inputs, operators=operators)
