"""The runtime protocol: a loaded model, and the module that loads it."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from compiler.program.tensor_spec import TensorSpec

if TYPE_CHECKING:
    import onnx

Model: TypeAlias = "onnx.ModelProto | str | os.PathLike[str]"
# Takes inputs by name and returns new arrays by the model's output names.
Run: TypeAlias = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


class RuntimeUnavailable(RuntimeError):
    """A runtime is not installed or cannot load a model. The message is one line with the reason."""


@dataclass
class Runtime:
    """A model that is loaded into a runtime. As a context manager, it closes itself.

    Attributes:
        name: the runtime's name in ``compiler.runtimes.RUNTIMES``.
        version: the version of the runtime's package.
        inputs, outputs: the tensors that :meth:`run` takes and returns. A dimension that the model does not fix is -1.
    """

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    _run: Run | None

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs by name, as new arrays.

        Raises:
            RuntimeError: the model is closed.
            Exception: any error of the runtime.
        """
        if self._run is None:
            raise RuntimeError(f"the model is closed; load it into {self.name} again")
        return self._run(inputs)

    def close(self) -> None:
        """Releases the model and the runtime's threads."""
        self._run = None

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Engine(Protocol):
    """The module of a runtime. It imports the runtime's packages only in ``load``."""

    @property
    def PACKAGES(self) -> tuple[str, ...]:
        """The distributions to install. The version of the first one is the runtime's version."""
        ...

    def load(self, model: Model, threads: int | None, operators: Sequence[Path] = (), /) -> Runtime:
        """Loads a model in the fastest configuration that computes in float32.

        Args:
            model: a model or its file, with static shapes.
            threads: the number of threads; None is the default of this machine (``kernels.Topology``).
            operators: libraries of operators of users, for runtimes that can load them.

        Raises:
            RuntimeUnavailable: the runtime cannot load the model, and its own error does not name the reason.
            Exception: any error of the runtime.
        """
        ...


def version(package: str) -> str:
    """Returns the version of an installed distribution, or an empty string."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
