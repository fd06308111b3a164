"""The wheel in an empty environment: what works with the light dependencies alone, and what names a missing extra."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from packaging.requirements import Requirement

import compiler
from compiler.installation.extras import EXTRAS
from tests.compiler.commands.conftest import SHAPES, network

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("autotune", "compiler", "graph_passes", "kernels", "optimizer", "serving")
GRAPH_SHAPES = ("--input-shape", "x:4,16", "--input-shape", "scale:4,1")
FILES = ("CHANGELOG.md", "CMakeLists.txt", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py")
HEAVY = sorted({name for names in EXTRAS.values() for name in names})


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    Attributes:
        python: its interpreter.
        packages: its site-packages.
    """

    python: Path
    packages: Path

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Runs Python without the checkout in its search path."""
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [self.python, *map(str, arguments)]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, with the libraries that the checkout was built with."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in FILES:
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", output]
    built = {**os.environ, "LOOPWRIGHT_BUILT": str(ROOT), "PYTHONPATH": ""}
    done = subprocess.run([*command, source], env=built, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = output.iterdir()
    return path


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and the dependencies that it declares, without any extra.

    The dependencies are linked from the running environment, so no network is needed.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    environment = Environment(folder / "bin" / "python", packages)
    pip = [sys.executable, "-m", "pip", "--python", environment.python]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    (installed,) = metadata.distributions(name="loopwright", path=[str(packages)])
    link_dependencies(installed, packages)
    return environment


def link_dependencies(distribution: metadata.Distribution, packages: Path, extra: str = "") -> None:
    """Links what a distribution requires with one of its extras, and what that requires, into an environment."""
    pending = list(required(distribution, extra))
    done: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in done:
            done.add(name)
            link(metadata.distribution(name), packages)
            pending += required(metadata.distribution(name))


def required(distribution: metadata.Distribution, extra: str = "") -> Iterator[str]:
    for requirement in map(Requirement, distribution.requires or ()):
        if not requirement.marker or requirement.marker.evaluate({"extra": extra}):
            yield requirement.name


def link(distribution: metadata.Distribution, packages: Path) -> None:
    """Links the files and folders of an installed distribution into an environment."""
    for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        if not (packages / name).exists():
            (packages / name).symlink_to(distribution.locate_file(name))  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, and next to it the same as a saved model and its outputs."""
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(network(), path)
    built = compiler.build(path, {"x": (4, 16), "scale": (4, 1)}, threads=1)
    built.save(path.with_suffix(".lw"))
    inputs = {spec.name: np.ones(spec.shape, np.float32) for spec in built.inputs}
    outputs: dict[str, Any] = dict(built.run(inputs))
    np.savez(path.with_suffix(".npz"), **outputs)
    return path


def test_the_wheel_contains_what_it_should(light: Environment) -> None:
    names = {path.name for path in light.packages.iterdir()}
    assert names.isdisjoint({"benchmarks", "docs", "tests"})
    libraries = {path.relative_to(light.packages).as_posix() for path in light.packages.glob("[ck]*/*.so")}
    assert {"compiler/libloopwright_runtime.so", "compiler/libtvm_runtime.so"} <= libraries
    assert "Apache License" in (light.packages / "compiler" / "libtvm_runtime.LICENSE").read_text()
    assert (light.packages / "compiler" / "cpp" / "include" / "loopwright" / "model.h").is_file()


def test_no_heavy_package_is_there(light: Environment) -> None:
    program = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    assert light.run("-c", program, *HEAVY, "onnxruntime").stdout == "[]\n"


RUN = """
import sys
import numpy as np
import compiler, kernels
model = compiler.load(sys.argv[1])
outputs = model.run({spec.name: np.ones(spec.shape, np.float32) for spec in model.inputs})
assert model.profile({spec.name: np.ones(spec.shape, np.float32) for spec in model.inputs}, runs=1)
np.savez(sys.argv[2], **outputs)
layer = kernels.Dense(np.ones((3, 4), np.float32))
assert (layer(np.ones((2, 4), np.float32)) == 4).all()
print(compiler.__file__)
"""


