"""Graph passes: an ONNX model in, a valid ONNX model out that gives the same answers with less work.

``optimize`` runs them. Each pass is one file, one line in ``DEFAULT_PASSES``, and usable alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from graph_passes.base import Pass, Remark
from graph_passes.channels_last import ChannelsLast
from graph_passes.fold_batch_norm import FoldBatchNorm
from graph_passes.fold_constants import FoldConstants
from graph_passes.freeze_shapes import FreezeShapes
from graph_passes.fuse_layers import FuseLayers
from graph_passes.integer_products import IntegerProducts
from graph_passes.lazy import ir
from graph_passes.optimize_strides import OptimizeStrides
from graph_passes.report import PassReport
from graph_passes.unroll_lstm import UnrollLstm

if TYPE_CHECKING:
    import onnx

DEFAULT_PASSES: tuple[Pass, ...] = (
    FreezeShapes(),
    FoldConstants(),
    FoldBatchNorm(),
    OptimizeStrides(),
    FuseLayers(),
)
# What the command line offers by name.
PASSES: Mapping[str, type[Pass]] = {
    a_pass.name: type(a_pass) for a_pass in (*DEFAULT_PASSES, UnrollLstm(), IntegerProducts(), ChannelsLast())
}

__all__ = ["DEFAULT_PASSES", "PASSES", "Optimized", "Pass", "PassReport", "Remark", "inline", "optimize"]


@dataclass(frozen=True)
class Optimized:
    """An optimized model, and what each pass did to it.

    Attributes:
        ir_model: as onnx_ir has it, for those who work on with that.
        reports: one a pass, in the order in which they ran.
    """

    ir_model: ir.Model
    reports: tuple[PassReport, ...]

    @cached_property
    def model(self) -> onnx.ModelProto:
        """As a message. Weights that came from external data, and were not changed, still refer to it."""
        return ir.serde.serialize_model(self.ir_model)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model, and its weights to ``path`` + ``.data`` where they came from such a file or exceed 2 GiB.

        Raises:
            OSError: a file that cannot be written.
        """
        from graph_passes.model_io import write

        write(self.ir_model, path)


def optimize(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    passes: Sequence[Pass | str] | None = None,
    after_pass: Callable[[int, Pass, ir.Model], None] | None = None,
) -> Optimized:
    """Runs passes over a model, which itself stays as it is.

    Args:
        model: a file, or a message.
        input_shapes: sizes for inputs with dynamic dimensions.
        passes: which, in this order, by name or as objects with their own parameters; None: ``DEFAULT_PASSES``.
        after_pass: is told the place, the pass and the model after each pass.

    Raises:
        ValueError: no valid model, a shape that fits no input, an unknown pass.
        OSError: a file that cannot be read.
    """
    from graph_passes.count import Cost
    from graph_passes.model_io import read

    chosen = [named(a_pass) for a_pass in (DEFAULT_PASSES if passes is None else passes)]
    if input_shapes:
        chosen = _with_shapes(chosen, input_shapes)
    rewritten = read(model)
    reports = []
    before = Cost.of(rewritten)
    for place, a_pass in enumerate(chosen):
        start = time.perf_counter()
        remarks = a_pass(rewritten)
        seconds = time.perf_counter() - start
        after = Cost.of(rewritten)
        reports.append(PassReport.of(a_pass.name, before, after, seconds, remarks))
        before = after
        if after_pass is not None:
            after_pass(place, a_pass, rewritten)
    return Optimized(rewritten, tuple(reports))


def inline(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without calls of functions, for importers that know none. ``model`` stays as it is."""
    from onnx_ir.passes import common

    inlined = ir.serde.deserialize_model(model)
    common.InlinePass()(inlined)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(inlined)
    common.RemoveUnusedOpsetsPass()(inlined)
    common.NameFixPass()(inlined)
    return ir.serde.serialize_model(inlined)


def named(a_pass: Pass | str) -> Pass:
    """A pass by its name, with the parameters that it has by default.

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(a_pass, Pass):
        return a_pass
    if a_pass not in PASSES:
        raise ValueError(f"there is no pass {a_pass!r}; choose from: {', '.join(PASSES)}")
    return PASSES[a_pass]()


def _with_shapes(passes: Sequence[Pass], input_shapes: Mapping[str, Sequence[int]]) -> list[Pass]:
    shapes = tuple((name, tuple(int(size) for size in shape)) for name, shape in input_shapes.items())
    if not any(isinstance(a_pass, FreezeShapes) for a_pass in passes):
        raise ValueError("input shapes are given, but the pass that takes them, freeze_shapes, is not among the passes")
    return [replace(p, input_shapes=shapes) if isinstance(p, FreezeShapes) else p for p in passes]
