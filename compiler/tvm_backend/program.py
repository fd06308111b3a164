"""Machine code with its inputs in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm

import kernels
from compiler.tvm_backend.lowering import Lowered


@dataclass(frozen=True)
class Parameter:
    """A function's parameter. A constant may be smaller than its parameter: the rest is zeros."""

    name: str
    shape: tuple[int, ...]
    constant: bool


def parameters(prim_func: Any) -> tuple[Parameter, ...]:
    """The parameters of a PrimFunc of static shape, in order."""
    constants = {int(index) for index in (prim_func.attrs or {}).get("layout_free_buffers", ())}
    return tuple(
        Parameter(buffer.name, tuple(int(size) for size in buffer.shape), index in constants)
        for index, buffer in enumerate(prim_func.params)
    )


class TvmProgram:
    """The last of the parameters is the output, the others are the inputs, by name."""

    def __init__(self, lowered: Lowered, parameters: Sequence[Parameter], threads: int) -> None:
        self._lowered, self._threads = lowered, threads
        *self._inputs, self._output = parameters

    def load(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Copies the inputs, and packs the constants among them.

        Raises:
            ValueError: an input is missing, or of another shape than it should be.
            TypeError: an input is not float32.
        """
        arguments = [self._argument(parameter, inputs) for parameter in self._inputs]
        self._answer = tvm.runtime.tensor(np.zeros(self._output.shape, np.float32))
        self._arguments = [*arguments, self._answer]
        self._main = self._lowered.module["main"]

    def run(self) -> np.ndarray:
        with kernels.generated_code_threads(self._threads):
            self._main(*self._arguments)
        return self._answer.numpy()

    def time(self, number: int, repeat: int) -> list[float]:
        evaluate = self._lowered.module.time_evaluator("main", tvm.cpu(), number=number, repeat=repeat)
        with kernels.generated_code_threads(self._threads):
            return list(evaluate(*self._arguments).results)

    def _argument(self, parameter: Parameter, inputs: Mapping[str, np.ndarray]) -> tvm.runtime.Tensor:
        name, shape = parameter.name, parameter.shape
        if name not in inputs:
            raise ValueError(f"no input {name}; given: {', '.join(inputs)}")
        value = inputs[name]
        if value.dtype != np.float32:
            raise TypeError(f"input {name} is {value.dtype}, not float32")
        if parameter.constant and value.ndim == len(shape) and all(np.less_equal(value.shape, shape)):
            value = np.pad(value, [(0, wanted - given) for wanted, given in zip(shape, value.shape, strict=True)])
        if value.shape != shape:
            raise ValueError(f"input {name} is {value.shape}, not {shape}")
        argument = tvm.runtime.tensor(np.ascontiguousarray(value))
        if name not in self._lowered.packs:
            return argument
        function, packed_shape = self._lowered.packs[name]
        packed = tvm.runtime.empty(packed_shape, argument.dtype)
        self._lowered.module[function](argument, packed)
        return packed