@pytest.mark.tvm
def test_a_saved_model_runs(light: Environment, model: Path, tmp_path: Path) -> None:
    done = light.run("-c", RUN, model.with_suffix(".lw"), tmp_path / "outputs.npz")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == light.packages / "compiler"
    with np.load(tmp_path / "outputs.npz") as found, np.load(model.with_suffix(".npz")) as expected:
        assert set(found) == set(expected)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.tvm
@pytest.mark.parametrize("command", ["run", "profile"])
def test_the_command_line_runs_a_saved_model(light: Environment, model: Path, tmp_path: Path, command: str) -> None:
    done = light.run("-m", "compiler", command, model.with_suffix(".lw"), "--json", tmp_path / "result.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "result.json").read_text())["inputs"][0]["name"] == "x"


@pytest.mark.tvm
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["compiler", "build", "small.onnx", *SHAPES, "-o", "built.lw"],
            "building small.onnx needs cloudpickle, onnx, onnx_ir, onnxscript, tvm: pip install 'loopwright[compile]'",
        ),
        (
            ["graph_passes", "small.onnx", "optimized.onnx"],
            "graph_passes needs onnx, onnx_ir, onnxscript: pip install 'loopwright[compile]'",
        ),
        (
            ["autotune.search", "--op", "dense"],
            "the strategy rl needs gymnasium, sb3_contrib, stable_baselines3, torch, xgboost: "
            "pip install 'loopwright[search]'",
        ),
        (
            ["autotune", "--op", "dense", "--strategy", "random"],
            "the strategy random needs xgboost: pip install 'loopwright[search]'",
        ),
        (
            ["autotune.search", "--model", "small.onnx"],
            "compiler.layers_of needs onnx, onnx_ir, onnxscript: pip install 'loopwright[compile]'",
        ),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_missing_extra_is_one_line(light: Environment, model: Path, arguments: list[str], message: str) -> None:
    shutil.copy(model, "small.onnx")
    done = light.run("-m", *arguments)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f": {message}\n")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "import compiler; compiler.build('small.onnx')",
            "compiler.build needs cloudpickle, onnx, onnx_ir, onnxscript, tvm: pip install 'loopwright[compile]'",
        ),
        (
            "import graph_passes; graph_passes.optimize('small.onnx')",
            "graph_passes needs onnx, onnx_ir, onnxscript: pip install 'loopwright[compile]'",
        ),
        (
            "import autotune; from compiler import Workload; "
            "autotune.tune(Workload.dense(8, 8, 8), strategy='evolutionary')",
            "the strategy evolutionary needs xgboost: pip install 'loopwright[search]'",
        ),
        (
            "import compiler.tvm_backend",
            "TVM's compiler needs tvm: pip install 'loopwright[compile]'",
        ),
    ],
    ids=["build", "optimize", "tune", "tvm_backend"],
)
def test_a_missing_extra_is_an_import_error(light: Environment, program: str, message: str) -> None:
    done = light.run("-c", program)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {message}"


