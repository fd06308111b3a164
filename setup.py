"""Builds the extension of ``kernels`` with CMake; everything else about the package stands in pyproject.toml."""

import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class CMakeBuild(build_ext):
    """Runs CMake for the target that an extension's last name component names."""

    def build_extension(self, ext: Extension) -> None:
        library = Path(self.get_ext_fullpath(ext.name)).resolve()
        target = ext.name.rpartition(".")[2]
        # An editable install builds where `make` goes on incrementally; a wheel leaves that build alone.
        build = ROOT / "build" / target.strip("_") if self.inplace else Path(self.build_temp).resolve()
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        subprocess.run(
            [
                # A build environment of pip's is gone after the build: nothing that an earlier one cached may be used.
                *("cmake", "--fresh", "-S", ROOT, "-B", build, *generator),
                *("--log-level=WARNING", "-DCMAKE_BUILD_TYPE=Release"),
                f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={library.parent}",
                f"-DPython_EXECUTABLE={sys.executable}",
                f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            ],
            check=True,
        )
        subprocess.run(["cmake", "--build", build, "--target", target, "--parallel"], check=True)


setup(ext_modules=[Extension("kernels._native", sources=[])], cmdclass={"build_ext": CMakeBuild})
