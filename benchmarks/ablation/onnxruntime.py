"""The contribution of each graph pass in ONNX Runtime with its own optimizations switched off."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import graph_passes
from benchmarks import models
from benchmarks.ablation.rows import Row, timed
from benchmarks.whole_models.implementations import Run, check
from compiler.runtimes import onnxruntime

if TYPE_CHECKING:
    import onnx

PUBLISHED = "as published"
ALL = tuple(a_pass.name for a_pass in graph_passes.DEFAULT_PASSES)
ROWS: Mapping[str, tuple[str, ...]] = {
    PUBLISHED: (),
    "base: shapes and constants": ("freeze_shapes", "fold_constants"),
    "+ batch norm folded": ("freeze_shapes", "fold_constants", "fold_batch_norm"),
    "+ layers fused": ("freeze_shapes", "fold_constants", "fold_batch_norm", "fuse_layers"),
    "+ strides optimized": ALL,
}
WHOLE: Mapping[str, tuple[str, ...]] = {PUBLISHED: (), "all passes": ALL}


def measure(name: str, threads: int, rows: Mapping[str, tuple[str, ...]], duration: float) -> dict[str, Any]:
    """Measures one model on one number of threads.

    Raises:
        WrongAnswerError: the answer of a row differs from that of the model as published.
    """
    shapes = models.MODELS[name].input_shapes
    published = models.load(name)
    inputs = models.random_inputs(published, shapes)
    expected = _loaded(models.load(name), threads)(inputs)
    measured: dict[str, Row] = {}
    for row, chosen in rows.items():
        optimized = graph_passes.optimize(published, shapes, chosen or ROWS["base: shapes and constants"])
        first, last = optimized.reports[0], optimized.reports[-1]
        facts = {"nodes": last.nodes_after if chosen else first.nodes_before, "macs": last.macs_after}
        run = _loaded(optimized.model if chosen else models.load(name), threads)
        check(row, run(inputs), expected)
        measured[row] = Row(run, facts)
    return {
        "with": f"ONNX Runtime {importlib.metadata.version('onnxruntime')} without its own optimizations",
        "left_out": [],
        **timed(measured, inputs, duration),
    }


def _loaded(model: onnx.ModelProto, threads: int) -> Run:
    session = onnxruntime.session(model, threads, optimized=False)
    model.Clear()  # the session has a copy, and several models of the size of VGG take a lot of memory
    return session.run