def copy_of(light: Environment, folder: Path) -> Environment:
    """Returns an environment with the same packages, to add others to."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    shutil.copytree(light.packages, packages, symlinks=True, dirs_exist_ok=True)
    return Environment(folder / "bin" / "python", packages)


BUILD = """
import sys
import compiler
model = compiler.build(sys.argv[1], {"x": (4, 16), "scale": (4, 1)}, threads=1)
model.save("built.lw")
print(len(compiler.load("built.lw").layers), len(model.layers), *{"torch", "matplotlib"} & set(sys.modules))
"""


@pytest.mark.tvm
def test_the_extra_compile_suffices_to_build(light: Environment, model: Path, tmp_path: Path) -> None:
    environment = copy_of(light, tmp_path / "environment")
    (installed,) = metadata.distributions(name="loopwright", path=[str(environment.packages)])
    link_dependencies(installed, environment.packages, "compile")
    done = environment.run("-c", BUILD, model)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 1\n"
    done = environment.run("-m", "compiler", "run", model, *SHAPES, "--threads", "1")
    assert done.returncode == 0, done.stderr
    done = environment.run("-m", "graph_passes", model, "optimized.onnx", "--check", *GRAPH_SHAPES)
    assert done.returncode == 1
    assert done.stderr == "python -m graph_passes: --check needs onnxruntime: pip install 'loopwright[check]'\n"


def test_xgboost_suffices_to_search_kernels(light: Environment, tmp_path: Path) -> None:
    """Neither torch, which only the strategy rl needs, nor TVM nor matplotlib."""
    environment = copy_of(light, tmp_path / "environment")
    link(metadata.distribution("xgboost-cpu"), environment.packages)
    link_dependencies(metadata.distribution("xgboost-cpu"), environment.packages)
    search = ["-m", "autotune", "--op", "dense", "--shape", "8x16x32", "--strategy", "evolutionary", "--trials", "12"]
    done = environment.run(*search, "--backend", "kernel")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nNo search curves: the report needs matplotlib: pip install 'loopwright[plots]'\n")
    done = environment.run(*search, "--backend", "tvm")
    assert done.returncode == 1
    assert done.stderr == "python -m autotune.search: TVM's compiler needs tvm: pip install 'loopwright[compile]'\n"


@pytest.mark.parametrize("command", ["autotune", "autotune.search", "compiler", "graph_passes"])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_every_command_answers(light: Environment, command: str, option: str) -> None:
    done = light.run("-m", command, option)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    if option == "--version":
        (distribution,) = metadata.distributions(name="loopwright", path=[str(light.packages)])
        assert done.stdout == f"loopwright {distribution.version}\n"


# Another distribution with one of the import names


@pytest.fixture
def both(light: Environment, tmp_path: Path):
    """Returns an environment with this project and another distribution ``name``, installed in either order."""

    def install(name: str, ours_first: bool) -> Environment:
        folder = tmp_path / "both"
        venv.create(folder, symlinks=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        for path in light.packages.iterdir():
            if path.is_symlink():
                (packages / path.name).symlink_to(path.readlink())
        ours = [path for path in light.packages.iterdir() if not path.is_symlink()]
        theirs = tmp_path / "theirs"
        (theirs / name).mkdir(parents=True)
        (theirs / name / "__init__.py").write_text("from pathlib import Path\nTHEIRS = True\n")
        (theirs / f"{name}-0.5.0.dist-info").mkdir()
        (theirs / f"{name}-0.5.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 0.5.0\n")
        for path in [*ours, *theirs.iterdir()] if ours_first else [*theirs.iterdir(), *ours]:
            if path.is_dir():
                shutil.copytree(path, packages / path.name, dirs_exist_ok=True, symlinks=True)
            else:
                shutil.copy(path, packages)
        return Environment(folder / "bin" / "python", packages)

    return install


# With "ours first", the other distribution's __init__.py is the one that remains, so importing `name` itself succeeds.
@pytest.mark.parametrize(
    ("name", "ours_first", "commands"),
    [
        ("kernels", True, ["autotune", "autotune.search", "compiler"]),
        ("kernels", False, ["autotune", "autotune.search", "compiler", "graph_passes", "kernels"]),
        ("compiler", True, ["autotune.search", "graph_passes", "kernels"]),
        ("graph_passes", True, ["autotune", "compiler", "kernels"]),
        ("graph_passes", False, ["compiler", "graph_passes"]),
        ("autotune", False, ["autotune.search", "compiler"]),
    ],
)
def test_another_distribution_with_an_import_name_is_one_line(both, name: str, ours_first: bool, commands: list[str]):
    environment = both(name, ours_first)
    place = environment.packages / f"{name}-0.5.0.dist-info"
    message = f"another distribution takes the import name {name} of loopwright: {place}; use separate environments, "
    for command in commands:
        done = environment.run("-m", command, "--help")
        assert done.returncode == 1, command
        assert done.stderr.count("\n") == 1, done.stderr
        assert message in done.stderr


def test_a_foreign_package_earlier_in_the_search_path(light: Environment, tmp_path: Path) -> None:
    """As with an editable installation, which comes after site-packages."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").touch()
    done = light.run("-m", "compiler", "--help")  # runs in tmp_path, which is the first entry
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    foreign = tmp_path / "kernels" / "__init__.py"
    assert f"the imported package kernels is not that of loopwright: {foreign}; use" in done.stderr
