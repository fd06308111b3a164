"""Machine code with its inputs in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import tvm

import kernels
from compiler.tvm_backend.lowering import Lowered

_BEFORE_SAMPLE = "loopwright.before_sample"


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
    """The last of the parameters is the output, the others are the inputs, by name.

    Args:
        cold_constants: whether a run is timed with its constants in memory and not in the caches.
    """

    def __init__(
        self, lowered: Lowered, parameters: Sequence[Parameter], threads: int, cold_constants: bool = False
    ) -> None:
        self._lowered, self._threads, self._cold_constants = lowered, threads, cold_constants
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
        with kernels.generated_code_threads(self._threads):
            if not self._cold_constants:
                return self._samples(number, repeat)
            # TVM calls the function by that name before each of its samples, here of one run each.
            tvm.register_global_func(_BEFORE_SAMPLE, self._evict_constants, override=True)
            samples = self._samples(1, number * repeat, before_sample=_BEFORE_SAMPLE)
        return [fmean(samples[i : i + number]) for i in range(0, len(samples), number)]

    def _samples(self, number: int, repeat: int, before_sample: str = "") -> list[float]:
        evaluate = self._lowered.module.time_evaluator(
            "main", tvm.cpu(), number=number, repeat=repeat, f_preproc=before_sample
        )
        return list(evaluate(*self._arguments).results)

    def _evict_constants(self, *_arguments: Any) -> None:
        for parameter, argument in zip(self._inputs, self._arguments, strict=False):
            if parameter.constant:
                kernels.evict(np.from_dlpack(argument), self._threads)

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
