"""Saved models: a compiled model as a folder.

::

    resnet50.lw/
        manifest.json    format, versions, ISA, threads, ieee, inputs, outputs, layers with their schedules, what
                         ``tune`` measured and chose, digests
        weights.bin      weights in the model's own layout; kernels pack them when the model is loaded
        program.so       the calls of kernels in order, and the code that TVM generated
        segment0.onnx    a part that ONNX Runtime runs, and so on

``program.so`` is machine code, which runs with the rights of the process that loads it: load only models that you
trust. The other files are data. The SHA-256 digests detect a damaged folder; they do not authenticate its author.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from compiler.program import native, placement, tvm_pair
from compiler.program.choice import Choice
from compiler.program.segment import Segment
from compiler.program.sized_tensor import SizedTensor
from compiler.program.tensor_spec import TensorSpec
from compiler.sizes.expression import Expression
from compiler.sizes.layer import SizedLayer
from compiler.sizes.size import Size
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target
from compiler.workloads.threads import threads_for

MANIFEST, WEIGHTS, PROGRAM = "manifest.json", "weights.bin", "program.so"
_ALIGNMENT = 4  # of weights, in bytes
# uint8: numbers of few bits; uint16: the bits of bfloat16. Before format 8, all were float32.
_WEIGHT_DTYPES = ("float32", "int8", "uint8", "uint16")
_FIRST_WITH_SEGMENTS = 5  # format
_FIRST_WITH_IEEE = 7


def formats() -> tuple[int, int]:
    """Returns the oldest and the newest format that can be read; see ``compiler/cpp/model.cc``."""
    oldest, newest = native.function("saved_model_formats")()
    return int(oldest), int(newest)


def described(layers: Iterable[Layer | SizedLayer]) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Returns the layers as JSON, and the distinct weights that they refer to by index.

    The weights may be read-only; :func:`writable` copies such ones.
    """
    weights: list[np.ndarray] = []
    places: dict[int, int] = {}  # by identity, because layers may share a weight
    objects = []
    for layer in layers:
        own = {}
        for name, weight in layer.weights.items():
            if id(weight) not in places:
                places[id(weight)] = len(weights)
                weights.append(weight)
            own[name] = places[id(weight)]
        objects.append(layer.to_json(own))
    return objects, weights


def save(
    path: Path,
    executable: Any,
    layers: Sequence[Layer | SizedLayer],
    inputs: Sequence[TensorSpec | SizedTensor],
    outputs: Sequence[TensorSpec | SizedTensor],
    target: Target,
    segments: Sequence[Segment] = (),
    sizes: Sequence[Size] = (),
    ieee: bool = False,
    tuned: Choice | None = None,
) -> None:
    """See :meth:`compiler.CompiledModel.save`; ``sizes``: those that vary; ``ieee``: whether subnormals are kept."""
    if path.exists() and not (path / MANIFEST).is_file():
        raise FileExistsError(f"{path} exists and is not a saved model")
    objects, weights = described(layers)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        _link(executable, folder / PROGRAM)
        offsets = _write_weights(folder / WEIGHTS, weights)
        for index, segment in enumerate(segments):
            (folder / _segment_file(index)).write_bytes(segment.model)
        files = (PROGRAM, WEIGHTS, *map(_segment_file, range(len(segments))))
        manifest = {
            "format": formats()[1],
            "versions": _versions(),
            "isa": target.isa,
            "threads": target.num_cores,
            "target": target.to_json(),
            "ieee": ieee,
            "inputs": [spec.to_json() for spec in inputs],
            "outputs": [spec.to_json() for spec in outputs],
            "weights": [
                {"offset": offset, "shape": list(weight.shape), "dtype": weight.dtype.name}
                for offset, weight in zip(offsets, weights, strict=True)
            ],
            "layers": objects,
            "segments": [_segment_fields(segment) for segment in segments],
            "sizes": [size.to_json() for size in sizes],
            "tuned": None if tuned is None else tuned.to_json(),
            "digests": {name: _digest_of(folder / name) for name in files},
        }
        manifest["digest"] = _digest(_canonical(manifest))
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        if path.exists():
            shutil.rmtree(path)
        os.replace(folder, path)


