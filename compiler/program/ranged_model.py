"""Compiled models that run at all sizes of a range."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from compiler.program import native, saved_model
from compiler.program.compiled_model import CompiledModel, executed, made_program
from compiler.program.operators import Operators
from compiler.program.placement import placement_of
from compiler.program.profile import CallTimes, ProfileRow
from compiler.program.sized_tensor import SizedTensor, sizes_of
from compiler.program.tensor_spec import TensorSpec
from compiler.sizes.layer import SizedLayer
from compiler.sizes.size import Size, growing
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target

_MOST_PROGRAMS = 4096
# TVM's pool keeps the memory of outputs by size and never returns it. It is emptied after runs at this many sizes.
_SIZES_PER_POOL = 64


class _Program(NamedTuple):
    """The program for some sizes."""

    program: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def _checked(size: Size, value: Any) -> int:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) in size.values:
        return int(value)
    raise ValueError(f"{size.name} is {value}; it may be {size}")


class RangedModel:
    """A model ready to run at all sizes of a range. ``compiler.build`` with ranges, and ``compiler.load``, create it.

    The first run of new sizes chooses the schedules of the layers; nothing is compiled. All sizes share the code and
    the packed weights.

    Attributes:
        sizes: the sizes that vary, and their ranges.
        inputs, outputs: the tensors that :meth:`run` takes and returns; their shapes have expressions of the sizes.
        target, cores, module, ieee, operators: as of :class:`compiler.CompiledModel`.
        segments: always empty; segments have fixed sizes.
        checked, tuned: as of :class:`compiler.CompiledModel`.
    """

    checked: Sequence[Any] | None = None
    tuned: None = None
    segments: tuple[()] = ()

    def __init__(
        self,
        executable: Any,
        layers: Sequence[SizedLayer],
        inputs: Sequence[SizedTensor],
        outputs: Sequence[SizedTensor],
        sizes: Sequence[Size],
        target: Target,
        module: Any = None,
        ieee: bool = False,
        cores: Sequence[int] | None = None,
        operators: Operators | None = None,
    ) -> None:
        self.inputs, self.outputs, self.sizes = tuple(inputs), tuple(outputs), tuple(sizes)
        self.target, self.module, self.ieee = target, module, ieee
        self.cores = None if cores is None else tuple(cores)
        self.operators = operators
        self._executable, self._layers = executable, tuple(layers)
        self._lock = Lock()
        self._pooled: set[int] = set()  # programs that have run since the pool was emptied
        self._programs: dict[tuple[int, ...], _Program] = {}
        self._varying = [tensor.name for tensor in inputs if any(not isinstance(dim, int) for dim in tensor.shape)]
        self._by_shapes: dict[tuple[tuple[int, ...], ...], _Program] = {}  # of the inputs that vary
        self._packed = made_program(executable, self.layers, (), target, ieee, self.cores, operators)
        for point in growing(self.sizes):  # few rows need weights that are packed in other forms than many
            self._program(point)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{size.name} from {size}" for size in self.sizes)
        return f"RangedModel({sizes}, {len(self._layers)} layers, {self.target.isa}, {self.placement})"

    @property
    def placement(self) -> str:
        """As of :class:`compiler.CompiledModel`."""
        return placement_of(self.target.num_cores, self.cores)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers at the largest sizes."""
        return self._layers_at({size.name: size.largest for size in self.sizes})

    @property
    def untuned(self) -> tuple[Layer, ...]:
        """Always empty: a search tunes layers of one size."""
        return ()

    @property
    def generated(self) -> tuple[str, ...]:
        """As of :class:`compiler.CompiledModel`."""
        return self.at({size.name: size.values[0] for size in self.sizes}).generated

    def sizes_of(self, inputs: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Returns the sizes of inputs by name.

        Raises:
            ValueError: a size is out of its range, or has two values.
        """
        return sizes_of(inputs, self.inputs, self.sizes)

    def at(self, sizes: Mapping[str, int]) -> CompiledModel:
        """Returns the model for given sizes by name, which shares everything large with this one.

        Raises:
            ValueError: a size is missing, unknown or out of its range.
        """
        names = {size.name for size in self.sizes}
        if set(sizes) != names:
            raise ValueError(f"sizes are {', '.join(sorted(names))}; got {', '.join(sorted(sizes)) or 'none'}")
        chosen = {size.name: _checked(size, sizes[size.name]) for size in self.sizes}
        found = self._program(chosen)
        return CompiledModel(
            self._executable,
            self._layers_at(chosen),
            found.inputs,
            found.outputs,
            self.target,
            self.module,
            program=found.program,
            ieee=self.ieee,
            cores=self.cores,
            operators=self.operators,
        )

    def run(
        self, inputs: Mapping[str, np.ndarray | np.generic | float], out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """As :meth:`compiler.CompiledModel.run`, for inputs of any sizes in the ranges.

        Raises:
            ValueError: a size is out of its range, or as :meth:`compiler.CompiledModel.run`.
            TypeError: as :meth:`compiler.CompiledModel.run`.
        """
        try:
            found = self._by_shapes.get(tuple([inputs[name].shape for name in self._varying]))  # type: ignore[union-attr]
        except (AttributeError, KeyError, TypeError):
            found = None  # the check below has a message for it
        if found is None:
            sizes = sizes_of(inputs, self.inputs, self.sizes)
            found = self._program(sizes)
            shapes = {tensor.name: tensor.at(sizes).shape for tensor in self.inputs}
            self._by_shapes[tuple([shapes[name] for name in self._varying])] = found
        self._pooled.add(id(found.program))
        if len(self._pooled) > _SIZES_PER_POOL:
            self._pooled.clear()
            native.empty_pool()
        return executed(found.program, inputs, found.inputs, found.outputs, out)

    def profile(self, inputs: Mapping[str, np.ndarray], runs: int = 30) -> list[ProfileRow]:
        """As :meth:`compiler.CompiledModel.profile`, at the sizes of the inputs."""
        return self.at(self.sizes_of(inputs)).profile(inputs, runs)

    def call_secs(self, inputs: Mapping[str, np.ndarray], runs: int) -> list[CallTimes]:
        """As :meth:`compiler.CompiledModel.call_secs`, at the sizes of the inputs."""
        return self.at(self.sizes_of(inputs)).call_secs(inputs, runs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """As :meth:`compiler.CompiledModel.save`. The folder has all that any size in the ranges needs."""
        saved_model.save(
            Path(path),
            self._executable,
            self._layers,
            self.inputs,
            self.outputs,
            self.target,
            sizes=self.sizes,
            ieee=self.ieee,
        )

    def _layers_at(self, sizes: Mapping[str, int]) -> tuple[Layer, ...]:
        return tuple(layer.at(sizes, self.target) for layer in self._layers)

    def _program(self, sizes: Mapping[str, int]) -> _Program:
        """Returns the program for sizes in the ranges."""
        key = tuple(sizes[size.name] for size in self.sizes)
        found = self._programs.get(key)
        if found is not None:
            return found
        objects, _weights = saved_model.described(self._layers_at(sizes))
        made = _Program(
            native.function("resized")(self._packed, json.dumps(objects)),
            tuple(tensor.at(sizes) for tensor in self.inputs),
            tuple(tensor.at(sizes) for tensor in self.outputs),
        )
        with self._lock:
            if len(self._programs) >= _MOST_PROGRAMS:
                self._programs.pop(next(iter(self._programs)))
                self._by_shapes.clear()
            self._programs[key] = made
        return made
