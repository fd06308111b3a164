"""Builds the native libraries with CMake; everything else about the package stands in pyproject.toml."""

import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
import tvm_ffi.libinfo
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class CMakeBuild(build_ext):
    """Builds all CMake targets; an extension's package is the folder that its libraries lie in."""

    def build_extension(self, ext: Extension) -> None:
        package, _, _ = ext.name.rpartition(".")
        library = Path(self.get_ext_fullpath(ext.name)).resolve()
        if not self.editable_mode:
            _build(Path(self.build_temp).resolve(), library.parent.parent)
            return
        # Where `make` goes on incrementally. The copy is for setuptools, which takes it back to the package.
        _build(ROOT / "build" / "native", ROOT)
        library.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / package / library.name, library)


def _build(build: Path, output: Path) -> None:
    """Puts the libraries into the folders ``kernels`` and ``compiler`` of ``output``."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    subprocess.run(
        [
            # A build environment of pip's is gone after the build: nothing that an earlier one cached may be used.
            *("cmake", "--fresh", "-S", ROOT, "-B", build, *generator),
            *("--log-level=WARNING", "-DCMAKE_BUILD_TYPE=Release"),
            f"-DLOOPWRIGHT_OUTPUT={output}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-Dtvm_ffi_DIR={Path(tvm_ffi.libinfo.find_cmake_path())}",
        ],
        check=True,
    )
    subprocess.run(["cmake", "--build", build, "--parallel"], check=True)


setup(ext_modules=[Extension("kernels._native", sources=[])], cmdclass={"build_ext": CMakeBuild})
