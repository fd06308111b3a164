"""The model that a command is given: an ONNX file that is built first, or a saved model."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from compiler.commands.command_line import DEFAULT_RECORDS
from compiler.commands.options import Shape
from compiler.commands.output import progress
from compiler.program.compiled_model import CompiledModel
from compiler.program.tensor_spec import TensorSpec
from compiler.workloads.target import Target

if TYPE_CHECKING:
    import onnx


class Source(Protocol):
    """A model that has been looked at, but neither built nor loaded.

    Attributes:
        inputs: what it takes.
        target: what it is or will be compiled for.
    """

    @property
    def path(self) -> Path: ...
    @property
    def target(self) -> Target: ...
    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    def compiled(self) -> CompiledModel:
        """
        Raises:
            ValueError, OSError: the model cannot be compiled or loaded.
            RuntimeError, ImportError: what that needs is missing.
        """
        ...

    def summary(self) -> list[str]:
        """Lines that say what it is, and how it is made."""
        ...

    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class OnnxFile:
    """``records``: None where schedules are the default ones."""

    path: Path
    target: Target
    inputs: tuple[TensorSpec, ...]
    shapes: dict[str, tuple[int, ...]]
    records: Path | None
    fast_algorithms: bool

    def compiled(self) -> CompiledModel:
        import compiler

        with progress(f"Building {self.path.name}"):
            return compiler.build(
                self.path, self.shapes, target=self.target, schedules=self.records, fast_algorithms=self.fast_algorithms
            )

    def frozen(self) -> onnx.ModelProto:
        """The model as it was published, but for its shapes, with all weights in the message."""
        from graph_passes.lazy import ir

        model = _frozen(self.path, self.shapes)
        ir.external_data.load_to_model(model)
        return ir.serde.serialize_model(model)

    def summary(self) -> list[str]:
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
    path: Path
    target: Target
    inputs: tuple[TensorSpec, ...]

    def compiled(self) -> CompiledModel:
        import compiler

        with progress(f"Loading {self.path.name}"):
            return compiler.load(self.path)

    def summary(self) -> list[str]:
        return [f"{self.path}, a saved model: {_listed(self.inputs)}", _machine(self.target)]

    def to_json(self) -> dict[str, Any]:
        return _described(self)


def source(arguments: argparse.Namespace) -> OnnxFile | SavedModel:
    """What the arguments of ``options.add_model`` name.

    Raises:
        ValueError, OSError: no model, or arguments that do not go with it.
    """
    return _saved(arguments) if arguments.model.is_dir() else onnx_file(arguments)


def onnx_file(arguments: argparse.Namespace) -> OnnxFile:
    """As :func:`source`, where nothing but an ONNX file will do.

    Raises:
        ValueError, OSError: no model, or arguments that do not go with it.
    """
    target = Target.named(arguments.target or "host", arguments.threads)
    records = _records(arguments.records)
    shapes = _shapes(arguments.model, arguments.input_shape)
    return OnnxFile(
        arguments.model,
        target,
        _inputs(arguments.model, shapes),
        shapes,
        records,
        fast_algorithms=arguments.fast_algorithms,
    )


def _saved(arguments: argparse.Namespace) -> SavedModel:
    from compiler.program import saved_model

    path: Path = arguments.model
    manifest, _ = saved_model.read(path)
    try:
        target = saved_model.target_here(manifest)
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from None
    given = {
        "--input-shape": arguments.input_shape,
        "--threads": arguments.threads not in (None, target.num_cores),
        "--target": arguments.target not in (None, target.isa),
        "--records": arguments.records,
        "--no-fast-algorithms": not arguments.fast_algorithms,
    }
    if strange := [flag for flag, is_given in given.items() if is_given]:
        built = f"for {target.isa} and threads: {target.num_cores}"
        raise ValueError(f"{', '.join(strange)}: {path} is built already, {built}; build it anew to change that")
    return SavedModel(path, target, tuple(map(TensorSpec.from_json, manifest["inputs"])))


def _records(given: Path | None) -> Path | None:
    from compiler.workloads.database import Records

    path = given or DEFAULT_RECORDS
    if not path.exists():
        if given:
            raise ValueError(f"argument --records: there is no file {given}")
        return None
    Records(path).close()  # finds out whether it is one
    return path


def _shapes(path: Path, given: list[Shape]) -> dict[str, tuple[int, ...]]:
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
        raise ValueError(f"argument --input-shape: say which input; the model has {', '.join(names) or 'none'}")
    return names[0]


def _frozen(path: Path, shapes: dict[str, tuple[int, ...]]) -> Any:
    import graph_passes

    return graph_passes.optimize(path, shapes, ("freeze_shapes",)).ir_model


def _inputs(path: Path, shapes: dict[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    from graph_passes.values import static_shape

    specs, dynamic = [], []
    for value in _frozen(path, shapes).graph.inputs:
        static = static_shape(value)
        if static is None or value.dtype is None:
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
