"""Kernels that are functions: a function that prepares a call becomes one that runs it, and one that times it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, Protocol, cast

import numpy as np

from kernels import _native

P = ParamSpec("P")


class TimedFunction(Protocol[P]):
    """A kernel without weights, such as ``kernels.softmax``."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> np.ndarray: ...

    def time(self, number: int, repeat: int, /, *args: P.args, **kwargs: P.kwargs) -> list[float]:
        """Returns ``repeat`` samples in seconds per run, each the mean over ``number`` runs in a native loop.

        The arguments are checked once. ``out`` is allocated once if it is not given.

        Raises:
            TypeError, ValueError: as a call of the function with these arguments.
            ValueError: ``number`` or ``repeat`` is less than 1.
        """
        ...


def timed(prepare: Callable[P, _native.FunctionCall]) -> TimedFunction[P]:
    """Decorates a function that checks its arguments and returns a call. The result runs it and returns its output."""

    @wraps(prepare)
    def run(*args: P.args, **kwargs: P.kwargs) -> np.ndarray:
        return prepare(*args, **kwargs).run()

    def time(number: int, repeat: int, /, *args: P.args, **kwargs: P.kwargs) -> list[float]:
        return prepare(*args, **kwargs).time(number, repeat)

    signature = inspect.signature(prepare).replace(return_annotation="np.ndarray")
    vars(run).update(time=time, __signature__=signature)
    return cast("TimedFunction[P]", run)
