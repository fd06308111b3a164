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
    """Builds the CMake target that an extension's last name component names."""

    def build_extension(self, ext: Extension) -> None:
        package, _, target = ext.name.rpartition(".")
        library = Path(self.get_ext_fullpath(ext.name)).resolve()
        if not self.editable_mode:
            _build(target, Path(self.build_temp).resolve(), library.parent)
            return
        # Where `make` goes on incrementally. The copy is for setuptools, which takes it back to the package.
        _build(target, ROOT / "build" / "native", ROOT / package)
        library.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / package / library.name, library)


def _build(target: str, build: Path, output: Path) -> None:
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    subprocess.run(
        [
            # A build environment of pip's is gone after the build: nothing that an earlier one cached may be used.
            *("cmake", "--fresh", "-S", ROOT, "-B", build, *generator),
            *("--log-level=WARNING", "-DCMAKE_BUILD_TYPE=Release"),
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={output}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        ],
        check=True,
    )
    subprocess.run(["cmake", "--build", build, "--target", target, "--parallel"], check=True)


setup(ext_modules=[Extension("kernels._native", sources=[])], cmdclass={"build_ext": CMakeBuild})
