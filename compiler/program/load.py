"""Loads saved models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from compiler.program import saved_model
from compiler.program.compiled_model import CompiledModel
from compiler.program.operators import Operators
from compiler.program.placement import checked_cores
from compiler.program.ranged_model import RangedModel


def load(
    path: str | os.PathLike[str],
    threads: int | None = None,
    cores: Sequence[int] | None = None,
    operators: Sequence[str | os.PathLike[str]] = (),
) -> CompiledModel | RangedModel:
    """Reads a folder that :meth:`CompiledModel.save` or :meth:`RangedModel.save` wrote.

    A saved model runs on any number of threads. Weights are packed, and schedules for another number than it was built
    for are chosen, while it is loaded. Code that was generated for one thread stays on one.

    Args:
        path: the folder.
        threads: the number of threads that run the model. None: one for each of ``cores``, as far as the CPU quota has
            time for them; without ``cores`` as many as it was built for, or the default of this machine if this process
            may not use as many. ``CompiledModel.placement`` says what was chosen.
        cores: logical CPUs that the threads are bound to, at least one for each thread. None: the library chooses them.
        operators: libraries of the operators of users that the model needs; see ``docs/user_operators/README.md``.

    Raises:
        FileNotFoundError: no saved model at ``path``.
        ValueError: the model is broken, or was written by another version; one line names the fault. Or this process
            may not use as many threads, or not these cores. Or a library is not valid, or none has an operator that
            the model needs.
        RuntimeError: this CPU does not support the model's ISA.
    """
    folder = Path(path)
    bound = None if cores is None else checked_cores(cores)
    manifest, weights = saved_model.read(folder)
    target = saved_model.target_here(manifest, threads, bound)
    sizes = saved_model.sizes(manifest)
    given = Operators(operators) if operators else None
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
            cores=bound,
            operators=given,
        )
    layers = saved_model.layers(manifest, weights, target)
    inputs, outputs = (saved_model.tensors(manifest, key) for key in ("inputs", "outputs"))
    segments = saved_model.segments(folder, manifest, target.num_cores)
    ieee = saved_model.ieee(manifest)
    loaded = CompiledModel(
        executable, layers, inputs, outputs, target, segments=segments, ieee=ieee, cores=bound, operators=given
    )
    loaded.tuned = saved_model.tuned(manifest)
    return loaded
