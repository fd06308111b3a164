"""Inlines calls of model-local functions, for importers that do not support functions.

::

    y = loopwright.MatMul_bias_relu (x, w, b)   becomes   a = MatMul (x, w),  c = Add (a, b),  y = Relu (c)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from graph_passes.base import Pass, Remark
from graph_passes.lazy import ir
from graph_passes.replacement import infer_shapes


@dataclass(frozen=True)
class InlineFunctions(Pass):
    name: ClassVar[str] = "inline_functions"

    def apply(self, model: ir.Model) -> Iterable[Remark]:
        from onnx_ir.passes import common

        if not model.functions:
            return ()
        common.InlinePass()(model)
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        common.RemoveUnusedOpsetsPass()(model)
        infer_shapes(model)
        return ()


def inline_calls(model: ir.Model) -> None:
    """Inlines all function calls of ``model`` in place. Types and shapes of the new values are not inferred."""
    from onnx_ir.passes import common

    common.InlinePass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.RemoveUnusedOpsetsPass()(model)
    common.NameFixPass()(model)
