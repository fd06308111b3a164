"""Operators of users, from shared libraries with the interface of ``compiler/cpp/include/loopwright/operator.h``.

Libraries of custom operators of ONNX Runtime, which export ``RegisterCustomOps``, may be given too; the segments of a
program get them. A library may have both interfaces.

A library is machine code, which runs with the rights of the process that loads it: load only those that you trust.
Saved models have no paths of libraries. They have the domains, names and attributes of the nodes.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compiler.program import native, segment

_ENTRY, _ENTRY_OF_ONNX_RUNTIME = "loopwright_operators", "RegisterCustomOps"


def custom_operators(paths: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Returns those of some libraries that have custom operators of ONNX Runtime."""
    return tuple(os.fspath(path) for path in paths if _exports(path, _ENTRY_OF_ONNX_RUNTIME))


def _exports(path: str | os.PathLike[str], name: str) -> bool:
    """Returns whether a library has a function. One that cannot be loaded has none."""
    try:
        return hasattr(ctypes.CDLL(os.path.abspath(path)), name)
    except OSError:
        return False


class Operators:
    """The operators of some libraries. The libraries stay loaded to the end of the process.

    Attributes:
        names: the domain and the name of each operator.
        custom: the libraries with custom operators of ONNX Runtime.
        handle: the object of ``compiler/cpp``.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        """
        Raises:
            ValueError: a library cannot be loaded, has another version of the interface, or has an operator that is not
                valid or is in another library too. The message names the library.
            TypeError: ``paths`` is one path.
        """
        if isinstance(paths, (str, os.PathLike)):
            raise TypeError(f"operators is a list of paths, got {os.fspath(paths)!r}")
        self.custom = custom_operators(paths)
        own = [os.fspath(path) for path in paths if os.fspath(path) not in self.custom or _exports(path, _ENTRY)]
        self.handle = native.function("load_operators")(own)
        found = native.function("operator_names")(self.handle)
        self.names = frozenset((str(domain), str(name)) for domain, name in found)

    def infer(self, description: Mapping[str, Any], outputs: int) -> list[dict[str, Any]]:
        """Returns ``dtype`` and ``shape`` of each output of a node.

        Args:
            description: the node, with ``domain``, ``operator``, ``attributes`` (name, kind in ONNX's numbers, value)
                and ``inputs`` (``dtype`` and ``shape``; None for an omitted one).
            outputs: the number of its outputs.

        Raises:
            ValueError: the operator does not take such a node, or its function is wrong; one line.
        """
        return json.loads(native.function("infer_operator")(self.handle, json.dumps(description), outputs))

    def run(self, description: Mapping[str, Any], inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs of a node; ``description``: as for :meth:`infer`, and ``outputs``, what that returned.

        Raises:
            ValueError: the operator fails; one line.
        """
        layer = {**description, "op": "user_operator", "name": "", "threads": 1, "weights": {}}
        layers = native.function("make_layers")(json.dumps([layer]), [], "reference", 1, [], None, self.handle)
        answers = [np.zeros(output["shape"], output["dtype"]) for output in description["outputs"]]
        given = [np.require(array, requirements=["C", "W"]) for array in inputs]
        native.function("user_operator")(layers, 0, *map(segment.wrapped, (*given, *answers)))
        return answers
