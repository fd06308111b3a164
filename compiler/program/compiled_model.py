"""Compiled models: run, profile, save."""

from __future__ import annotations

import copy
import dataclasses
import json
import numbers
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compiler.program import native, saved_model, segment
from compiler.program.choice import Choice
from compiler.program.operators import Operators
from compiler.program.placement import checked_cores, placement_of, threads_here
from compiler.program.profile import CallTimes, ProfileRow, profile_rows
from compiler.program.segment import Segment
from compiler.program.tensor_spec import OPAQUE, TensorSpec, checked, checked_out
from compiler.workloads.layer import Layer
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from kernels import MachineModel

SPIN, MOST_SPIN = 1e-3, 1.0  # seconds


class CompiledModel:
    """A model ready to run on this CPU. ``compiler.build`` and ``compiler.load`` create it.

    Attributes:
        inputs, outputs: the tensors that :meth:`run` takes and returns.
        target: the CPU that runs it; ``target.num_cores`` threads run it.
        cores: the logical CPUs that its threads are bound to; None if the library chooses them.
        layers: the layers that our kernels compute.
        segments: the parts that ONNX Runtime runs, because they cannot be compiled.
        ieee: whether it keeps subnormal numbers, as IEEE 754 says. Otherwise it takes them as zero.
        module: the Relax ``IRModule``, for further work in TVM; None for a loaded model. Its function ``main`` takes
            the inputs and then :attr:`layers_object`, and returns a tuple.
        checked: the differences that ``compiler.build(..., check=data)`` found, one per output; None without ``check``.
        tuned: what ``compiler.build(..., tune=True)`` measured and chose; None without ``tune``.
        operators: the operators of users that were given; None without.
        in_float: the layers that the model quantizes and that are computed in float32, each with the reason; empty for
            a loaded model.
    """

    in_float: Sequence[str] = ()
    checked: Sequence[Any] | None = None
    tuned: Choice | None = None

    def __init__(
        self,
        executable: Any,
        layers: Sequence[Layer],
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        target: Target,
        module: Any = None,
        segments: Sequence[Segment] = (),
        program: Any = None,
        ieee: bool = False,
        cores: Sequence[int] | None = None,
        operators: Operators | None = None,
    ) -> None:
        """
        Args:
            executable: the compiled module, from which TVM's runtime creates virtual machines.
            layers, inputs, outputs, target, module, segments, ieee, cores, operators: see the attributes.
            program: the object of ``compiler/cpp`` that runs it; created if None.

        Raises:
            ImportError: there are segments, and onnxruntime is not installed.
            ValueError: ONNX Runtime rejects a segment, or a layer needs an operator that is not in ``operators``.
        """
        self.segments, self.operators = tuple(segments), operators
        self.layers, self.inputs, self.outputs = tuple(layers), tuple(inputs), tuple(outputs)
        self.target, self.module, self.ieee = target, module, ieee
        self.cores = None if cores is None else tuple(cores)
        self._executable = executable
        self._program = (
            made_program(executable, self.layers, self.segments, target, ieee, self.cores, operators)
            if program is None
            else program
        )

    def __repr__(self) -> str:
        return f"CompiledModel({len(self.layers)} layers, {self.target.isa}, {self.placement})"

    @property
    def placement(self) -> str:
        """Its number of threads and where they run, such as ``"2 threads: 2 physical cores of 1 node"``."""
        return placement_of(self.target.num_cores, self.cores)

    @property
    def layers_object(self) -> Any:
        """The last argument of ``main`` of :attr:`module`."""
        return native.function("layers_of")(self._program)

    @property
    def untuned(self) -> tuple[Layer, ...]:
        """Layers that run by their default schedule and can be tuned."""
        return tuple(layer for layer in self.layers if layer.workload is not None and layer.schedule is None)

    @property
    def generated(self) -> tuple[str, ...]:
        """Names of the functions that TVM generated: all calls of the program except kernels and the VM's builtins."""
        return _generated(self._executable)

    def run(
        self, inputs: Mapping[str, np.ndarray | np.generic | float], out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Returns the outputs by name. Thread-safe; releases the GIL.

        Args:
            inputs: arrays of any strides; they are copied if they are not contiguous, or are read-only. An input of
                rank 0 may be a number; see :func:`compiler.program.tensor_spec.checked`.
            out: arrays for some or all outputs, contiguous and writeable, which overlap neither inputs nor each other.
                These outputs are copied there, and the arrays themselves are returned. Others are new arrays.

        Raises:
            ValueError: a missing or unknown name, an array of the wrong shape, an array of ``out`` that is not as
                described, or a value that ONNX Runtime rejects in a segment. Nothing is written then.
            TypeError: a value that is not an array, or an array of the wrong type.
        """
        return executed(self._program, inputs, self.inputs, self.outputs, out)

    def schedules(self) -> list[Schedule | None]:
        """Returns the schedule of each layer, with defaults spelled out; None for a kernel without decisions."""
        made = json.loads(native.function("schedules")(self.layers_object))
        return [Schedule("kernel", values) if values else None for values in made]

    def with_schedules(self, schedules: Mapping[int, Schedule | None]) -> CompiledModel:
        """Returns this model with other schedules for some layers, by their index. Shares everything else.

        Raises:
            ValueError: a schedule is not legal.
            IndexError: no such layer.
        """
        self._check_indices(schedules)
        return self.with_layers({index: self.layers[index].scheduled(s) for index, s in schedules.items()})

    def with_layers(self, changed: Mapping[int, Layer]) -> CompiledModel:
        """Returns this model with other layers, by their index: schedules and numbers of threads may differ.

        Raises:
            ValueError, IndexError: as :meth:`with_schedules`.
        """
        self._check_indices(changed)
        layers = [changed.get(index, layer) for index, layer in enumerate(self.layers)]
        objects, weights = saved_model.described([layers[index] for index in changed])
        program = native.function("with_layers")(
            self._program,
            {index: json.dumps(entry) for index, entry in zip(changed, objects, strict=True)},
            [segment.wrapped(saved_model.writable(weight)) for weight in weights],
        )
        return self._with(layers, self.segments, program)

    def with_segments_on(self, threads: int) -> CompiledModel:
        """Returns this model with its segments on another number of threads. Shares the generated code."""
        return self._with(self.layers, [dataclasses.replace(part, threads=threads) for part in self.segments])

    def on(self, cores: Iterable[int], spin: float = SPIN) -> CompiledModel:
        """Returns this model on separate threads, to run at the same time as others. Shares code and weights.

        Args:
            cores: the logical CPUs that the threads, and the calling thread during a run, are bound to: at least one
                for each thread.
            spin: seconds that idle threads spin for the next layer or run before they sleep. 0 saves energy, and lets
                others have the cores at once; the next layer then waits some ten microseconds for a thread to wake up.

        Raises:
            ValueError: this process may not use these cores, there are too few, or ``spin`` is negative.
        """
        bound = checked_cores(cores)
        threads_here(self.target.num_cores, self.target.num_cores, bound)
        if isinstance(spin, bool) or not isinstance(spin, numbers.Real) or not 0 <= spin <= MOST_SPIN:
            raise ValueError(f"spin must be between 0 and {MOST_SPIN} seconds, got {spin!r}")
        return self._with(self.layers, self.segments, on_own_threads(self._program, bound, spin), bound)

    def _with(
        self,
        layers: Sequence[Layer],
        segments: Sequence[Segment],
        program: Any = None,
        cores: Sequence[int] | None = None,
    ) -> CompiledModel:
        other = CompiledModel(
            self._executable,
            layers,
            self.inputs,
            self.outputs,
            self.target,
            self.module,
            segments,
            program,
            self.ieee,
            self.cores if cores is None else cores,
            self.operators,
        )
        other.in_float = self.in_float
        return other

    def _check_indices(self, indices: Iterable[int]) -> None:
        for index in indices:
            if not 0 <= index < len(self.layers):
                raise IndexError(f"no layer {index}: the model has {len(self.layers)} layers, numbered from 0")

    def profile(self, inputs: Mapping[str, np.ndarray], runs: int = 30) -> list[ProfileRow]:
        """Times every call of the program, kernels and generated code, over ``runs`` runs.

        Reading the clock before and after a call takes about 0.1 µs. The last row is the virtual machine's own work.
        Peaks and bandwidths are measured after the runs, which takes some seconds.

        Raises:
            ValueError, TypeError: as :meth:`run`, or ``runs`` is below 1.
        """
        calls = self.call_secs(inputs, runs)
        return profile_rows(calls, self.layers, self.schedules(), self.segments, self.target.isa)

    def call_secs(self, inputs: Mapping[str, np.ndarray], runs: int) -> list[CallTimes]:
        """Returns the times of each call of the program, in order, over ``runs`` runs.

        Leaves out a first run, which takes memory from the system; later runs find it in the pool.

        Raises:
            ValueError, TypeError: as :meth:`run`, or ``runs`` is below 1.
        """
        if runs < 1:
            raise ValueError(f"runs must be at least 1, got {runs}")
        tensors = map(segment.wrapped, checked(inputs, self.inputs))
        calls = native.function("profile_program")(self._program, 1 + runs, *tensors)
        return [
            CallTimes(str(function), int(layer) if layer >= 0 else None, tuple(secs)[1:], int(regions))
            for function, layer, secs, regions in calls
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model as a folder that :func:`load` reads; see :mod:`compiler.program.saved_model`.

        Raises:
            FileExistsError: something else exists at ``path``.
            OSError: the folder cannot be written.
            RuntimeError: the model was loaded, or there is no C compiler, whose linker is needed.
        """
        saved_model.save(
            Path(path),
            self._executable,
            self.layers,
            self.inputs,
            self.outputs,
            self.target,
            self.segments,
            ieee=self.ieee,
            tuned=self.tuned,
        )


def _generated(executable: Any) -> tuple[str, ...]:
    stats = executable.stats() if hasattr(executable, "jit") else executable["stats"]()
    found = re.search(r"Globals \(#\d+\): \[(.*)\]", stats)
    names = found[1].split(", ") if found else []
    return tuple(name for name in names if name != "main" and not name.startswith(("vm.", "loopwright.")))


def made_program(
    executable: Any,
    layers: Sequence[Layer],
    segments: Sequence[Segment],
    target: Target,
    ieee: bool,
    cores: Sequence[int] | None = None,
    operators: Operators | None = None,
) -> Any:
    """Returns the object of ``compiler/cpp`` that runs an executable with these layers and segments.

    All threads that run it compute in the mode that ``ieee`` says, and the calling thread returns to its own.

    Raises:
        ImportError, ValueError: as :class:`CompiledModel`.
    """
    objects, weights = saved_model.described(layers)
    alone = len(segments) == 1 and not layers and not _generated(executable)
    model = None if target.model == MachineModel.host() else target.model.text
    made = native.function("make_layers")(
        json.dumps(objects),
        [segment.wrapped(saved_model.writable(weight)) for weight in weights],
        target.isa,
        target.num_cores,
        [
            segment.function(part, target.num_cores, ieee, alone, () if operators is None else operators.custom)
            for part in segments
        ],
        model,
        None if operators is None else operators.handle,
    )
    # tvm.runtime.Executable is linked in memory. A loaded program is a module already.
    module_of = executable.jit() if hasattr(executable, "jit") else executable
    program = native.function("make_program")(module_of, made, ieee)
    return program if cores is None else on_own_threads(program, cores)


def on_own_threads(program: Any, cores: Sequence[int], spin: float = SPIN) -> Any:
    """Returns a program on separate threads; see :meth:`CompiledModel.on`."""
    return native.function("on_cores")(program, list(cores), round(spin * 1e6))


def executed(
    program: Any,
    inputs: Mapping[str, np.ndarray | np.generic | float],
    takes: Sequence[TensorSpec],
    returns: Sequence[TensorSpec],
    out: Mapping[str, np.ndarray] | None,
) -> dict[str, np.ndarray]:
    """Runs a program that takes and returns these tensors; see :meth:`CompiledModel.run`."""
    arguments = checked(inputs, takes)
    targets = None if out is None else checked_out(out, returns, inputs.values())
    outputs = native.function("run_program")(program, *map(segment.wrapped, arguments))
    if len(returns) == 1:
        outputs = (outputs,)
    found = {spec.name: segment.unwrapped(y) for spec, y in zip(returns, outputs, strict=True)}
    for spec in returns:
        if spec.dtype == OPAQUE and spec.name in inputs:  # an input that is an output too
            found[spec.name] = copy.deepcopy(found[spec.name])
    if targets is None:
        return found
    for name, target in targets.items():
        np.copyto(target, found[name])
        found[name] = target
    return found
