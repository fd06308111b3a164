"""Runtimes of whole models: ours and those of other projects, behind one protocol.

A runtime is one module, see ``base.Engine``, and one line in ``RUNTIMES``. ``benchmarks/peers`` has another purpose:
its baselines compute single layers.

Runtimes keep their own way of waiting. Some let threads spin for a while after a run, to start the next one sooner.
That is fair in a series of runs, but slows down another runtime that runs next. So a comparison waits for idle threads
between implementations; see ``compiler.measure.sampling``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.runtimes import ncnn, onnxruntime, openvino, openvino_bfloat16, ours, tvm
from compiler.runtimes.base import Engine, Runtime, RuntimeUnavailable, version

if TYPE_CHECKING:
    from compiler.runtimes.base import Model

OURS = "loopwright"
RUNTIMES: Mapping[str, Engine] = {
    OURS: ours,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "openvino-bfloat16": openvino_bfloat16,
    "ncnn": ncnn,
    "tvm": tvm,
}

__all__ = ["OURS", "RUNTIMES", "Engine", "Runtime", "RuntimeUnavailable", "load"]


def load(name: str, model: Model, threads: int | None = None, operators: Sequence[Path] = ()) -> Runtime:
    """Loads a model into a runtime.

    Args:
        name: a key of ``RUNTIMES``.
        model: an ONNX model or its file, with static shapes (``graph_passes.FreezeShapes`` makes them so). Our runtime
            also takes the folder of a saved model.
        threads: the number of threads. None is the default of this machine, or of a saved model.
        operators: libraries of operators of users. ONNX Runtime loads those with its own interface.

    Raises:
        ValueError: no such runtime, or ``threads`` is below 1.
        RuntimeUnavailable: the runtime is not installed or cannot load the model.
    """
    if name not in RUNTIMES:
        raise ValueError(f"there is no runtime {name!r}; choose from: {', '.join(RUNTIMES)}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    engine = RUNTIMES[name]
    missing = [package for package in engine.PACKAGES if not version(package)]
    if missing:
        raise RuntimeUnavailable(f"{name} cannot run here: pip install {' '.join(missing)}")
    try:
        return engine.load(model, threads, operators)
    except RuntimeUnavailable:
        raise
    except Exception as error:  # the errors of the runtimes share no base class
        raise RuntimeUnavailable(f"{name} cannot load the model: {' '.join(str(error).split())}") from error
