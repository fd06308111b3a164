"""oneDNN's C++ interface, from the wheels ``onednn-cpu-gomp`` and ``onednn-devel-cpu-gomp``.

The adapter ``onednn.cc`` is compiled on first use and kept under a name made of the hash of all that it is built from.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

from compiler.workload import Workload

SOURCE = Path(__file__).with_suffix(".cc")
BUILD_DIR = Path(__file__).resolve().parents[2] / "build" / "benchmarks"
WHEELS = ("onednn-cpu-gomp", "onednn-devel-cpu-gomp")
COMPILER = "g++"
PRIMITIVES = ("inner_product", "matmul")
ACTIVATIONS = ("relu", "gelu")


def missing() -> str | None:
    """What would have to be installed, or None where this peer can run."""
    for distribution in (*WHEELS, "pybind11"):
        if not list(importlib.metadata.distributions(name=distribution)):
            return f"{distribution} is not installed"
    if shutil.which(COMPILER) is None:
        return f"no {COMPILER} to build its adapter with"
    return None


def version() -> str:
    """The version that the loaded library states, not the wheel's."""
    return f"oneDNN {_adapter().version()} ({WHEELS[0]} {importlib.metadata.version(WHEELS[0])})"


class Dense:
    """One dense layer with prepacked weights, by the faster of oneDNN's two primitives that can compute it.

    Raises:
        ValueError: the epilogue has a residual or an activation that this adapter does not fuse.
    """

    def __init__(self, workload: Workload, inputs: Mapping[str, np.ndarray], threads: int) -> None:
        if "residual" in workload.epilogue or (workload.activation or "relu") not in ACTIVATIONS:
            raise ValueError(f"no fused epilogue {' '.join(workload.epilogue)} here")
        m, n, _ = workload.dims
        self._out = np.empty((m, n), np.float32)
        bias = inputs.get("bias", np.empty(0, np.float32))
        layers = [
            _adapter().Dense(
                primitive, inputs["x"], inputs["weight"], bias, self._out, workload.activation or "", threads
            )
            for primitive in PRIMITIVES
        ]
        self._layer = min(layers, key=_quick_secs)
        self.implementation = PRIMITIVES[layers.index(self._layer)] + " " + self._layer.implementation

    def run(self) -> np.ndarray:
        self._layer.run()
        return self._out

    def time(self, number: int, repeat: int) -> list[float]:
        return self._layer.time(number, repeat)


def _quick_secs(layer, sample_secs: float = 0.002) -> float:
    """Best of a few short samples, the first of which only warms up: enough to choose between two."""
    number = max(1, round(sample_secs / min(layer.time(1, 3))))
    return min(layer.time(number, 10))


@cache
def _adapter() -> ModuleType:
    include, library = _wheel_file(WHEELS[1], "dnnl.hpp").parent, _wheel_file(WHEELS[0], "libdnnl.so.3")
    command = [COMPILER, "-O2", "-std=c++17", "-shared", "-fPIC", "-fopenmp", "-fvisibility=hidden"]
    command += [f"-I{include}", f"-I{sysconfig.get_path('include')}", f"-I{_pybind11_include()}"]
    link = [str(library), f"-Wl,-rpath,{library.parent}"]
    identity = SOURCE.read_text() + " ".join(command + link)
    name = f"onednn_{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    path = BUILD_DIR / (name + sysconfig.get_config_var("EXT_SUFFIX"))
    if not path.exists():
        _compile([*command, f"-DLOOPWRIGHT_MODULE={name}", str(SOURCE), *link], path)
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, loader, origin=str(path)))
    loader.exec_module(module)
    return module


def _compile(command: list[str], path: Path) -> None:
    """Compiles into a file of its own and renames it, so that no one ever loads half an extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        built = Path(scratch) / path.name
        result = subprocess.run([*command, "-o", str(built)], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise RuntimeError(f"the oneDNN adapter does not compile:\n{result.stderr}")
        os.replace(built, path)


def _pybind11_include() -> str:
    import pybind11

    return pybind11.get_include()


def _wheel_file(wheel: str, name: str) -> Path:
    """Where a file of an installed wheel lies; the first of that name."""
    for file in importlib.metadata.files(wheel) or ():
        if file.name == name:
            return Path(file.locate()).resolve()
    raise RuntimeError(f"the installed {wheel} has no {name}")
