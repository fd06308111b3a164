"""The model of a command: an ONNX file, which is built first, or a saved model."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.commands.arrays import read
from compiler.commands.command_line import DEFAULT_RECORDS
from compiler.commands.options import BuildOptions, InputFile, Shape, written_shape
from compiler.commands.output import progress
from compiler.installation import extras
from compiler.program.compiled_model import CompiledModel
from compiler.program.placement import placement_of
from compiler.program.ranged_model import RangedModel
from compiler.program.sized_tensor import SizedTensor, sizes_in
from compiler.program.tensor_spec import OPAQUE, TensorSpec
from compiler.sizes.size import Size
from compiler.workloads.machines import notices, with_machine
from compiler.workloads.target import Target

if TYPE_CHECKING:
    import numpy as np
    import onnx

_ABOUT_SUBNORMALS = "; subnormal numbers are kept"


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX model whose inputs are read, but which is not built yet.

    Attributes:
        path: the file, folder or archive.
        target: the target that it is built for.
        inputs: the inputs with static shapes; with the first sizes of ranges.
        shapes: the given shapes by input.
        remarks: what was assumed about shapes that were not given.
        records: the file of schedules; None if all are default ones.
        fast_algorithms: whether layers may use Winograd's and Strassen's algorithms.
        fallback: whether ONNX Runtime runs what cannot be compiled.
        ieee: whether the program keeps subnormal numbers.
        tune: whether the program is measured next to ONNX Runtime, and the faster one taken.
        strict: whether quantized layers must not be computed in float32.
        precision: what layers compute in.
        operators: libraries of operators of users.
    """

    path: Path
    target: Target
    inputs: tuple[TensorSpec, ...]
    shapes: dict[str, tuple[int | range, ...]]
    remarks: tuple[str, ...]
    records: Path | None
    fast_algorithms: bool
    fallback: bool
    ieee: bool
    tune: bool
    strict: bool
    precision: str
    operators: tuple[Path, ...]

    @property
    def has_ranges(self) -> bool:
        return any(isinstance(size, range) for shape in self.shapes.values() for size in shape)

    def compiled_for_ranges(self) -> RangedModel:
        """Builds the model if its shapes have ranges.

        Raises:
            ValueError, OSError, ImportError: as :meth:`compiled`.
        """
        import compiler

        with progress(f"Building {self.path.name}"):
            return compiler.build(
                self.path,
                self.shapes,
                target=self.target,
                fast_algorithms=self.fast_algorithms,
                ieee=self.ieee,
                operators=self.operators,
            )

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
                _first(self.shapes),
                target=self.target,
                schedules=self.records,
                fast_algorithms=self.fast_algorithms,
                check=check,
                fallback="onnxruntime" if self.fallback else None,
                ieee=self.ieee,
                tune=self.tune,
                strict=self.strict,
                precision=self.precision,
                operators=self.operators,
            )

    def frozen(self) -> onnx.ModelProto:
        """Returns the model without any optimization, but with static shapes and all weights in the message."""
        from graph_passes.lazy import ir

        model = _frozen(self.path, _first(self.shapes)).ir_model
        ir.external_data.load_to_model(model)
        return ir.serde.serialize_model(model)

    def summary(self) -> list[str]:
        """Returns lines about the model and its build."""
        used = f"{self.records}" if self.records else f"none (there is no {DEFAULT_RECORDS} here)"
        how = "" if self.fast_algorithms else "; without Winograd's and Strassen's algorithms"
        how += _ABOUT_SUBNORMALS if self.ieee else ""
        if self.has_ranges:
            shapes = " ".join(written_shape(name, shape) for name, shape in self.shapes.items())
            lines = [f"{self.path}: {shapes}", f"{_machine(self.target)}{how}"]
        else:
            lines = [f"{self.path}: {_listed(self.inputs)}", _machine(self.target), f"Records: {used}{how}"]
        assumed = [f"{remark}; --input-shape gives it another size" for remark in self.remarks]
        return [*lines, *assumed, *notices(self.target)]

    def to_json(self) -> dict[str, Any]:
        shapes = {"input_shapes": [written_shape(*shape) for shape in self.shapes.items()]} if self.has_ranges else {}
        return {
            **_described(self),
            **shapes,
            "records": str(self.records) if self.records and not self.has_ranges else None,
            "fast_algorithms": self.fast_algorithms,
            "ieee": self.ieee,
        }


