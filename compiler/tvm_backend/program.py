"""Runs and times the machine code of a schedule on given inputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import tvm
import tvm_ffi

import kernels
from compiler.tvm_backend.codegen import CompiledFunction
from compiler.tvm_backend.thread_pool import generated_code_threads

_serial_numbers = itertools.count()


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function. A constant may be smaller than its parameter, and is then padded with zeros."""

    name: str
    shape: tuple[int, ...]
    constant: bool


def parameters(prim_func: Any) -> tuple[Parameter, ...]:
    """Returns the parameters of a PrimFunc of static shape, in order."""
    constants = {int(index) for index in (prim_func.attrs or {}).get("layout_free_buffers", ())}
    return tuple(
        Parameter(buffer.name, tuple(int(size) for size in buffer.shape), index in constants)
        for index, buffer in enumerate(prim_func.params)
    )


class TvmProgram:
    """A compiled schedule: a :class:`compiler.Program`.

    Args:
        compiled: the machine code.
        parameters: the inputs, and last the output.
        threads: the number of threads that may run it.
        cold_constants: whether constants are evicted from the caches before each timed run.
    """

    def __init__(
        self, compiled: CompiledFunction, parameters: Sequence[Parameter], threads: int, cold_constants: bool = False
    ) -> None:
        self._compiled, self._threads, self._cold_constants = compiled, threads, cold_constants
        *self._inputs, self._output = parameters

    def load(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Copies the inputs and packs the constants.

        Raises:
            ValueError: an input is missing or has the wrong shape.
            TypeError: an input is not float32.
        """
        arguments = [self._argument(parameter, inputs) for parameter in self._inputs]
        self._answer = tvm.runtime.tensor(np.zeros(self._output.shape, np.float32))
        self._arguments = [*arguments, self._answer]
        self._main = self._compiled.module["main"]

    def run(self) -> np.ndarray:
        with generated_code_threads(self._threads):
            self._main(*self._arguments)
        return self._answer.numpy()

    def time(self, number: int, repeat: int) -> list[float]:
        with generated_code_threads(self._threads):
            if not self._cold_constants:
                return self._samples(number, repeat)
            with _registered(self._evict_constants) as before_sample:
                samples = self._samples(1, number * repeat, before_sample)  # one run per sample
        return [fmean(samples[i : i + number]) for i in range(0, len(samples), number)]

    def _samples(self, number: int, repeat: int, before_sample: str = "") -> list[float]:
        evaluate = self._compiled.module.time_evaluator(
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
            raise ValueError(f"input {name} is missing; got {', '.join(inputs)}")
        value = inputs[name]
        if value.dtype != np.float32:
            raise TypeError(f"input {name} must be float32, got {value.dtype}")
        if parameter.constant and value.ndim == len(shape) and all(np.less_equal(value.shape, shape)):
            value = np.pad(value, [(0, wanted - given) for wanted, given in zip(shape, value.shape, strict=True)])
        if value.shape != shape:
            raise ValueError(f"input {name} must have shape {shape}, got {value.shape}")
        argument = tvm.runtime.tensor(np.ascontiguousarray(value))
        if name not in self._compiled.packs:
            return argument
        function, packed_shape = self._compiled.packs[name]
        packed = tvm.runtime.empty(packed_shape, argument.dtype)
        self._compiled.module[function](argument, packed)
        return packed


@contextmanager
def _registered(function: Callable[..., None]) -> Iterator[str]:
    """Registers a function with TVM's FFI under a unique name inside the context, and returns the name.

    TVM's time evaluator accepts the function that it calls before each sample by a global name only.
    """
    name = f"loopwright.before_sample.{next(_serial_numbers)}"
    tvm_ffi.register_global_func(name, function)
    try:
        yield name
    finally:
        tvm_ffi.remove_global_func(name)
