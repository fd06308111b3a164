"""Builds and loads the C++ adapter: compiled on first use, with a hash of its sources and flags as its name."""

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
from functools import cache
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parent
BUILD_DIR = FOLDER.parents[2] / "build" / "benchmarks"
WHEELS = ("onednn-cpu-gomp", "onednn-devel-cpu-gomp")
COMPILER = "g++"


def missing() -> str | None:
    """Returns what must be installed; None if nothing is missing."""
    for distribution in (*WHEELS, "pybind11"):
        if not list(importlib.metadata.distributions(name=distribution)):
            return f"{distribution} is not installed"
    if shutil.which(COMPILER) is None:
        return f"no {COMPILER} to build its adapter with"
    return None


@cache
def load() -> ModuleType:
    """Returns the extension of ``module.cc`` and its headers.

    Raises:
        RuntimeError: it does not compile.
    """
    include, library = _wheel_file(WHEELS[1], "dnnl.hpp").parent, _wheel_file(WHEELS[0], "libdnnl.so.3")
    command = [COMPILER, "-O2", "-std=c++17", "-shared", "-fPIC", "-fopenmp", "-fvisibility=hidden"]
    command += [f"-I{include}", f"-I{sysconfig.get_path('include')}", f"-I{_pybind11_include()}"]
    link = [str(library), f"-Wl,-rpath,{library.parent}"]
    sources = [path.read_text() for path in sorted([*FOLDER.glob("*.h"), *FOLDER.glob("*.cc")])]
    identity = "\n".join([*sources, *command, *link])
    name = f"onednn_{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    path = BUILD_DIR / (name + sysconfig.get_config_var("EXT_SUFFIX"))
    if not path.exists():
        compile_into(path, [*command, f"-DLOOPWRIGHT_MODULE={name}", str(FOLDER / "module.cc"), *link])
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, loader, origin=str(path)))
    loader.exec_module(module)
    return module


def compile_into(path: Path, command: list[str]) -> None:
    """Compiles to a temporary file and renames it, so that no process loads an incomplete extension."""
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
    """Returns the path of the first file with this name in an installed wheel."""
    for file in importlib.metadata.files(wheel) or ():
        if file.name == name:
            return Path(file.locate()).resolve()
    raise RuntimeError(f"the installed {wheel} has no {name}")
