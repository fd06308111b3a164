"""The optional dependencies: which extra of the distribution installs which packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

# Import names by extra, as pyproject.toml has them by distribution.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "check": ("onnxruntime",),
    "classical": ("lightgbm", "onnxmltools", "skl2onnx", "sklearn", "skops", "xgboost"),
    "compile": ("cloudpickle", "onnx", "onnx_ir", "onnxscript", "tvm"),
    "fallback": ("onnxruntime",),
    "loadgen": ("mlperf_loadgen",),
    "optimizer": ("onnx", "onnx_ir", "onnxruntime", "onnxscript"),
    "plots": ("matplotlib",),
    "search": ("gymnasium", "sb3_contrib", "stable_baselines3", "torch", "xgboost"),
    "training": ("onnx", "onnx_ir", "onnxruntime", "onnxscript", "torch", "torch_pruning"),
}


def require(purpose: str, extra: str, *names: str) -> None:
    """Checks that packages are installed, without importing them.

    Args:
        purpose: what needs the packages; the message starts with it.
        extra: a key of :data:`EXTRAS`.
        names: the packages of the extra that are needed, as import names; by default all of them.

    Raises:
        ModuleNotFoundError: a package is missing; one line names it and the extra.
    """
    missing = [name for name in names or EXTRAS[extra] if not _installed(name)]
    if missing:
        message = f"{purpose} needs {', '.join(missing)}: pip install 'loopwright[{extra}]'"
        raise ModuleNotFoundError(message, name=missing[0])


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # an import that is blocked, or None in sys.modules
        return False
