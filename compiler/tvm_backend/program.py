"""Machine code with its inputs in place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import tvm
import tvm_ffi

from compiler.tvm_backend.lowering import Lowered

_SHARE_ALL_CORES = -3  # threading::ThreadGroup::kSpecifyThreadShareAllCore


class TvmProgram:
    """The last of the function's parameters is its output, the others its inputs, by name."""

    def __init__(self, lowered: Lowered, parameters: Mapping[str, tuple[int, ...]], threads: int) -> None:
        self._lowered, self._threads = lowered, threads
        *self._inputs, (_, self._output_shape) = parameters.items()

    def load(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Copies the inputs, and packs the constants among them.

        Raises:
            ValueError: an input is missing, or is larger than the parameter it is for.
        """
        if self._threads > 1:
            _share_threads(self._threads)
        arguments = [self._argument(name, shape, inputs) for name, shape in self._inputs]
        self._output = tvm.runtime.tensor(np.zeros(self._output_shape, np.float32))
        self._arguments = [*arguments, self._output]
        self._main = self._lowered.module["main"]

    def run(self) -> np.ndarray:
        self._main(*self._arguments)
        return self._output.numpy()

    def time(self, number: int, repeat: int) -> list[float]:
        evaluate = self._lowered.module.time_evaluator("main", tvm.cpu(), number=number, repeat=repeat)
        return list(evaluate(*self._arguments).results)

    def _argument(self, name: str, shape: Sequence[int], inputs: Mapping[str, np.ndarray]) -> tvm.runtime.Tensor:
        if name not in inputs:
            raise ValueError(f"no input {name}; given: {', '.join(inputs)}")
        value = inputs[name]
        missing = [wanted - given for wanted, given in zip(shape, value.shape, strict=True)]
        if any(missing):
            value = np.pad(value, [(0, zeros) for zeros in missing])
        argument = tvm.runtime.tensor(np.ascontiguousarray(value))
        if name not in self._lowered.packs:
            return argument
        function, packed_shape = self._lowered.packs[name]
        packed = tvm.runtime.empty(packed_shape, argument.dtype)
        self._lowered.module[function](argument, packed)
        return packed


def _share_threads(threads: int) -> None:
    """Has TVM's thread pool, of which each thread of the process has one, run on ``threads`` of the process's cores."""
    cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
    tvm_ffi.get_global_func("runtime.config_threadpool")(_SHARE_ALL_CORES, threads, cores)