@dataclass(frozen=True)
class SavedModel:
    """A saved model whose manifest is read, but which is not loaded yet.

    Attributes:
        path, target, inputs: as of OnnxFile.
        sizes: the sizes to run at, of a model for ranges.
        ieee, operators: as of OnnxFile.
    """

    path: Path
    target: Target
    inputs: tuple[TensorSpec, ...]
    sizes: Mapping[str, int]
    ieee: bool
    operators: tuple[Path, ...]

    def compiled(self) -> CompiledModel:
        """Loads the model.

        Raises:
            ValueError, OSError: the model cannot be loaded.
            RuntimeError: this machine cannot run it.
        """
        import compiler

        with progress(f"Loading {self.path.name}"):
            found = compiler.load(self.path, self.target.num_cores, operators=self.operators)
            return found if isinstance(found, CompiledModel) else found.at(self.sizes)

    def summary(self) -> list[str]:
        """Returns lines about the model."""
        how = _ABOUT_SUBNORMALS if self.ieee else ""
        lines = [f"{self.path}, a saved model: {_listed(self.inputs)}", f"{_machine(self.target)}{how}"]
        return [*lines, *notices(self.target)]

    def to_json(self) -> dict[str, Any]:
        return _described(self) | {"ieee": self.ieee}


def source(path: Path, build: BuildOptions, given: Sequence[InputFile] = ()) -> OnnxFile | SavedModel:
    """Reads the inputs of a model to run, which is an ONNX model or the folder of a saved model.

    Args:
        given: files of inputs. Their shapes are sizes of a saved model for ranges.

    Raises:
        ValueError, OSError: the model is not valid, or the options do not fit it.
    """
    from compiler.program.saved_model import MANIFEST

    if (path / MANIFEST).is_file():
        return _saved(path, build, given)
    model = onnx_file(path, build)
    if model.has_ranges:
        raise ValueError("argument --input-shape: ranges are for build; give numbers, or build the model and run that")
    return model


def onnx_file(path: Path, build: BuildOptions) -> OnnxFile:
    """Reads the inputs of an ONNX model: a file, a folder with one ``.onnx`` file, or a zip archive of it.

    Raises:
        ValueError, OSError: as :func:`source`.
    """
    extras.require(f"building {path}", "compile")
    if build.tune:
        extras.require("--tune", "fallback")
        if not build.fallback:
            raise ValueError("argument --tune: it may leave the model to ONNX Runtime, and --no-fallback forbids that")
    target = with_machine(Target.named(build.target or "host", build.threads), build.machine)
    records = _records(build.records)
    shapes = _shapes(path, build.input_shapes)
    if build.batch is not None:
        shapes |= _of_batch(path, build.batch, shapes)
    inputs, remarks = _inputs(path, _first(shapes))
    return OnnxFile(
        path,
        target,
        inputs,
        shapes,
        remarks,
        records,
        build.fast_algorithms,
        build.fallback,
        build.ieee,
        build.tune,
        build.strict,
        build.precision,
        build.operators,
    )


def _first(shapes: Mapping[str, Sequence[int | range]]) -> dict[str, tuple[int, ...]]:
    """Returns shapes with the first value of each range."""
    return {name: tuple(size if isinstance(size, int) else size[0] for size in shape) for name, shape in shapes.items()}


def _saved(path: Path, build: BuildOptions, given: Sequence[InputFile]) -> SavedModel:
    from compiler.program import saved_model

    manifest, _ = saved_model.read(path)
    try:
        target = saved_model.target_here(manifest, build.threads)
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from None
    ranges, ieee = saved_model.sizes(manifest), saved_model.ieee(manifest)
    unfit = {
        "--input-shape": build.input_shapes and not ranges,
        "--batch": build.batch is not None,
        "--target": build.target not in (None, target.isa),
        "--machine": build.machine,
        "--records": build.records,
        "--no-fast-algorithms": not build.fast_algorithms,
        "--no-fallback": not build.fallback,
        "--ieee": build.ieee and not ieee,
        "--tune": build.tune,
        "--strict": build.strict,
        "--precision": build.precision != "float32",
    }
    if flags := [flag for flag, is_given in unfit.items() if is_given]:
        built = f"{path} is built already, for {target.isa}"
        raise ValueError(f"{', '.join(flags)}: {built}; build it again to change that")
    if not ranges:
        return SavedModel(path, target, tuple(saved_model.tensors(manifest, "inputs")), {}, ieee, build.operators)
    tensors = saved_model.sized_tensors(manifest, "inputs", ranges)
    sizes = _chosen_sizes(path, tensors, ranges, build.input_shapes, given)
    return SavedModel(path, target, tuple(tensor.at(sizes) for tensor in tensors), sizes, ieee, build.operators)


