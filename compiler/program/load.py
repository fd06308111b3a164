"""Loads saved models."""

from __future__ import annotations

import os
from pathlib import Path

from compiler.program import saved_model
from compiler.program.compiled_model import CompiledModel
from compiler.program.ranged_model import RangedModel


def load(path: str | os.PathLike[str]) -> CompiledModel | RangedModel:
    """Reads a folder that :meth:`CompiledModel.save` or :meth:`RangedModel.save` wrote.

    Raises:
        FileNotFoundError: no saved model at ``path``.
        ValueError: the model is broken, or was written by another version; one line names the fault.
        RuntimeError: this CPU does not support the model's ISA, or this process may not use enough cores.
    """
    folder = Path(path)
    manifest, weights = saved_model.read(folder)
    target = saved_model.target_here(manifest)
    sizes = saved_model.sizes(manifest)
    executable = saved_model.executable(folder)
    if sizes:
        return RangedModel(
            executable,
            saved_model.sized_layers(manifest, weights, sizes),
            saved_model.sized_tensors(manifest, "inputs", sizes),
            saved_model.sized_tensors(manifest, "outputs", sizes),
            sizes,
            target,
            ieee=saved_model.ieee(manifest),
        )
    layers = saved_model.layers(manifest, weights)
    inputs, outputs = (saved_model.tensors(manifest, key) for key in ("inputs", "outputs"))
    segments = saved_model.segments(folder, manifest)
    ieee = saved_model.ieee(manifest)
    loaded = CompiledModel(executable, layers, inputs, outputs, target, segments=segments, ieee=ieee)
    loaded.tuned = saved_model.tuned(manifest)
    return loaded
