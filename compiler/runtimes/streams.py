"""Runtimes in their throughput modes: several requests at the same time, with shared weights where possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from compiler.program.compiled_model import CompiledModel
from compiler.runtimes import onnxruntime, openvino
from compiler.runtimes.base import Run, RuntimeUnavailable, version
from compiler.runtimes.onnx_model import inlined, output_specs

if TYPE_CHECKING:
    import onnx


class Loader(Protocol):
    def __call__(
        self, model: onnx.ModelProto, streams: int, threads: int, operators: Sequence[Path], /
    ) -> list[Run]: ...


def of(compiled: CompiledModel, cores: Sequence[Sequence[int]]) -> list[Run]:
    """Returns an instance of our model per stream, on its cores, with shared code and weights.

    Raises:
        ValueError: the streams have several threads each, but no cores.
    """
    if all(cores):
        return [compiled.on(each).run for each in cores]
    if compiled.target.num_cores > 1 and len(cores) > 1:
        raise ValueError(
            "argument --streams: streams of several threads share one pool unless they are pinned; leave out --no-pin"
        )
    return [compiled.run] * len(cores)  # a program of one thread runs in its caller's


def load(name: str, model: onnx.ModelProto, streams: int, threads: int, operators: Sequence[Path] = ()) -> list[Run]:
    """Loads a model into a runtime, for ``streams`` requests at once with ``threads`` threads each.

    ``operators``: as of :func:`compiler.runtimes.load`.

    Returns one function per request in flight.

    Raises:
        RuntimeUnavailable: the runtime is not installed, has no such mode here, or cannot load the model.
    """
    if name not in LOADERS:
        raise RuntimeUnavailable(f"{name} is not measured with several requests at once; with --api sync it is")
    package, loader = LOADERS[name]
    if not version(package):
        raise RuntimeUnavailable(f"{name} cannot run here: pip install {package}")
    try:
        return loader(model, streams, threads, operators)
    except Exception as error:  # the errors of the runtimes share no base class
        raise RuntimeUnavailable(f"{name} cannot load the model: {' '.join(str(error).split())}") from error


def _onnxruntime(model: onnx.ModelProto, streams: int, threads: int, operators: Sequence[Path]) -> list[Run]:
    # Requests of one session share its weights and its threads. One thread per request needs no others.
    if threads == 1:
        return [onnxruntime.load(model, 1, operators).run] * streams
    return [onnxruntime.load(model, threads, operators).run for _ in range(streams)]


def _openvino(
    model: onnx.ModelProto, streams: int, threads: int, _operators: Sequence[Path], precision: str = "f32"
) -> list[Run]:
    import openvino as untyped

    package: Any = untyped
    found = inlined(model)
    settings = openvino.settings(streams * threads, precision)
    settings |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": streams}
    core = package.Core()
    compiled = core.compile_model(core.read_model(found.SerializeToString()), "CPU", settings)
    names = [spec.name for spec in output_specs(found)]
    count = max(streams, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))
    return [partial(openvino.infer, compiled.create_infer_request(), names) for _ in range(count)]


# For each runtime: its package, and its loader.
LOADERS: Mapping[str, tuple[str, Loader]] = {
    "onnxruntime": ("onnxruntime", _onnxruntime),
    "openvino": ("openvino", _openvino),
    "openvino-bfloat16": ("openvino", partial(_openvino, precision="bf16")),
}
