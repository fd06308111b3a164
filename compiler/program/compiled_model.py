"""Compiled models: run, profile, save, load. Needs neither onnx nor TVM's compiler."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

import kernels
from compiler.program import native, saved_model
from compiler.program.tensor_spec import TensorSpec, checked
from compiler.workloads.layer import Layer
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    import tvm


@dataclasses.dataclass(frozen=True)
class ProfileRow:
    """What one call of a model's program takes.

    Attributes:
        layer: the node's name, or the generated function's.
        op: the operator and its sizes, where a kernel computes it.
        backend: ``"kernel"``, or ``"tvm"`` for generated code.
        schedule: of the kernel; None where there is nothing to schedule.
        seconds: the median of the runs.
        gflops: 10^9 operations a second; None where the operations are not known.
        roofline: the share of the roofline's speed that is reached; None likewise.
    """

    layer: str
    op: str
    backend: str
    schedule: Schedule | None
    seconds: float
    gflops: float | None
    roofline: float | None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(dataclasses.replace(self, schedule=None)) | {
            "schedule": self.schedule.to_json() if self.schedule else None
        }


class CompiledModel:
    """A model ready to run on this CPU; ``compiler.build`` and ``compiler.load`` make them.

    Attributes:
        inputs, outputs: what :meth:`run` takes and returns.
        target: what it was compiled for; ``target.num_cores`` threads run it.
        layers: those that our kernels compute.
        module: the Relax module, for those who work on in TVM: ``main`` takes the inputs and then
            :attr:`layers_object`, and returns a tuple. None for a model that was loaded.
    """

    def __init__(
        self,
        executable: Any,
        layers: Sequence[Layer],
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        target: Target,
        module: tvm.IRModule | None = None,
        program: Any = None,
    ) -> None:
        """``executable`` is a module of TVM's runtime that virtual machines are made of."""
        self.layers, self.inputs, self.outputs = tuple(layers), tuple(inputs), tuple(outputs)
        self.target, self.module = target, module
        self._executable = executable
        if program is None:
            objects, weights = saved_model.described(self.layers)
            made = native.function("make_layers")(
                json.dumps(objects), [_tensor(weight) for weight in weights], target.isa, target.num_cores
            )
            # TVM's own class links what it compiled in memory; a program that was loaded is a module already.
            module_of = executable.jit() if hasattr(executable, "jit") else executable
            program = native.function("make_program")(module_of, made)
        self._program = program
        self._run = native.function("run_program")

    @property
    def layers_object(self) -> Any:
        """What ``main`` of :attr:`module` takes last."""
        return native.function("layers_of")(self._program)

    @property
    def untuned(self) -> tuple[Layer, ...]:
        """Layers that run by their default schedule, though others may be searched for."""
        return tuple(layer for layer in self.layers if layer.workload is not None and layer.schedule is None)

    @property
    def generated(self) -> tuple[str, ...]:
        """Names of what TVM has generated code for: all that the program calls but its own machine and our kernels."""
        executable = self._executable
        stats = executable.stats() if hasattr(executable, "jit") else executable["stats"]()
        found = re.search(r"Globals \(#\d+\): \[(.*)\]", stats)
        names = found[1].split(", ") if found else []
        return tuple(name for name in names if name != "main" and not name.startswith(("vm.", "loopwright.")))

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name, new arrays each time. Safe to call from several threads at once; the GIL is released.

        Raises:
            ValueError: a name that is missing or unknown, or an array of another shape.
            TypeError: no array, or one of another type.
        """
        outputs = self._run(self._program, *map(_tensor, checked(inputs, self.inputs)))
        return {spec.name: np.from_dlpack(y) for spec, y in zip(self.outputs, outputs, strict=True)}

    def schedules(self) -> list[Schedule | None]:
        """What each layer goes by, the default spelled out; None where there is nothing to decide."""
        made = json.loads(native.function("schedules")(self.layers_object))
        return [Schedule("kernel", values) if values else None for values in made]

    def with_schedules(self, schedules: Mapping[int, Schedule | None]) -> CompiledModel:
        """This model with other schedules for some layers, by their place; all else is shared.

        Raises:
            ValueError: a schedule that is not legal.
            IndexError: there is no such layer.
        """
        self._check_places(schedules)
        return self.with_layers({place: self.layers[place].scheduled(s) for place, s in schedules.items()})

    def with_layers(self, changed: Mapping[int, Layer]) -> CompiledModel:
        """As :meth:`with_schedules`, for more than schedules: a layer may also have another number of threads."""
        self._check_places(changed)
        layers = [changed.get(place, layer) for place, layer in enumerate(self.layers)]
        objects, weights = saved_model.described([layers[place] for place in changed])
        program = native.function("with_layers")(
            self._program,
            {place: json.dumps(entry) for place, entry in zip(changed, objects, strict=True)},
            [_tensor(weight) for weight in weights],
        )
        return CompiledModel(
            self._executable, layers, self.inputs, self.outputs, self.target, self.module, program=program
        )

    def _check_places(self, places: Iterable[int]) -> None:
        for place in places:
            if not 0 <= place < len(self.layers):
                raise IndexError(f"there is no layer {place}: there are {len(self.layers)}, from 0 on")

    def profile(self, inputs: Mapping[str, np.ndarray], runs: int = 30) -> list[ProfileRow]:
        """Times every call of the program, the layers and the generated code between them, over ``runs`` runs.

        The clock is read before and after each call, which itself takes about 0.1 µs. The virtual machine's own work
        is the last row. Limits are measured after the runs, which takes some seconds.

        Raises:
            ValueError, TypeError: as :meth:`run`, or ``runs`` is below 1.
        """
        calls = self.call_secs(inputs, runs)
        limits, schedules = _Limits(self.target.isa), self.schedules()
        rows, machine = [], 0.0
        for function, place, secs in calls:
            seconds = median(secs)
            if place is not None:
                rows.append(_row(self.layers[place], schedules[place], seconds, limits))
            elif function.startswith("vm.builtin."):
                machine += seconds
            else:
                rows.append(ProfileRow(function, "", "tvm", None, seconds, None, None))
        return [*rows, ProfileRow("(virtual machine)", "", "vm", None, machine, None, None)]

    def call_secs(self, inputs: Mapping[str, np.ndarray], runs: int) -> list[tuple[str, int | None, list[float]]]:
        """For each call of the program, in order: its function, its layer's place, and its seconds in each run.

        The first run takes memory from the system; the later ones find it in the pool. It is not among them.

        Raises:
            ValueError, TypeError: as :meth:`run`, or ``runs`` is below 1.
        """
        if runs < 1:
            raise ValueError(f"runs must be at least 1, got {runs}")
        tensors = map(_tensor, checked(inputs, self.inputs))
        calls = native.function("profile_program")(self._program, 1 + runs, *tensors)
        return [(str(f), int(place) if place >= 0 else None, list(secs)[1:]) for f, place, secs in calls]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model as a folder of data and its own machine code, which :func:`load` reads; see ``saved_model``.

        Raises:
            FileExistsError: there is something else at ``path``.
            OSError: it cannot be written.
            RuntimeError: no C compiler is found, whose linker is needed.
        """
        saved_model.save(Path(path), self._executable, self.layers, self.inputs, self.outputs, self.target)


