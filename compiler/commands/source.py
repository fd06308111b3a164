"""The model of a command: an ONNX file, which is built first, or a saved model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.commands.command_line import DEFAULT_RECORDS
from compiler.commands.options import BuildOptions, Shape
from compiler.commands.output import progress
from compiler.installation import extras
from compiler.program.compiled_model import CompiledModel
from compiler.program.tensor_spec import OPAQUE, TensorSpec
from compiler.workloads.target import Target

if TYPE_CHECKING:
    import numpy as np
    import onnx


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX model whose inputs are read, but which is not built yet.

    Attributes:
        path: the file, folder or archive.
        target: the target that it is built for.
        inputs: the inputs with static shapes.
        shapes: the given shapes by input.
        records: the file of schedules; None if all are default ones.
        fast_algorithms: whether layers may use Winograd's and Strassen's algorithms.
        fallback: whether ONNX Runtime runs what cannot be compiled.
    """

    path: Path
    target: Target
    inputs: tuple[TensorSpec, ...]
    shapes: dict[str, tuple[int, ...]]
    records: Path | None
    fast_algorithms: bool
    fallback: bool

    def compiled(self, check: Mapping[str, np.ndarray] | None = None) -> CompiledModel:
        """Builds the model; ``check``: inputs on which its outputs are compared with ONNX Runtime's.

        Raises:
            ValueError, OSError: the model cannot be built.
            ImportError: a package is missing.
            RuntimeError: the check failed, or ONNX Runtime does not run the model.
        """
        import compiler

        with progress(f"Building {self.path.name}"):
            return compiler.build(
                self.path,
                self.shapes,
                target=self.target,
                schedules=self.records,
                fast_algorithms=self.fast_algorithms,
                check=check,
                fallback="onnxruntime" if self.fallback else None,
            )

    def frozen(self) -> onnx.ModelProto:
        """Returns the model without any optimization, but with static shapes and all weights in the message."""
        from graph_passes.lazy import ir

        model = _frozen(self.path, self.shapes)
        ir.external_data.load_to_model(model)
        return ir.serde.serialize_model(model)

    def summary(self) -> list[str]:
        """Returns lines about the model and its build."""
        used = f"{self.records}" if self.records else f"none (there is no {DEFAULT_RECORDS} here)"
        fast_algorithms = "" if self.fast_algorithms else "; without Winograd's and Strassen's algorithms"
        return [f"{self.path}: {_listed(self.inputs)}", _machine(self.target), f"Records: {used}{fast_algorithms}"]

    def to_json(self) -> dict[str, Any]:
        return _described(self) | {
            "records": str(self.records) if self.records else None,
            "fast_algorithms": self.fast_algorithms,
        }


@dataclass(frozen=True)
class SavedModel:
    """A saved model whose manifest is read, but which is not loaded yet. The attributes are those of OnnxFile."""

    path: Path
    target: Target
    inputs: tuple[TensorSpec, ...]

    def compiled(self) -> CompiledModel:
        """Loads the model.

        Raises:
            ValueError, OSError: the model cannot be loaded.
            RuntimeError: this machine cannot run it.
        """
        import compiler

        with progress(f"Loading {self.path.name}"):
            return compiler.load(self.path)

    def summary(self) -> list[str]:
        """Returns lines about the model."""
        return [f"{self.path}, a saved model: {_listed(self.inputs)}", _machine(self.target)]

    def to_json(self) -> dict[str, Any]:
        return _described(self)


def source(path: Path, build: BuildOptions) -> OnnxFile | SavedModel:
    """Reads the inputs of a model, which is an ONNX model or the folder of a saved model.

    Raises:
        ValueError, OSError: the model is not valid, or the options do not fit it.
    """
    from compiler.program.saved_model import MANIFEST

    return _saved(path, build) if (path / MANIFEST).is_file() else onnx_file(path, build)


def onnx_file(path: Path, build: BuildOptions) -> OnnxFile:
    """Reads the inputs of an ONNX model: a file, a folder with one ``.onnx`` file, or a zip archive of it.

    Raises:
        ValueError, OSError: as :func:`source`.
    """
    extras.require(f"building {path}", "compile")
    target = Target.named(build.target or "host", build.threads)
    records = _records(build.records)
    shapes = _shapes(path, build.input_shapes)
    return OnnxFile(path, target, _inputs(path, shapes), shapes, records, build.fast_algorithms, build.fallback)


def _saved(path: Path, build: BuildOptions) -> SavedModel:
    from compiler.program import saved_model

    manifest, _ = saved_model.read(path)
    try:
        target = saved_model.target_here(manifest)
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from None
    given = {
        "--input-shape": build.input_shapes,
        "--threads": build.threads not in (None, target.num_cores),
        "--target": build.target not in (None, target.isa),
        "--records": build.records,
        "--no-fast-algorithms": not build.fast_algorithms,
        "--no-fallback": not build.fallback,
    }
    if unfit := [flag for flag, is_given in given.items() if is_given]:
        built = f"for {target.isa} and threads: {target.num_cores}"
        raise ValueError(f"{', '.join(unfit)}: {path} is built already, {built}; build it again to change that")
    return SavedModel(path, target, tuple(saved_model.tensors(manifest, "inputs")))


def _records(given: Path | None) -> Path | None:
    from compiler.workloads.database import Records

    path = given or DEFAULT_RECORDS
    if not path.exists():
        if given:
            raise ValueError(f"argument --records: there is no file {given}")
        return None
    Records(path).close()  # raises an error if it is another file
    return path


def _shapes(path: Path, given: Sequence[Shape]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, sizes in given:
        name = name or _only_input(path)
        if name in shapes:
            raise ValueError(f"argument --input-shape gives {name} twice")
        shapes[name] = sizes
    return shapes


def _only_input(path: Path) -> str:
    from graph_passes.model_io import read

    graph = read(path).graph
    names = [str(value.name) for value in graph.inputs if value.name not in graph.initializers]
    if len(names) != 1:
        raise ValueError(f"argument --input-shape: name the input; the model has {', '.join(names) or 'none'}")
    return names[0]


def _frozen(path: Path, shapes: dict[str, tuple[int, ...]]) -> Any:
    import graph_passes

    return graph_passes.optimize(path, shapes, ("freeze_shapes",)).ir_model


def _inputs(path: Path, shapes: dict[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    from graph_passes.lazy import ir
    from graph_passes.values import static_shape

    specs, dynamic = [], []
    for value in _frozen(path, shapes).graph.inputs:
        static = static_shape(value)
        if isinstance(value.type, (ir.SequenceType, ir.OptionalType)):
            specs.append(TensorSpec(str(value.name), OPAQUE, ()))
        elif static is None or value.dtype is None:
            sizes = ",".join(str(dim) for dim in value.shape) if value.shape is not None else "..."
            dynamic.append(f"--input-shape {value.name}:{sizes}".replace("None", "?"))
        else:
            specs.append(TensorSpec(str(value.name), value.dtype.numpy().name, static))
    if dynamic:
        raise ValueError(f"{path} has dynamic sizes; give them: {' '.join(dynamic)}")
    return tuple(specs)


def _listed(inputs: tuple[TensorSpec, ...]) -> str:
    return "; ".join(map(str, inputs)) or "no inputs"


def _machine(target: Target) -> str:
    return f"{target.name}, {target.isa}, threads: {target.num_cores}"


def _described(source: OnnxFile | SavedModel) -> dict[str, Any]:
    return {
        "model": str(source.path),
        "inputs": [spec.to_json() for spec in source.inputs],
        "target": source.target.to_json(),
    }
