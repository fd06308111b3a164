"""Our own runtime: a saved model is loaded, another model is built with default schedules.

Loading a saved model needs neither onnx nor TVM's compiler.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.program.compiled_model import CompiledModel
from compiler.program.load import load as load_saved
from compiler.program.ranged_model import RangedModel
from compiler.runtimes.base import Runtime, RuntimeUnavailable, version

if TYPE_CHECKING:
    from compiler.runtimes.base import Model

PACKAGES = ()  # nothing beyond this project's own dependencies


def load(model: Model, threads: int | None, operators: Sequence[Path] = ()) -> Runtime:
    if isinstance(model, (str, os.PathLike)) and Path(model).is_dir():
        return of(_saved(Path(model), threads, operators))
    from compiler.build import build

    return of(build(model, threads=threads, operators=operators))


def of(compiled: CompiledModel) -> Runtime:
    """Returns a compiled model as a runtime."""
    return Runtime("loopwright", version("loopwright"), compiled.inputs, compiled.outputs, compiled.run)


def _saved(path: Path, threads: int | None, operators: Sequence[Path]) -> CompiledModel:
    compiled = load_saved(path, threads, operators=operators)
    if isinstance(compiled, RangedModel):
        raise RuntimeUnavailable(f"{path} is for ranges of sizes; give it sizes: compiler.load(path).at(sizes)")
    return compiled
