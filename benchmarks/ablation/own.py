"""The contribution of each graph pass, of tuned schedules and of the graph view in our compiler."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import graph_passes
from benchmarks import models
from benchmarks.ablation.rows import Row, timed
from benchmarks.whole_models.implementations import check, frozen, reference
from benchmarks.whole_models.stored import how_to_tune, measured_alone, stored_schedules
from compiler.program.compiled_model import CompiledModel
from compiler.workloads.database import Records

if TYPE_CHECKING:
    import onnx

# With default schedules. All rows store images with channels last.
PASSES: Mapping[str, tuple[str, ...]] = {
    "base: shapes and constants": ("freeze_shapes", "fold_constants"),
    "+ batch norm folded": ("freeze_shapes", "fold_constants", "fold_batch_norm"),
    "+ layers fused": ("freeze_shapes", "fold_constants", "fold_batch_norm", "fuse_layers"),
    "+ strides optimized": tuple(a_pass.name for a_pass in graph_passes.DEFAULT_PASSES),
}
# With all passes: the fastest schedule of each layer alone, then the choices inside the running network.
TUNED, GRAPH_VIEW = "+ tuned", "+ graph view"


def measure(name: str, threads: int, records: Path, duration: float) -> dict[str, Any]:
    """Measures one model on one number of threads, without the rows for which there are no records.

    Raises:
        WrongAnswerError: the answer of a row differs from that of ONNX Runtime.
        RuntimeError: ONNX Runtime is not installed.
        ValueError: a row cannot be compiled.
    """
    import compiler

    model = frozen(name)
    inputs = models.random_inputs(model, models.MODELS[name].input_shapes)
    expected = reference(model, threads).run(inputs)
    built = {row: compiler.build(model, threads=threads, passes=passes) for row, passes in PASSES.items()}
    built |= _tuned(model, built["+ strides optimized"], records)
    rows: dict[str, Row] = {}
    for row, ours in built.items():
        check(row, ours.run(inputs), expected)
        rows[row] = Row(ours.run, {"kernel_calls": len(ours.layers)})
    return {
        "with": f"Loopwright {importlib.metadata.version('loopwright')}",
        "left_out": [row for row in (TUNED, GRAPH_VIEW) if row not in rows],
        "how_to_tune": how_to_tune(name, threads, records),
        **timed(rows, inputs, duration),
    }


def _tuned(model: onnx.ModelProto, untuned: CompiledModel, path: Path) -> dict[str, CompiledModel]:
    """Returns the rows that need records, as far as there are records for them."""
    import compiler

    stored = stored_schedules(path, untuned)
    threads = untuned.target.num_cores
    rows: dict[str, CompiledModel] = {}
    if stored.measured:
        with Records(path) as records:
            rows[TUNED] = compiler.build(model, threads=threads, schedules=measured_alone(records))
    if stored.chosen:
        rows[GRAPH_VIEW] = compiler.build(model, threads=threads, schedules=path)
    return rows
