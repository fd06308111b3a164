"""The class of a user, from the file ``model.py`` of a version."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from serving.worker.model import Model

CLASS = "Model"


def load(path: Path) -> Model:
    """Imports the file and makes its ``Model``.

    Raises:
        ValueError: it has no such class, or the class lacks a method.
        Exception: any error of the file.
    """
    sys.path.insert(0, str(path.parent))  # modules next to it
    spec = importlib.util.spec_from_file_location("model", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["model"] = module
    spec.loader.exec_module(module)
    found = getattr(module, CLASS, None)
    if not callable(found):
        raise ValueError(f"{path.name} has no class {CLASS}")
    missing = [name for name in ("load", "inputs", "outputs", "run", "close") if not hasattr(found, name)]
    if missing:
        raise ValueError(f"{CLASS} of {path.name} has no method {missing[0]}")
    made: Any = found()
    return made
