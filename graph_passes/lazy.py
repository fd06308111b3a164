"""Imports onnx_ir on first use. The import takes most of a second, and ``--help`` must not wait for it."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any


def _lazily(name: str) -> Any:
    """Returns a module whose code runs on the first attribute access (a recipe of importlib's documentation)."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"graph_passes needs {name}: pip install {name.replace('_', '-')}", name=name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    import onnx_ir as ir
else:
    ir = _lazily("onnx_ir")

__all__ = ["ir"]
