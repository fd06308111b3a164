"""Kernels that are plain functions: without weights to pack and without a schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compiler.workloads.operators.operator import Array, Arrays, Instance
from kernels.timed import TimedFunction


class FunctionKernel:
    """A function of ``kernels`` with the interface of :class:`Kernel`.

    Args:
        function: takes the tensors by name, ``out``, and ``options``.
        options: all other arguments.
    """

    def __init__(self, function: TimedFunction[...], **options: Any) -> None:
        self._function, self._options = function, options

    def __call__(self, *, out: Array, **tensors: Any) -> Array:
        return self._function(**tensors, out=out, **self._options)

    def time(self, *, out: Array, number: int, repeat: int, **tensors: Any) -> list[float]:
        return self._function.time(number, repeat, **tensors, out=out, **self._options)

    def schedule(self, *_sizes: int) -> dict[str, Any]:
        return {}


def function_kernel(function: TimedFunction[...], **fixed: Any) -> Callable[..., FunctionKernel]:
    """The ``kernel`` of a definition whose kernel is ``function``; ``fixed`` are arguments of every call."""

    def make(_workload: Instance, _inputs: Arrays, *, isa: str, threads: int, schedule: Any = None) -> FunctionKernel:
        check_no_schedule(schedule)
        return FunctionKernel(function, isa=isa, threads=threads, **fixed)

    return make


def check_no_schedule(schedule: Any) -> None:
    """
    Raises:
        ValueError: a schedule is given.
    """
    values = schedule if isinstance(schedule, Mapping) else getattr(schedule, "values", {})
    if values:
        raise ValueError(f"this operator has no schedule, got {dict(values)}")
