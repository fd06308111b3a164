"""Graph passes: ONNX in, ONNX out. The result is a valid model that computes the same outputs with less work.

``optimize`` runs the passes. Each pass is one file and one entry of ``DEFAULT_PASSES``, and can run alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING

from graph_passes.base import Pass, Remark
from graph_passes.block_weights import BlockWeights
from graph_passes.channels_last import ChannelsLast
from graph_passes.expand_functions import ExpandFunctions
from graph_passes.float32_layers import Float32Layers
from graph_passes.fold_batch_norm import FoldBatchNorm
from graph_passes.fold_constants import FoldConstants
from graph_passes.forms_for_tvm import FormsForTvm
from graph_passes.freeze_shapes import FreezeShapes
from graph_passes.fuse_layers import FuseLayers
from graph_passes.inline_functions import InlineFunctions, inline_calls
from graph_passes.installation import check_names
from graph_passes.integer_layers import IntegerLayers
from graph_passes.integer_products import IntegerProducts
from graph_passes.lazy import ir, require
from graph_passes.normalize_qdq import NormalizeQdq
from graph_passes.optimize_strides import OptimizeStrides
from graph_passes.quantized_values import QuantizedValues
from graph_passes.report import PassReport
from graph_passes.resolve_branches import ResolveBranches
from graph_passes.two_axes import TwoAxes
from graph_passes.unroll_loops import UnrollLoops
from graph_passes.unroll_lstm import UnrollLstm
from graph_passes.unroll_recurrences import UnrollRecurrences

if TYPE_CHECKING:
    import onnx

DEFAULT_PASSES: tuple[Pass, ...] = (
    FreezeShapes(),
    FoldConstants(),
    FoldBatchNorm(),
    OptimizeStrides(),
    FuseLayers(),
)
# For TVM's own ONNX importer, which has neither functions nor recurrent operators nor loops. Shapes that are known only
# after folding decide what can be unrolled, and what is unrolled is folded again.
FOR_TVM: tuple[Pass, ...] = (
    FreezeShapes(),
    InlineFunctions(),
    ExpandFunctions(),
    FoldConstants(),
    ExpandFunctions(),  # some definitions need a newer opset, or shapes that are known now
    ResolveBranches(),
    UnrollLoops(),
    UnrollRecurrences(),
    UnrollLstm(longest=512),
    IntegerProducts(),
    FoldConstants(),
    FoldBatchNorm(),
    OptimizeStrides(),
    FormsForTvm(),
)
# All passes by name, as the command line offers them.
PASSES: Mapping[str, type[Pass]] = {
    a_pass.name: type(a_pass)
    for a_pass in (
        *DEFAULT_PASSES,
        InlineFunctions(),
        ExpandFunctions(),
        ResolveBranches(),
        UnrollLoops(),
        UnrollRecurrences(),
        UnrollLstm(),
        BlockWeights(),
        IntegerLayers(),
        IntegerProducts(),
        QuantizedValues(),
        NormalizeQdq(),
        FormsForTvm(),
        Float32Layers(),
        TwoAxes(),
        ChannelsLast(),
    )
}

__all__ = [
    "DEFAULT_PASSES",
    "FOR_TVM",
    "PASSES",
    "Optimized",
    "Pass",
    "PassReport",
    "Remark",
    "inline",
    "optimize",
]


@dataclass(frozen=True)
class Optimized:
    """An optimized model and one report per pass.

    Attributes:
        ir_model: The model in onnx_ir's representation.
        reports: One report per pass, in the order in which the passes ran.
    """

    ir_model: ir.Model
    reports: tuple[PassReport, ...]

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The model as a protobuf message. Unchanged weights from external data still refer to that data."""
        return ir.serde.serialize_model(self.ir_model)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model to ``path``.

        Weights go to ``path`` + ``.data`` if they came from external data or exceed 2 GiB.

        Raises:
            OSError: A file cannot be written.
        """
        from graph_passes.model_io import write

        write(self.ir_model, path)


def optimize(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    passes: Sequence[Pass | str] | None = None,
    after_pass: Callable[[int, Pass, ir.Model], None] | None = None,
) -> Optimized:
    """Runs passes over a copy of a model.

    Args:
        model: The path of a model, or a model.
        input_shapes: Shapes of inputs that have dynamic dimensions, by input name.
        passes: The passes to run, in this order, as names or as objects with their own parameters. None means
            ``DEFAULT_PASSES``.
        after_pass: Called as ``after_pass(index, pass, model)`` after each pass.

    Raises:
        ValueError: The model is not valid, a shape does not fit an input, or a pass is unknown.
        OSError: A file cannot be read.
    """
    require()
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
    """Returns a copy of ``model`` with all function calls inlined, for importers that do not support functions."""
    require()
    inlined = ir.serde.deserialize_model(model)
    inline_calls(inlined)
    return ir.serde.serialize_model(inlined)


def named(a_pass: Pass | str) -> Pass:
    """Returns the pass of this name with its default parameters; a pass object is returned unchanged.

    Raises:
        ValueError: The name is unknown.
    """
    if isinstance(a_pass, Pass):
        return a_pass
    if a_pass not in PASSES:
        raise ValueError(f"there is no pass {a_pass!r}; choose from: {', '.join(PASSES)}")
    return PASSES[a_pass]()


def _with_shapes(passes: Sequence[Pass], input_shapes: Mapping[str, Sequence[int]]) -> list[Pass]:
    for name, shape in input_shapes.items():
        if not all(isinstance(size, Integral) for size in shape):
            raise ValueError(f"the shape of {name} is {shape!r}; it must be a tuple of numbers")
    shapes = tuple((name, tuple(int(size) for size in shape)) for name, shape in input_shapes.items())
    if not any(isinstance(a_pass, FreezeShapes) for a_pass in passes):
        raise ValueError("input shapes need the pass freeze_shapes, which is not among the passes")
    return [replace(p, input_shapes=shapes) if isinstance(p, FreezeShapes) else p for p in passes]


check_names(__name__)