def read(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Returns the manifest, and the weights as views of the mapped file, whose pages are read on first access.

    Raises:
        FileNotFoundError, ValueError: as :func:`compiler.load`.
    """
    if path.is_file():
        build = f"python -m compiler build {path} -o {path.stem}.lw"
        raise FileNotFoundError(f"{path} is a file, and a saved model is a folder; build one with: {build}")
    if not (path / MANIFEST).is_file():
        raise FileNotFoundError(f"{path} is not a saved model: it has no {MANIFEST}")
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}/{MANIFEST} is broken: {error}") from None
    with _valid_manifest():
        return _checked(path, manifest)


def _checked(path: Path, manifest: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    found = manifest.get("format") if isinstance(manifest, dict) else None
    oldest, newest = formats()
    if type(found) is not int or not oldest <= found <= newest:
        read = f"this version reads formats {oldest} to {newest}"
        raise ValueError(f"{path} is of format {found}; {read}; compile the model again")
    if manifest.get("digest") != _digest(_canonical({k: v for k, v in manifest.items() if k != "digest"})):
        raise ValueError(f"{path}/{MANIFEST} was changed: its digest differs")
    count = len(manifest["segments"]) if found >= _FIRST_WITH_SEGMENTS else 0
    files = (PROGRAM, WEIGHTS, *map(_segment_file, range(count)))
    for name in dict.fromkeys((*files, *manifest["digests"])):
        known = name in files and (path / name).is_file()
        if not known or _digest_of(path / name) != manifest["digests"].get(name):
            raise ValueError(f"{path}/{name} is missing or was changed: its digest differs")
    made_by = manifest["versions"]
    if made_by != (here := _versions()):
        other = [name for name in here if made_by.get(name) != here[name]]
        differing = ", ".join(f"{name} {made_by.get(name)} (here {here[name]})" for name in other)
        raise ValueError(f"{path} was compiled by other versions: {differing}; compile the model again")
    return manifest, _weights(path / WEIGHTS, manifest["weights"])


def target_here(manifest: Mapping[str, Any], threads: int | None = None, cores: Sequence[int] | None = None) -> Target:
    """Returns the target that the model was compiled for, on the number of threads that run it here.

    Args:
        threads, cores: as of :func:`compiler.program.placement.threads_here`.

    Raises:
        RuntimeError: this CPU does not support the ISA.
        ValueError: as :func:`compiler.program.placement.threads_here`, or an entry is not valid.
    """
    import kernels

    with _valid_manifest():
        isa, built = manifest["isa"], manifest["threads"]
        if type(isa) is not str or type(built) is not int or built < 1:
            raise ValueError(f"the manifest has isa {isa!r} and threads {built!r}")
    if isa not in (available := kernels.available_isas()):
        raise RuntimeError(f"the model was compiled for {isa}; this CPU supports {', '.join(available)}")
    return Target.from_host(isa, placement.threads_here(built, threads, cores))


def ieee(manifest: Mapping[str, Any]) -> bool:
    """Returns whether the program keeps subnormal numbers, as all programs of formats before 7 do.

    Raises:
        ValueError: the entry is not valid.
    """
    with _valid_manifest():
        if manifest["format"] < _FIRST_WITH_IEEE:
            return True
        found = manifest["ieee"]
        if type(found) is not bool:
            raise ValueError(f"{MANIFEST} is not valid: ieee is {found!r}")
        return found


def tuned(manifest: Mapping[str, Any]) -> Choice | None:
    """Returns what the build measured and chose, if it was tuned.

    Raises:
        ValueError: the entry is not valid.
    """
    with _valid_manifest():
        found = manifest.get("tuned")
        return None if found is None else Choice.from_json(found)


def layers(manifest: Mapping[str, Any], weights: Sequence[np.ndarray], target: Target) -> list[Layer]:
    """Returns the layers of a manifest, for the threads of a target.

    On the number of threads that the model was built for, they are as saved. On another one, each layer that then runs
    on another number has its default schedule: the saved one divides the work among as many threads as it was made for.

    Raises:
        ValueError: a layer is not valid, or refers to a weight that does not exist.
    """
    with _valid_manifest():
        found = [
            Layer.from_json(fields, {name: _weight(weights, index) for name, index in fields["weights"].items()})
            for fields in manifest["layers"]
        ]
        if target.num_cores == manifest["threads"]:
            return found
        return [_on_threads(layer, threads_for(layer.workload, target)) for layer in found]


def _on_threads(layer: Layer, threads: int) -> Layer:
    return layer if layer.threads == threads else replace(layer, threads=threads, schedule=None)


def tensors(manifest: Mapping[str, Any], key: str) -> list[TensorSpec]:
    """Returns the tensors of a manifest; ``key`` is ``"inputs"`` or ``"outputs"``.

    Raises:
        ValueError: a tensor is not valid.
    """
    with _valid_manifest():
        specs = [TensorSpec.from_json(spec) for spec in manifest[key]]
        if len({spec.name for spec in specs}) < len(specs):
            raise ValueError(f"{MANIFEST} is not valid: two {key} have the same name")
        return specs


def segments(path: Path, manifest: Mapping[str, Any], threads: int) -> list[Segment]:
    """Returns the segments of a model that ``threads`` threads run, which is the most that each has.

    Raises:
        ValueError: a segment is not valid.
        OSError: a file cannot be read.
    """
    with _valid_manifest():
        found = [
            Segment(
                (path / _segment_file(index)).read_bytes(),
                tuple(map(str, fields["inputs"])),
                tuple(TensorSpec.from_json(spec) for spec in fields["outputs"]),
                frozenset(map(str, fields["static"])),
                {str(op): int(count) for op, count in fields["operators"].items()},
                tuple(map(str, fields["reasons"])),
                _threads(fields.get("threads"), threads),
            )
            for index, fields in enumerate(manifest.get("segments", ()))
        ]
        for index, segment in enumerate(found):
            if unknown := segment.static - {spec.name for spec in segment.outputs}:
                raise ValueError(f"{MANIFEST} is not valid: segment {index} has no output {min(unknown)!r}")
        return found


def sizes(manifest: Mapping[str, Any]) -> list[Size]:
    """Returns the sizes that vary.

    Raises:
        ValueError: a size is not valid.
    """
    with _valid_manifest():
        found = [Size.from_json(fields) for fields in manifest.get("sizes", ())]
        if len({size.name for size in found}) < len(found):
            raise ValueError(f"{MANIFEST} is not valid: two sizes have the same name")
        return found


def sized_layers(manifest: Mapping[str, Any], weights: Sequence[np.ndarray], sizes: Sequence[Size]) -> list[SizedLayer]:
    """Returns the layers of a model for ranges of sizes.

    Raises:
        ValueError: as :func:`layers`.
    """
    names = [size.name for size in sizes]
    with _valid_manifest():
        found = [
            SizedLayer.from_json(
                fields, {name: _weight(weights, index) for name, index in fields["weights"].items()}, names
            )
            for fields in manifest["layers"]
        ]
        for point in _ends(sizes):
            for layer in found:
                layer.at(point)
        return found


def sized_tensors(manifest: Mapping[str, Any], key: str, sizes: Sequence[Size]) -> list[SizedTensor]:
    """Returns the tensors of a model for ranges of sizes; ``key``: as for :func:`tensors`.

    Raises:
        ValueError: a tensor is not valid.
    """
    names = [size.name for size in sizes]
    with _valid_manifest():
        found = [SizedTensor.from_json(fields, sizes) for fields in manifest[key]]
        if len({tensor.name for tensor in found}) < len(found):
            raise ValueError(f"{MANIFEST} is not valid: two {key} have the same name")
        for point in _ends(sizes):
            for tensor in found:
                TensorSpec.from_json(tensor.at(point).to_json())
        if key == "inputs":
            _check_inputs(found, names)
        return found


def _ends(sizes: Sequence[Size]) -> tuple[dict[str, int], dict[str, int]]:
    """Returns the smallest and the largest sizes."""
    return {size.name: size.values[0] for size in sizes}, {size.name: size.largest for size in sizes}


def _check_inputs(inputs: Sequence[SizedTensor], names: Sequence[str]) -> None:
    """Checks that dimensions of inputs are numbers or sizes, and give all sizes."""
    given = {str(dim) for tensor in inputs for dim in tensor.shape if isinstance(dim, Expression)}
    if given != set(names):
        listed = ", ".join(sorted(given)) or "numbers only"
        raise ValueError(f"{MANIFEST} is not valid: the sizes are {', '.join(names)}; dimensions of inputs: {listed}")


def _segment_file(index: int) -> str:
    return f"segment{index}.onnx"


def _segment_fields(segment: Segment) -> dict[str, Any]:
    return {
        "inputs": list(segment.inputs),
        "outputs": [spec.to_json() for spec in segment.outputs],
        "static": sorted(segment.static),
        "operators": dict(segment.operators),
        "reasons": list(segment.reasons),
        "threads": segment.threads,
    }


def _threads(found: Any, most: int) -> int | None:
    if found is None or (type(found) is int and found >= 1):
        return None if found is None else min(found, most)
    raise ValueError(f"{MANIFEST} is not valid: a segment has threads {found!r}")


def executable(path: Path) -> Any:
    """Loads the program of a saved model into the process.

    Raises:
        ValueError: the file is not a module of TVM's runtime.
    """
    native.function("share_thread_pool")()
    try:
        return native.function("load_library")(str((path / PROGRAM).resolve()))
    except RuntimeError as error:
        raise ValueError(f"{path}/{PROGRAM} cannot be loaded: {str(error).splitlines()[-1]}") from None


def _link(executable: Any, path: Path) -> None:
    """Links the program into a shared library, with the system's C compiler."""
    if hasattr(executable, "jit"):  # a tvm.runtime.Executable
        if not any(map(shutil.which, ("cc", "gcc", "clang", "c++", "g++"))):
            raise RuntimeError("saving a model needs a C compiler for its linker (Debian: apt install gcc)")
        executable.export_library(str(path))
    else:  # a module that was loaded from a file
        raise RuntimeError("a loaded model cannot be saved again: copy its folder")


def _write_weights(path: Path, weights: Sequence[np.ndarray]) -> list[int]:
    """Returns the offset of each weight in bytes."""
    offsets = []
    with path.open("wb") as file:
        for weight in weights:
            file.write(b"\0" * (-file.tell() % 64))
            offsets.append(file.tell())
            weight.tofile(file)
    return offsets


def _weights(path: Path, entries: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    if path.stat().st_size == 0:
        return []
    # Copy on write: kernels require writable arrays, and the file must not change.
    data = np.memmap(path, np.uint8, mode="c")
    arrays = []
    for entry in entries:
        begin, shape, dtype = entry["offset"], tuple(entry["shape"]), entry.get("dtype", "float32")
        if dtype not in _WEIGHT_DTYPES:
            raise ValueError(f"a weight is of {dtype!r}; it must be {' or '.join(_WEIGHT_DTYPES)}")
        if type(begin) is not int or begin % _ALIGNMENT or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"a weight has offset {begin!r} and shape {shape!r}")
        end = begin + prod(shape) * np.dtype(dtype).itemsize
        if not 0 <= begin <= end <= len(data):
            raise ValueError(f"{path} is too short for its weights")
        arrays.append(data[begin:end].view(dtype).reshape(shape))
    return arrays


@contextmanager
def _valid_manifest() -> Iterator[None]:
    """Reports an entry that is missing or has the wrong type. A manifest may come from elsewhere."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
        reason = f"missing {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise ValueError(f"{MANIFEST} is not valid: {reason}") from error


def _weight(weights: Sequence[np.ndarray], index: Any) -> np.ndarray:
    if type(index) is not int or not 0 <= index < len(weights):
        raise ValueError(f"a layer refers to weight {index!r}; there are {len(weights)}")
    return weights[index]


def _versions() -> dict[str, str]:
    """Returns the versions of the packages that the code and calls of a program depend on."""
    return {"loopwright": metadata.version("loopwright"), **tvm_pair.REQUIRED}


def writable(weight: np.ndarray) -> np.ndarray:
    """Returns the weight contiguous and writable, as DLPack requires. Read-only memory is shared: kernels only read."""
    contiguous = np.ascontiguousarray(weight)
    if contiguous.flags.writeable:
        return contiguous
    if contiguous.nbytes == 0:
        return contiguous.copy()
    memory: Any = (ctypes.c_char * contiguous.nbytes).from_address(contiguous.ctypes.data)
    memory.owner = contiguous  # lives as long as the view
    return np.frombuffer(memory, contiguous.dtype).reshape(contiguous.shape)


def _canonical(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