def load(path: str | os.PathLike[str]) -> CompiledModel:
    """Reads what :meth:`CompiledModel.save` wrote.

    Raises:
        FileNotFoundError: there is no saved model.
        ValueError: it is broken, or was written by another version; one line says what is wrong.
        RuntimeError: this CPU lacks the ISA, or this process the cores, that it was compiled for.
    """
    manifest, weights = saved_model.read(Path(path))
    target = saved_model.target_here(manifest)
    layers = saved_model.layers(manifest, weights)
    executable = saved_model.executable(Path(path))
    inputs, outputs = ([TensorSpec.from_json(spec) for spec in manifest[key]] for key in ("inputs", "outputs"))
    return CompiledModel(executable, layers, inputs, outputs, target)


def _tensor(array: np.ndarray) -> Any:
    """The same memory as a tensor of the FFI."""
    import tvm_ffi

    return tvm_ffi.from_dlpack(array)


class _Limits:
    """Roofline times by measured peaks and bandwidths: each is measured once, when it is first asked for."""

    def __init__(self, isa: str) -> None:
        self._isa = isa
        self._peaks: dict[tuple[int, str], float] = {}
        self._secs: dict[tuple[Workload, int], float] = {}

    def secs(self, workload: Workload, threads: int) -> float:
        """By the bandwidth of a working set of the workload's size: where it fits a cache, that one's is its limit."""
        peak, key = (threads, workload.dtype), (workload, threads)
        if peak not in self._peaks:
            self._peaks[peak] = kernels.peak_gflops(self._isa, *peak)
        if key not in self._secs:
            bandwidth = kernels.memory_bandwidth(threads, workload.bytes)
            self._secs[key] = workload.roofline_secs(self._peaks[peak], bandwidth)
        return self._secs[key]


def _row(layer: Layer, schedule: Schedule | None, seconds: float, limits: _Limits) -> ProfileRow:
    if not layer.workloads:
        return ProfileRow(layer.name, layer.op, "kernel", schedule, seconds, None, None)
    share = sum(limits.secs(workload, layer.threads) for workload in layer.workloads) / seconds
    gflops = sum(workload.flops for workload in layer.workloads) / seconds / 1e9
    return ProfileRow(layer.name, _text(layer), "kernel", schedule, seconds, gflops, share)


def _text(layer: Layer) -> str:
    if layer.workload is not None:
        return str(layer.workload)
    first, last = layer.stages[0].input_shapes["x"], layer.stages[-1].output_shape
    ends = " -> ".join("x".join(map(str, shape)) for shape in (first, last))
    return f"{layer.op} {ends}, {len(layer.stages)} convolutions"