def _chosen_sizes(
    path: Path,
    tensors: Sequence[SizedTensor],
    ranges: Sequence[Size],
    shapes: Sequence[Shape],
    given: Sequence[InputFile],
) -> dict[str, int]:
    """Returns the sizes at which a model for ranges runs: those of ``--input-shape`` and of files of inputs.

    Raises:
        ValueError: a size is not given, is out of its range, or has two values.
        OSError: a file cannot be read.
    """
    only = tensors[0].name if len(tensors) == 1 else ""
    known = {name or only: read(file).shape for name, file in given}
    stated: set[str] = set()
    for name, shape in shapes:
        if any(isinstance(size, range) for size in shape):
            raise ValueError(f"argument --input-shape: {path} is built already; give one number for each size")
        tensor = next((tensor for tensor in tensors if tensor.name == (name or only)), None)
        if tensor is None:
            listed = ", ".join(tensor.name for tensor in tensors)
            raise ValueError(f"argument --input-shape: there is no input {name!r}; the model has {listed}")
        if tensor.name in stated:
            raise ValueError(f"argument --input-shape gives {tensor.name} twice")
        numbers = tuple(int(size) for size in shape if isinstance(size, int))
        fits = len(numbers) == len(tensor.shape) and all(
            dim == number for dim, number in zip(tensor.shape, numbers, strict=True) if isinstance(dim, int)
        )
        if not fits:
            given_shape = ",".join(map(str, numbers))
            raise ValueError(f"argument --input-shape: {given_shape} does not fit {tensor}")
        stated.add(tensor.name)
        known[tensor.name] = numbers
    try:
        found = sizes_in(known, tensors, ranges)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if missing := [size for size in ranges if size.name not in found]:
        listed = " ".join(f"--input-shape {tensor.name}:{','.join(map(str, tensor.shape))}" for tensor in tensors)
        about = ", ".join(f"{size.name} from {size}" for size in missing)
        raise ValueError(f"{path} serves ranges of sizes; choose {about}: {listed}")
    return found


def _records(given: Path | None) -> Path | None:
    from compiler.workloads.database import Records

    path = given or DEFAULT_RECORDS
    if not path.exists():
        if given:
            raise ValueError(f"argument --records: there is no file {given}")
        return None
    Records(path).close()  # raises an error if it is another file
    return path


def _shapes(path: Path, given: Sequence[Shape]) -> dict[str, tuple[int | range, ...]]:
    shapes: dict[str, tuple[int | range, ...]] = {}
    for name, sizes in given:
        name = name or _only_input(path)
        if name in shapes:
            raise ValueError(f"argument --input-shape gives {name} twice")
        shapes[name] = sizes
    return shapes


def _of_batch(path: Path, batch: int, given: Container[str]) -> dict[str, tuple[int | range, ...]]:
    """Returns shapes for the inputs that are not given and whose first dimension alone is open.

    Raises:
        ValueError: there is no such input.
    """
    from graph_passes.model_io import read

    graph = read(path).graph
    found: dict[str, tuple[int | range, ...]] = {}
    for value in graph.inputs:
        name = str(value.name)
        if value.shape is None or name in graph.initializers or name in given:
            continue
        first, *others = [*value.shape] or [1]
        fixed = tuple(size for size in others if isinstance(size, int))
        if not isinstance(first, int) and len(fixed) == len(others):
            found[name] = (batch, *fixed)
    if not found:
        raise ValueError(
            f"argument --batch: {path} has no other input whose first dimension alone is open; use --input-shape"
        )
    return found


def _only_input(path: Path) -> str:
    from graph_passes.model_io import read

    graph = read(path).graph
    names = [str(value.name) for value in graph.inputs if value.name not in graph.initializers]
    if len(names) != 1:
        raise ValueError(f"argument --input-shape: name the input; the model has {', '.join(names) or 'none'}")
    return names[0]


def _frozen(path: Path, shapes: dict[str, tuple[int, ...]]) -> Any:
    import graph_passes

    return graph_passes.optimize(path, shapes, ("freeze_shapes",))


def _inputs(path: Path, shapes: dict[str, tuple[int, ...]]) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
    """Returns the inputs with static shapes, and what was assumed about them."""
    from graph_passes.lazy import ir
    from graph_passes.values import static_shape

    specs, dynamic = [], []
    frozen = _frozen(path, shapes)
    for value in frozen.ir_model.graph.inputs:
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
    return tuple(specs), tuple(str(remark) for report in frozen.reports for remark in report.remarks)


def _listed(inputs: tuple[TensorSpec, ...]) -> str:
    return "; ".join(map(str, inputs)) or "no inputs"


def _machine(target: Target) -> str:
    return f"{target.name}, {target.isa}, {placement_of(target.num_cores)}"


def _described(source: OnnxFile | SavedModel) -> dict[str, Any]:
    return {
        "model": str(source.path),
        "inputs": [spec.to_json() for spec in source.inputs],
        "target": source.target.to_json(),
    }
