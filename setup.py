"""Builds the native libraries with CMake. pyproject.toml has everything else about the package."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pybind11
import tvm_ffi.libinfo
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
PACKAGES = ("kernels", "compiler")  # contain native libraries
# A folder with these packages, whose libraries are copied instead of built.
BUILT = os.environ.get("LOOPWRIGHT_BUILT")


class CMakeBuild(build_ext):
    """Builds all CMake targets. The libraries of an extension go to the folder of its package."""

    def build_extension(self, ext: Extension) -> None:
        package, _, _ = ext.name.rpartition(".")
        library = Path(self.get_ext_fullpath(ext.name)).resolve()
        if self.editable_mode:
            # `make native` continues this build. setuptools copies the library back to the package.
            _build(ROOT / "build" / "native", ROOT)
            library.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / package / library.name, library)
            return
        output = library.parent.parent
        if BUILT:
            _copy(Path(BUILT), output)
        else:
            _build(Path(self.build_temp).resolve(), output)
        _copy_tvm_runtime(output / "compiler")


def _build(build: Path, output: Path) -> None:
    """Builds the libraries into the folders of ``PACKAGES`` in ``output``."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    subprocess.run(
        [
            # pip removes its build environment after the build, so the paths that an earlier one cached are invalid.
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


def _copy(built: Path, output: Path) -> None:
    for package in PACKAGES:
        (output / package).mkdir(parents=True, exist_ok=True)
        for library in (built / package).glob("*.so"):
            shutil.copy2(library, output / package)


def _copy_tvm_runtime(folder: Path) -> None:
    """Copies TVM's runtime library, so that saved models run without TVM's compiler, a wheel of 100 MB.

    TVM's license, Apache-2.0, permits that. It comes with the copy.
    """
    files = {path.name: path for path in metadata.files("apache-tvm") or () if "cuda" not in path.name}
    shutil.copy2(files["libtvm_runtime.so"].locate(), folder)
    shutil.copy2(files["LICENSE"].locate(), folder / "libtvm_runtime.LICENSE")


setup(ext_modules=[Extension("kernels._native", sources=[])], cmdclass={"build_ext": CMakeBuild})
