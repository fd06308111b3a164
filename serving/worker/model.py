"""What a worker runs: a model with five methods, which takes and returns arrays by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

# Name, type and shape. The type is a name of the protocol, such as "FP32" or "BYTES"; -1 is a dimension of any size.
Spec: TypeAlias = "tuple[str, str, Sequence[int]]"


class Model(Protocol):
    """A model of a user: a class with this name in ``NAME/<version>/model.py``. It needs not inherit from this one."""

    def load(self, folder: Path, threads: int, parameters: Mapping[str, str]) -> None:
        """Loads the model, once, in its own process.

        Args:
            folder: the folder of the version, which has ``model.py``.
            threads: how many a run may use; the process has as many cores.
            parameters: ``[parameters]`` of ``config.toml``.
        """
        ...

    def inputs(self) -> Sequence[Spec]:
        """Returns what :meth:`run` takes."""
        ...

    def outputs(self) -> Sequence[Spec]:
        """Returns what :meth:`run` returns."""
        ...

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        """Returns the outputs by name. Called for one request at a time.

        Args:
            inputs: arrays by name, of the types and shapes of :meth:`inputs`. After the return, their memory is that of
                the next request. Strings are arrays of ``bytes``.

        Raises:
            ValueError: the request is wrong; its client gets the message.
            Exception: any other is a failure, which the log of the server has.
        """
        ...

    def close(self) -> None:
        """Releases the model, before the process ends."""
        ...
