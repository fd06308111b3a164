"""Imports onnx_ir on first use. The import takes most of a second, and ``--help`` must not wait for it."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

PACKAGES = ("onnx", "onnx_ir", "onnxscript")


def require() -> None:
    """Checks that the packages which passes need are installed, without importing them.

    Raises:
        ModuleNotFoundError: a package is missing; one line names it and the extra that installs it.
    """
    if missing := [name for name in PACKAGES if _spec(name) is None]:
        message = f"graph_passes needs {', '.join(missing)}: pip install 'loopwright[compile]'"
        raise ModuleNotFoundError(message, name=missing[0])


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # an import that is blocked, or None in sys.modules
        return None


class _Missing:
    """Stands for a package that is not installed, so that graph_passes can be imported without it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        require()
        raise AttributeError(name)


def _lazily(name: str) -> Any:
    """Returns a module whose code runs on the first attribute access (a recipe of importlib's documentation)."""
    if name in sys.modules:
        return sys.modules[name]
    spec = _spec(name)
    if spec is None or spec.loader is None:
        return _Missing()
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    import onnx_ir as ir
else:
    ir = _lazily("onnx_ir")

__all__ = ["ir", "require"]
